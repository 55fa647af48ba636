"""Intake: one posted body in, one signed receipt out, or a coded refusal that is only counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.errors import PeerError
from semfed_secure.ids import Digest, MemberId, RoundId
from semfed_secure.server.admission import (
    AcceptedStatement,
    AdmissionContext,
    AdmittedBundle,
    AuthenticContribution,
    UnverifiedContribution,
    accept,
    admit,
    authenticate,
    carries_signed_blobs,
    happening_of,
    read_contribution,
)
from semfed_secure.server.receipts import answer
from semfed_secure.server.round import RoundInput, RoundState, collecting_by_now, following
from semfed_secure.storage import round_rows
from semfed_secure.storage.round_rows import ContributionRow
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import Outcome

if TYPE_CHECKING:
    from semfed_secure.server.context import ServerContext
    from semfed_secure.server.refusals import Refusals
    from semfed_secure.server.store import RoundStore
    from semfed_secure.server.stored import StoredTerms
    from semfed_secure.storage import Transaction


DAMAGED = "SF311"
Judged: TypeAlias = AcceptedStatement | AdmittedBundle | str
"""A commitment, a bundle, or the code for which it is refused."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told: the signed receipt, and what it says."""

    receipt: bytes
    outcome: Outcome

    @property
    def admitted(self) -> bool:
        """Whether it counts from now on."""
        return self.outcome is Outcome.ADMITTED


class Intake:
    """Judges contributions and keeps what was judged.

    The contribution, its audit entry and its receipt become durable in one transaction: whoever holds a receipt
    finds its entry in the log, and a statement is judged once, over threads, processes and restarts.
    """

    def __init__(self, context: ServerContext, store: RoundStore, refusals: Refusals) -> None:
        """Judge with the keys and rosters of ``context``."""
        self._context, self._store, self._refusals = context, store, refusals

    def receive(self, round_id: RoundId, body: bytes) -> Answer:
        """Judge one posted body: a contribution, a commitment, or the payload of one that was committed to.

        The same statement again gets the receipt that it got before, whenever it comes. Where its blobs came damaged,
        the true ones are judged while the round is open: whoever damages them uses up nothing of the sender's.

        Raises:
            PeerError: ``SF301`` to ``SF307``; ``SF309`` for a member that used up its attempts; ``SF311`` for a payload
                that is not what was committed to. Counted, not logged.
            IntegrityError: ``SF502`` nothing could be written; the sender may try again.
        """
        terms = self._terms(round_id)
        admission = self._admission(round_id, terms)
        try:
            unverified = read_contribution(body, admission)
            with self._context.database.snapshot() as tx:
                answered = round_rows.read_contribution(tx, round_id, unverified.statement.digest)
            if answered is not None and not _waits_for(unverified, answered, admission):
                return _stored(answered)
            authentic = authenticate(unverified, admission)
            if answered is None:
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
                row = round_rows.standing_contribution(tx, round_id, member_id)
            return None if row is None else Digest(row.statement_digest)

        return AdmissionContext(
            federation=context.federation,
            round_id=round_id,
            terms=None if terms is None else terms.at(RoundState.stored(self._store.head(round_id).state)),
            pinned=current if terms is None else terms.roster,
            current=current,
            key=context.round_keys.of(round_id),
            max_body_bytes=context.limits.max_body_bytes,
            now=context.clock.now(),
            standing=standing,
        )

    def _check_attempts(self, round_id: RoundId, member_id: MemberId) -> None:
        with self._context.database.snapshot() as tx:
            refused = round_rows.count_rejected(tx, round_id, member_id)
        if refused >= self._context.limits.max_rejections:
            raise PeerError("SF309", f"at most {refused} refused contributions of one member were expected")

    def _record(self, authentic: AuthenticContribution, judged: Judged) -> Answer:
        statement = authentic.statement
        with self._context.database.transaction() as tx:
            stands = round_rows.standing_contribution(tx, statement.round_id, statement.sender)
            answered = round_rows.read_contribution(tx, statement.round_id, statement.digest)
            news = judged != DAMAGED and not isinstance(judged, AcceptedStatement)
            settles = news and answered is not None and _is_open_question(answered)
            if answered is not None and not settles:  # another thread judged the same bytes
                return _stored(answered)
            self._check_still_open(tx, authentic)
            another = stands is not None and stands.statement_digest != statement.digest
            if another and not isinstance(judged, str):
                judged = "SF309"  # another thread took another contribution of this member
            outcome, code = _outcome(judged)
            receipt = answer(tx, self._context, statement, outcome, code)
            row = _row(authentic, judged, receipt)
            if settles:
                round_rows.settle_contribution(tx, row)
            else:
                round_rows.insert_contribution(tx, row)
        return _stored(row)

    def _check_still_open(self, tx: Transaction, authentic: AuthenticContribution) -> None:
        head = round_rows.read_round_head(tx, authentic.statement.round_id)
        assert head is not None  # INVARIANT: rounds are never deleted
        kind = authentic.terms.manifest.kind
        state = collecting_by_now(RoundState.stored(head.state))
        if following(state, happening_of(authentic.contribution, kind), kind) is None:
            raise PeerError("SF304", "a round that is still open was expected")


def _is_open_question(answered: ContributionRow) -> bool:
    """Whether the signed blobs of a statement are still to come: it was a commitment, or they came damaged."""
    return answered.outcome == "committed" or answered.code == DAMAGED


def _waits_for(unverified: UnverifiedContribution, answered: ContributionRow, admission: AdmissionContext) -> bool:
    """Whether these are blobs that a statement waits for: those of an open commitment, or the true ones at last."""
    contribution, terms = unverified.contribution, admission.terms
    if not contribution.sealed or terms is None or not _is_open_question(answered):
        return False
    if answered.outcome == "committed":
        return terms.state is RoundState.OPENING
    return terms.state is RoundState.COLLECTING and carries_signed_blobs(contribution, unverified.statement)


def _judge(authentic: AuthenticContribution, admission: AdmissionContext) -> Judged:
    kind = authentic.terms.manifest.kind
    try:
        accepted = accept(authentic, admission)
        if happening_of(authentic.contribution, kind) is RoundInput.COMMIT:
            return accepted
        return admit(accepted)
    except PeerError as refusal:
        if refusal.code == DAMAGED and kind is OutputKind.TEXT:
            raise  # nobody signed these blobs, so they are held against nobody: the true ones may still come
        return refusal.code


def _outcome(judged: Judged) -> tuple[Outcome, str | None]:
    if isinstance(judged, str):
        return Outcome.REJECTED, judged
    return (Outcome.ADMITTED if isinstance(judged, AdmittedBundle) else Outcome.COMMITTED), None


def _row(authentic: AuthenticContribution, judged: Judged, receipt: bytes) -> ContributionRow:
    statement, (outcome, code) = authentic.statement, _outcome(judged)
    return ContributionRow(
        round_id=statement.round_id,
        statement_digest=statement.digest,
        member_id=statement.sender,
        statement=authentic.contribution.statement,
        payload=judged.payload_bytes if isinstance(judged, AdmittedBundle) else None,
        outcome=outcome.value,
        code=code,
        receipt=receipt,
    )


def _stored(row: ContributionRow) -> Answer:
    assert row.receipt is not None  # INVARIANT: written with the row, in one transaction
    return Answer(row.receipt, Outcome(row.outcome))
