"""Rows of the outbox: finished bytes that are sent after commit, and sent again unchanged."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from sqlalchemy import func, insert, select, update

from semfed_secure.storage.schema import outbox, progress
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction

OutboxState = Literal["pending", "sent", "answered"]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One finished message; ``body`` never changes, so a retry cannot be a second release; once deleted it is empty."""

    round_id: str
    kind: str
    statement_digest: bytes
    body: bytes
    state: OutboxState = "pending"
    receipt: bytes | None = None
    id: int | None = None
    """Given by the database; nothing before that."""


_COLUMNS = [outbox.c[name] for name in OutboxRow.__slots__]


def insert_outbox(tx: Transaction, item: OutboxRow) -> OutboxRow:
    """Add a finished message; a second one of the same round and kind fails the transaction."""
    values = asdict(item)
    del values["id"]
    tx.connection.execute(insert(outbox).values(values))
    return _one(tx, item.round_id, item.kind)


def read_outbox(tx: Transaction, round_id: str, kind: str) -> OutboxRow | None:
    """The message of this round and kind."""
    query = select(*_COLUMNS).where(outbox.c.round_id == round_id, outbox.c.kind == kind)
    row = tx.connection.execute(query).first()
    return None if row is None else typed_row(OutboxRow, row)


def list_outbox(tx: Transaction, *, unanswered: bool = False) -> list[OutboxRow]:
    """Messages, oldest first; with ``unanswered`` only those without a receipt."""
    query = select(*_COLUMNS).order_by(outbox.c.id)
    if unanswered:
        query = query.where(outbox.c.state != "answered")
    return [typed_row(OutboxRow, row) for row in tx.connection.execute(query)]


def mark_sent(tx: Transaction, item_id: int) -> bool:
    """Note that the bytes left; false if there is no such message or it is answered already."""
    change = update(outbox).where(outbox.c.id == item_id, outbox.c.state != "answered").values(state="sent")
    return tx.connection.execute(change).rowcount == 1


def mark_answered(tx: Transaction, item_id: int, receipt: bytes) -> bool:
    """Keep the receipt; false if there is no such message or another answer stands."""
    change = update(outbox).where(outbox.c.id == item_id, outbox.c.state != "answered")
    changed = tx.connection.execute(change.values(state="answered", receipt=receipt)).rowcount == 1
    return changed or tx.connection.scalar(select(outbox.c.receipt).where(outbox.c.id == item_id)) == receipt


class KeptBundle(NamedTuple):
    """A message whose bytes are still here, without them."""

    id: int
    round_id: str
    kind: str
    statement_digest: bytes
    state: str
    size: int


def list_kept(tx: Transaction, *, step: str, until_ms: int) -> list[KeptBundle]:
    """Messages of rounds whose ``step`` was done at that time or before, oldest first, if their bytes are here."""
    size = func.length(outbox.c.body)
    columns = [outbox.c[name] for name in KeptBundle._fields[:-1]]
    done = (progress.c.round_id == outbox.c.round_id, progress.c.step == step, progress.c.updated_at_ms <= until_ms)
    query = select(*columns, size).where(*done, size > 0).order_by(outbox.c.id)
    return [typed_row(KeptBundle, row) for row in tx.connection.execute(query)]


def delete_bytes(tx: Transaction, item_id: int) -> None:
    """Forget the bytes of a message, and keep that it was sent and how it was answered."""
    tx.connection.execute(update(outbox).where(outbox.c.id == item_id).values(body=b""))


def _one(tx: Transaction, round_id: str, kind: str) -> OutboxRow:
    row = read_outbox(tx, round_id, kind)
    assert row is not None  # inserted in this transaction
    return row
