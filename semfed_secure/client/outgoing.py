"""What lies in the outbox of a round: one finished contribution, and of texts the commitment that goes before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.client.round import VerifiedReceipt, verify_receipt
from semfed_secure.ids import Digest
from semfed_secure.storage.outbox_rows import OutboxRow, insert_outbox, read_outbox
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import Outcome, encode_contribution

if TYPE_CHECKING:
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.ids import RoundId
    from semfed_secure.storage import Transaction
    from semfed_secure.wire.messages import Contribution, ContributionStatement

CONTRIBUTION, COMMITMENT = "contribution", "commitment"
"""What the outbox calls these messages; the commitment is the contribution without its sealed outputs."""
_ANSWERS = {
    COMMITMENT: frozenset({Outcome.COMMITTED, Outcome.REJECTED}),
    CONTRIBUTION: frozenset({Outcome.ADMITTED, Outcome.REJECTED}),
}


def answer_to(row: OutboxRow, data: bytes, round_: VerifiedRound) -> VerifiedReceipt:
    """Verify the server's answer to the message in ``row``: that to a commitment is none to its opening.

    Raises:
        PeerError: as `verify_receipt`.
    """
    digest = Digest(row.statement_digest)
    return verify_receipt(data, round_=round_, statement_digest=digest, outcomes=_ANSWERS[row.kind])


def keep_finished(tx: Transaction, contribution: Contribution, statement: ContributionStatement) -> OutboxRow:
    """Keep the finished bytes of a round; what is sent first is returned."""
    digest = statement.digest
    row = OutboxRow(statement.round_id, CONTRIBUTION, digest, encode_contribution(contribution))
    kept = insert_outbox(tx, row)
    if statement.kind is not OutputKind.TEXT:
        return kept
    bare = encode_contribution(replace(contribution, sealed=()))
    return insert_outbox(tx, OutboxRow(statement.round_id, COMMITMENT, digest, bare))


def first_message(tx: Transaction, round_id: RoundId) -> OutboxRow | None:
    """What is sent first in a round, or None before anything is finished."""
    return read_outbox(tx, round_id, COMMITMENT) or read_outbox(tx, round_id, CONTRIBUTION)


def newest_receipt(tx: Transaction, round_: VerifiedRound) -> VerifiedReceipt | None:
    """The server's last answer to this site's contribution, verified again; None before the first.

    Raises:
        PeerError: SF326, the stored answer does not verify.
    """
    for kind in (CONTRIBUTION, COMMITMENT):
        row = read_outbox(tx, round_.manifest.round_id, kind)
        if row is not None and row.receipt is not None:
            return answer_to(row, row.receipt, round_)
    return None
