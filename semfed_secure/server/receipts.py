"""What a sender is told, and what the log says of it: one entry and one signed receipt, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from semfed_secure.audit.carried import carried
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.crypto.signing import sign
from semfed_secure.ids import hex_digest
from semfed_secure.wire.messages import MessageType, Outcome, Receipt, encode_receipt

if TYPE_CHECKING:
    from semfed_secure.server.context import ServerContext
    from semfed_secure.storage import Transaction
    from semfed_secure.wire.messages import ContributionStatement

_EVENTS: dict[Outcome, tuple[EventType, Literal["success", "denied"]]] = {
    Outcome.COMMITTED: (EventType.BUNDLE_COMMITTED, "success"),
    Outcome.ADMITTED: (EventType.BUNDLE_ADMITTED, "success"),
    Outcome.REJECTED: (EventType.BUNDLE_REJECTED, "denied"),
}


def placed(tx: Transaction, context: ServerContext, index: int) -> tuple[str, tuple[bytes, ...]]:
    """The log's checkpoint as it is in ``tx``, and the proof that entry ``index`` is below it."""
    checkpoint = context.audit.checkpoint(tx)
    size = parse_checkpoint(parse_note(checkpoint).text).size
    return checkpoint, context.audit.inclusion_proof(index, size, tx)


def answer(
    tx: Transaction,
    context: ServerContext,
    statement: ContributionStatement,
    outcome: Outcome,
    code: str | None = None,
) -> bytes:
    """Log what became of ``statement``, and sign the receipt that says so; ``code`` exactly for a rejected one."""
    index = context.audit.append(_event(context, statement, outcome, code), tx)
    checkpoint, proof = placed(tx, context, index)
    receipt = Receipt(
        statement_digest=statement.digest,
        round_id=statement.round_id,
        outcome=outcome,
        code=code,
        log_index=index,
        log_checkpoint=checkpoint,
        inclusion_proof=proof,
    )
    return sign(MessageType.RECEIPT, encode_receipt(receipt), context.keys.signing)


def _event(context: ServerContext, statement: ContributionStatement, outcome: Outcome, code: str | None) -> Event:
    kind, verdict = _EVENTS[outcome]
    return Event(
        type=kind,
        outcome=verdict,
        actor=context.member,
        round_id=statement.round_id,
        peer=statement.sender,
        bundle_digest=hex_digest(statement.digest),
        policy_digest=hex_digest(statement.policy_digest),
        codes=() if code is None else (code,),
        details={
            "kind": statement.kind.value,
            "items": statement.item_count,
            "mechanism": statement.privacy.mechanism.value,
            "manifest_digest": hex_digest(statement.manifest_digest),
            **carried(statement.log_checkpoint),
        },
    )
