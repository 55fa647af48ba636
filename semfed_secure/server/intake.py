"""Intake: one posted body in, one signed receipt out, or a coded refusal that is only counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.ids import Digest, MemberId, RoundId, hex_digest
from semfed_secure.server.admission import (
    AdmissionContext,
    AdmittedBundle,
    AuthenticContribution,
    admit,
    authenticate,
    read_contribution,
)
from semfed_secure.server.round import RoundInput, RoundState, after
from semfed_secure.storage import round_rows
from semfed_secure.storage.round_rows import ContributionRow
from semfed_secure.wire.messages import MessageType, Outcome, Receipt, encode_receipt

if TYPE_CHECKING:
    from semfed_secure.server.context import ServerContext
    from semfed_secure.server.refusals import Refusals
    from semfed_secure.server.store import RoundStore
    from semfed_secure.server.stored import StoredTerms
    from semfed_secure.storage import Transaction


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told: the signed receipt, and whether it was admitted."""

    receipt: bytes
    admitted: bool


class Intake:
    """Judges contributions and keeps what was judged.

    The contribution, its audit entry and its receipt become durable in one transaction: whoever holds a receipt
    finds its entry in the log, and a statement is judged once, over threads, processes and restarts.
    """

    def __init__(self, context: ServerContext, store: RoundStore, refusals: Refusals) -> None:
        """Judge with the keys and rosters of ``context``."""
        self._context, self._store, self._refusals = context, store, refusals

    def receive(self, round_id: RoundId, body: bytes) -> Answer:
        """Judge one posted body.

        The same statement again gets the receipt that it got before, whenever it comes.

        Raises:
            PeerError: ``SF301`` to ``SF307``, or ``SF309`` for a member that used up its attempts; counted, not logged.
            IntegrityError: ``SF502`` nothing could be written; the sender may try again.
        """
        terms = self._terms(round_id)
        admission = self._admission(round_id, terms)
        try:
            unverified = read_contribution(body, admission)
            with self._context.database.snapshot() as tx:
                answered = round_rows.read_contribution(tx, round_id, unverified.statement.digest)
            if answered is not None:
                return _stored(answered)
            authentic = authenticate(unverified, admission)
            self._check_attempts(round_id, authentic.member.member_id)
            return self._record(authentic, _judge(authentic, admission))
        except PeerError as refusal:
            self._refusals.count(None if terms is None else round_id, refusal.code)
            raise

    def _terms(self, round_id: RoundId) -> StoredTerms | None:
        try:
            return self._store.terms(round_id)
        except PeerError:
            return None

    def _admission(self, round_id: RoundId, terms: StoredTerms | None) -> AdmissionContext:
        context = self._context
        current = context.rosters.current()

        def standing(member_id: MemberId) -> Digest | None:
            with context.database.snapshot() as tx:
                row = round_rows.admitted_contribution(tx, round_id, member_id)
            return None if row is None else Digest(row.statement_digest)

        return AdmissionContext(
            federation=context.federation,
            round_id=round_id,
            terms=None if terms is None else terms.at(RoundState.stored(self._store.head(round_id).state)),
            pinned=current if terms is None else terms.roster,
            current=current,
            key=context.opening_key,
            max_body_bytes=context.limits.max_body_bytes,
            now=context.clock.now(),
            standing=standing,
        )

    def _check_attempts(self, round_id: RoundId, member_id: MemberId) -> None:
        with self._context.database.snapshot() as tx:
            refused = round_rows.count_rejected(tx, round_id, member_id)
        if refused >= self._context.limits.max_rejections:
            raise PeerError("SF309", f"at most {refused} refused contributions of one member were expected")

    def _record(self, authentic: AuthenticContribution, judged: AdmittedBundle | str) -> Answer:
        statement = authentic.statement
        with self._context.database.transaction() as tx:
            answered = round_rows.read_contribution(tx, statement.round_id, statement.digest)
            if answered is not None:  # another thread judged the same bytes
                return _stored(answered)
            self._check_still_open(tx, statement.round_id)
            if isinstance(judged, AdmittedBundle) and round_rows.admitted_contribution(
                tx, statement.round_id, statement.sender
            ):
                judged = "SF309"  # another thread admitted another contribution of this member
            index = self._context.audit.append(self._event(authentic, judged), tx)
            receipt = self._receipt(tx, authentic, judged, index)
            row = _row(authentic, judged, receipt)
            round_rows.insert_contribution(tx, row)
        return _stored(row)

    def _check_still_open(self, tx: Transaction, round_id: RoundId) -> None:
        head = round_rows.read_round_head(tx, round_id)
        try:
            assert head is not None  # INVARIANT: rounds are never deleted
            state = RoundState.stored(head.state)
            after(after(state, RoundInput.OPEN) if state is RoundState.ANNOUNCED else state, RoundInput.CONTRIBUTE)
        except ConsensusError:
            raise PeerError("SF304", "a round that is still open was expected") from None

    def _receipt(
        self, tx: Transaction, authentic: AuthenticContribution, judged: AdmittedBundle | str, index: int
    ) -> bytes:
        audit = self._context.audit
        checkpoint = audit.checkpoint(tx)
        size = parse_checkpoint(parse_note(checkpoint).text).size
        code = judged if isinstance(judged, str) else None
        receipt = Receipt(
            statement_digest=authentic.statement.digest,
            round_id=authentic.statement.round_id,
            outcome=Outcome.ADMITTED if code is None else Outcome.REJECTED,
            code=code,
            log_index=index,
            log_checkpoint=checkpoint,
            inclusion_proof=audit.inclusion_proof(index, size, tx),
        )
        return sign(MessageType.RECEIPT, encode_receipt(receipt), self._context.keys.signing)

    def _event(self, authentic: AuthenticContribution, judged: AdmittedBundle | str) -> Event:
        statement = authentic.statement
        refused = isinstance(judged, str)
        return Event(
            type=EventType.BUNDLE_REJECTED if refused else EventType.BUNDLE_ADMITTED,
            outcome="denied" if refused else "success",
            actor=self._context.member,
            round_id=statement.round_id,
            peer=statement.sender,
            bundle_digest=hex_digest(statement.digest),
            policy_digest=hex_digest(statement.policy_digest),
            codes=(judged,) if isinstance(judged, str) else (),
            details={
                "kind": statement.kind.value,
                "items": statement.item_count,
                "mechanism": statement.privacy.mechanism.value,
                "manifest_digest": hex_digest(statement.manifest_digest),
            },
        )


def _judge(authentic: AuthenticContribution, admission: AdmissionContext) -> AdmittedBundle | str:
    """The bundle, or the code for which it is refused."""
    try:
        return admit(authentic, admission)
    except PeerError as refusal:
        return refusal.code


def _row(authentic: AuthenticContribution, judged: AdmittedBundle | str, receipt: bytes) -> ContributionRow:
    statement = authentic.statement
    return ContributionRow(
        round_id=statement.round_id,
        statement_digest=statement.digest,
        member_id=statement.sender,
        statement=authentic.contribution.statement,
        payload=judged.payload_bytes if isinstance(judged, AdmittedBundle) else None,
        outcome="admitted" if isinstance(judged, AdmittedBundle) else "rejected",
        code=None if isinstance(judged, AdmittedBundle) else judged,
        receipt=receipt,
    )


def _stored(row: ContributionRow) -> Answer:
    assert row.receipt is not None  # INVARIANT: written with the row, in one transaction
    return Answer(row.receipt, row.outcome == "admitted")
