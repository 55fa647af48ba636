"""Rows of a server: its rounds and the contributions to them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, insert, select, update

from semfed_secure.storage.schema import contribution, round_
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction

Outcome = Literal["committed", "admitted", "rejected"]


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round; ``manifest``, ``commitments`` and ``consensus`` are the signed bytes as sent, ``report`` is JSON."""

    round_id: str
    state: str
    manifest: bytes
    prompt_set: bytes
    closes_at_ms: int
    commitments: bytes | None = None
    consensus: bytes | None = None
    reason: str | None = None
    report: str | None = None


@dataclass(frozen=True, slots=True)
class RoundHeadRow:
    """Where a round stands, without its large columns: what a server looks at every second."""

    round_id: str
    state: str
    closes_at_ms: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """One answered contribution; one that is not rejected stands and fills its member's slot.

    A committed one has no payload yet, and one of a round that has ended has none any more.
    """

    round_id: str
    statement_digest: bytes
    member_id: str
    statement: bytes
    payload: bytes | None
    outcome: Outcome
    code: str | None = None
    receipt: bytes | None = None


_ROUND = [round_.c[name] for name in RoundRow.__slots__]
_HEAD = [round_.c[name] for name in RoundHeadRow.__slots__]
_CONTRIBUTION = [contribution.c[name] for name in ContributionRow.__slots__]


def insert_round(tx: Transaction, row: RoundRow) -> None:
    """Add a round; an id that is taken fails the transaction."""
    tx.connection.execute(insert(round_).values(asdict(row)))


def read_round(tx: Transaction, round_id: str) -> RoundRow | None:
    """The round of this id."""
    row = tx.connection.execute(select(*_ROUND).where(round_.c.round_id == round_id)).first()
    return None if row is None else typed_row(RoundRow, row)


def read_report(tx: Transaction, round_id: str) -> str | None:
    """The report on the round of this id, without its other large columns."""
    report: str | None = tx.connection.execute(select(round_.c.report).where(round_.c.round_id == round_id)).scalar()
    return report


def list_rounds(tx: Transaction, *, state: str | None = None) -> list[RoundRow]:
    """Rounds by closing time, of one state if asked."""
    query = select(*_ROUND).order_by(round_.c.closes_at_ms, round_.c.round_id)
    if state is not None:
        query = query.where(round_.c.state == state)
    return [typed_row(RoundRow, row) for row in tx.connection.execute(query).all()]


def read_round_head(tx: Transaction, round_id: str) -> RoundHeadRow | None:
    """Where the round of this id stands."""
    row = tx.connection.execute(select(*_HEAD).where(round_.c.round_id == round_id)).first()
    return None if row is None else typed_row(RoundHeadRow, row)


def list_round_heads(tx: Transaction) -> list[RoundHeadRow]:
    """Where every round stands, by closing time."""
    query = select(*_HEAD).order_by(round_.c.closes_at_ms, round_.c.round_id)
    return [typed_row(RoundHeadRow, row) for row in tx.connection.execute(query).all()]


def move_round(
    tx: Transaction,
    round_id: str,
    *,
    before: str,
    after: str,
    consensus: bytes | None = None,
    reason: str | None = None,
    report: str | None = None,
) -> bool:
    """Change a round's state from ``before`` to ``after``, keeping what is not given; false if it was not there."""
    given = {"consensus": consensus, "reason": reason, "report": report}
    values = {"state": after} | {name: value for name, value in given.items() if value is not None}
    change = update(round_).where(round_.c.round_id == round_id, round_.c.state == before).values(values)
    return tx.connection.execute(change).rowcount == 1


def keep_commitments(tx: Transaction, round_id: str, signed: bytes) -> None:
    """Keep the signed list of what a round was committed to."""
    tx.connection.execute(update(round_).where(round_.c.round_id == round_id).values(commitments=signed))


def insert_contribution(tx: Transaction, row: ContributionRow) -> None:
    """Add an answered contribution; the same digest twice, or a second standing one of a member, fails it."""
    tx.connection.execute(insert(contribution).values(asdict(row)))


def read_contribution(tx: Transaction, round_id: str, statement_digest: bytes) -> ContributionRow | None:
    """The answer that this statement got in this round."""
    query = select(*_CONTRIBUTION).where(
        contribution.c.round_id == round_id, contribution.c.statement_digest == statement_digest
    )
    row = tx.connection.execute(query).first()
    return None if row is None else typed_row(ContributionRow, row)


def standing_contribution(tx: Transaction, round_id: str, member_id: str) -> ContributionRow | None:
    """The contribution that fills this member's slot, committed to or admitted."""
    query = select(*_CONTRIBUTION).where(
        contribution.c.round_id == round_id,
        contribution.c.member_id == member_id,
        contribution.c.outcome != "rejected",
    )
    row = tx.connection.execute(query).first()
    return None if row is None else typed_row(ContributionRow, row)


def members_with(tx: Transaction, round_id: str, *outcomes: Outcome) -> set[str]:
    """Whose contribution had one of these outcomes."""
    query = select(contribution.c.member_id).where(
        contribution.c.round_id == round_id, contribution.c.outcome.in_(outcomes)
    )
    return set(tx.connection.scalars(query))


def count_rejected(tx: Transaction, round_id: str, member_id: str) -> int:
    """How many contributions of this member were rejected in this round."""
    query = select(func.count()).where(
        contribution.c.round_id == round_id,
        contribution.c.member_id == member_id,
        contribution.c.outcome == "rejected",
    )
    return int(tx.connection.scalar(query) or 0)


def list_contributions(tx: Transaction, round_id: str) -> list[ContributionRow]:
    """Every answered contribution of a round, by member and digest: the same order on every machine."""
    query = (
        select(*_CONTRIBUTION)
        .where(contribution.c.round_id == round_id)
        .order_by(contribution.c.member_id, contribution.c.statement_digest)
    )
    # All at once: a row that is refused in the middle would leave the query, and with it a reader, open.
    rows = [typed_row(ContributionRow, row) for row in tx.connection.execute(query).all()]
    # PostgreSQL sorts text by the collation of its locale; Python sorts it by code point everywhere.
    return sorted(rows, key=lambda row: (row.member_id, row.statement_digest))


def drop_payloads(tx: Transaction, round_id: str) -> None:
    """Delete the payloads of a round; statements, digests and receipts stay."""
    tx.connection.execute(update(contribution).where(contribution.c.round_id == round_id).values(payload=None))


def settle_contribution(tx: Transaction, row: ContributionRow) -> bool:
    """Replace a commitment, or a refusal, by what became of it; false if it was neither."""
    change = update(contribution).where(
        contribution.c.round_id == row.round_id,
        contribution.c.statement_digest == row.statement_digest,
        contribution.c.outcome.in_(("committed", "rejected")),
    )
    values = {"payload": row.payload, "outcome": row.outcome, "code": row.code, "receipt": row.receipt}
    return tx.connection.execute(change.values(values)).rowcount == 1
