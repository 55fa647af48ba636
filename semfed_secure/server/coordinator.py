"""The coordinator: drives rounds through time, disk and the audit log.

Every transition is durable before it is visible, together with its audit entry; every step may be repeated, in
another thread or process or after a crash, and has its effect once. One bad bundle never stops a round, and one
bad round never stops another.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from semfed_secure.audit.notes import LogProof
from semfed_secure.clock import to_ms
from semfed_secure.errors import ConfigurationError, ConsensusError, IntegrityError, SemfedError
from semfed_secure.identity.records import Role
from semfed_secure.ids import RoundId
from semfed_secure.server.anchors import kept_text
from semfed_secure.server.intake import Answer, Intake
from semfed_secure.server.key_entries import KeyEntries
from semfed_secure.server.opening import Ground, RoundPlan, check_groups, check_plan, make_manifest
from semfed_secure.server.overview import Overview
from semfed_secure.server.proposals import to_vote_on
from semfed_secure.server.receipts import placed
from semfed_secure.server.refusals import Refusals
from semfed_secure.server.roster_entries import RosterEntries
from semfed_secure.server.round import FINAL, RoundInput, RoundState, after, due, ending
from semfed_secure.server.standing import reset_standing
from semfed_secure.server.stored import read_consensus, server_keys
from semfed_secure.server.transitions import Transitions, published_at
from semfed_secure.server.witnesses import witnessed_checkpoint
from semfed_secure.storage import round_rows
from semfed_secure.wire.prompts import PromptSet, encode_prompt_set

if TYPE_CHECKING:
    from semfed_secure.ids import MemberId
    from semfed_secure.server.context import ServerContext
    from semfed_secure.server.store import RoundStore
    from semfed_secure.storage import Transaction
    from semfed_secure.storage.round_rows import RoundHeadRow
    from semfed_secure.wire.messages import CandidateSource, RoundManifest

ATTEMPTS = 3
"""How often a consensus is tried before its round is aborted."""
RETRY_AFTER_MS = 10_000
"""How long the first new attempt waits; each further one waits that much longer."""
REFUSALS_EVERY_MS = 60_000
"""How often counted refusals become log entries."""


class Coordinator:
    """All rounds of one server; safe between threads, and with other processes on the same database."""

    def __init__(self, context: ServerContext) -> None:
        """Take up every round where the database says it stands."""
        now = context.clock.now()
        self._context = context
        self._overview = Overview(context.database, context.rosters, context.clock)
        self._store = self._overview.store
        self._refusals = Refusals(since=now)
        self._transitions = Transitions(context, self._overview, self._refusals)
        self._intake = Intake(context, self._store, self._refusals)
        self._key_entries, self._roster_entries = KeyEntries(context), RosterEntries(context)
        self._turn = threading.Lock()
        self._failures: Counter[RoundId] = Counter()
        self._again_at_ms: dict[RoundId, int] = {}
        self._refusals_due_ms = to_ms(now) + REFUSALS_EVERY_MS
        self._forgotten: set[str] = set()

    @property
    def store(self) -> RoundStore:
        """Rounds as the database holds them."""
        return self._store

    @property
    def refusals(self) -> Refusals:
        """Refusals that are only counted."""
        return self._refusals

    # -- what the operator does ---------------------------------------------------------------------------

    def open_round(self, plan: RoundPlan, prompt_set: PromptSet) -> RoundManifest:
        """Sign a manifest and announce the round.

        Raises:
            ConfigurationError: ``SF105`` the plan cannot be held, its name is taken, or too many rounds are open;
                ``SF104`` the prompt set does not fit it; ``SF101`` its groups do not fit the roster.
            PeerError: ``SF322`` the roster has expired; ``SF306`` it does not list this server; ``SF330`` too few
                witnesses vouch for the log.
        """
        check_plan(plan, prompt_set)  # before a key file bears the round's name
        context = self._context
        roster = context.rosters.current()
        roster.member(context.member, role=Role.SERVER, at=context.clock.now())
        check_groups(plan.groups, roster, context.clock.now())
        with context.database.transaction() as tx:
            self._check_room(tx, plan.round_id)
            witnessed = witnessed_checkpoint(tx, context, roster) if context.min_witnesses else None
            with self._key_entries.created(tx, plan.round_id) as recipient_key:
                ground = Ground(
                    federation=context.federation,
                    roster=roster,
                    recipient_key=recipient_key,
                    log_checkpoint=witnessed or context.audit.checkpoint(tx),
                )
                manifest = make_manifest(plan, prompt_set, ground, context.randomness)
                context.rosters.pin(tx, roster)
                self._transitions.announce(tx, manifest, encode_prompt_set(prompt_set), plan.gold)
        return manifest

    def to_vote_on(self, round_id: RoundId) -> tuple[PromptSet, CandidateSource]:
        """The prompts of a published round of proposals with its candidates, and the origin that a plan names.

        Raises:
            PeerError, ConsensusError: as `consensus`.
            ConfigurationError: ``SF104`` there is nothing to vote on.
        """
        self.consensus(round_id)
        terms = self._store.terms(round_id)
        own = server_keys(terms, self._context.rosters.current())
        return to_vote_on(terms, read_consensus(self._store.row(round_id), terms, own))

    def close_round(self, round_id: RoundId) -> RoundState:
        """Take no more commitments, or no more contributions; whoever calls `advance` next goes on from there.

        Raises:
            PeerError: ``SF304`` there is no such round.
            ConsensusError: ``SF404`` it does not take contributions; ``SF403`` it was aborted.
        """
        state = RoundState.stored(self._store.head(round_id).state)
        kind = self._store.terms(round_id).manifest.kind
        following = after(state, ending(state, kind), kind)
        if self._transitions.take(round_id, state, ending(state, kind)) is None:
            raise ConsensusError("SF404", "the round moved on meanwhile")
        self._clear_away()
        return following

    def abort_round(self, round_id: RoundId, reason: str) -> RoundState:
        """End the round without a consensus.

        Raises:
            PeerError: ``SF304`` there is no such round.
            ConsensusError: ``SF404`` it is published; ``SF403`` it was aborted before.
        """
        state = RoundState.stored(self._store.head(round_id).state)
        following = after(state, RoundInput.ABORT)
        if self._transitions.abort(round_id, state, "SF403", reason) is None:
            raise ConsensusError("SF404", "the round moved on meanwhile")
        self._clear_away()
        return following

    def reset_standing(self, member: MemberId, reason: str) -> int:
        """Forget how a client fared in the rounds published so far; see `standing.reset_standing`."""
        return reset_standing(self._context, member, reason)

    def gold(self, round_id: RoundId) -> bytes | None:
        """The gold prompts of a round as the log commits to them, for the auditor; None if it has none.

        Raises:
            IntegrityError: ``SF531`` they are not what the log says.
        """
        with self._context.database.snapshot() as tx:
            return kept_text(tx, round_id, self._context.audit)

    # -- what clients and the clock do --------------------------------------------------------------------

    def receive(self, round_id: RoundId, body: bytes) -> Answer:
        """Judge one posted contribution; see `Intake.receive`."""
        return self._intake.receive(round_id, body)

    def advance(self) -> list[tuple[RoundId, RoundState]]:
        """Move every round as far as time and its contributions allow; returns the moves made.

        A round whose consensus cannot be formed is tried again, and aborted after `ATTEMPTS`; while the roster is
        out of force every round waits.

        Raises:
            IntegrityError: ``SF502`` nothing can be written; ``SF531`` a round is in no state that there is.
            PeerError: ``SF322`` the roster has expired.
        """
        with self._turn:
            self._write_refusals()
            self._roster_entries.note()
            moves: list[tuple[RoundId, RoundState]] = []
            for head in self.rounds():
                moves += self._advance_round(head)
            self._clear_away()
            return moves

    def write_refusals(self) -> None:
        """Write what was counted and not logged yet; call it before the process ends."""
        self._refusals_due_ms = 0
        self._write_refusals()

    # -- what anybody may ask -----------------------------------------------------------------------------

    def consensus(self, round_id: RoundId) -> bytes:
        """The signed consensus.

        Raises:
            PeerError: ``SF304`` there is no such round.
            ConsensusError: ``SF401`` not yet; ``SF402`` or ``SF403`` there will be none.
        """
        head = self._store.head(round_id)
        state = RoundState.stored(head.state)
        if state is RoundState.ABORTED:
            code = "SF402" if (head.reason or "").startswith("SF402") else "SF403"
            raise ConsensusError(code, "the round was aborted")
        consensus = self._store.row(round_id).consensus if state is RoundState.PUBLISHED else None
        if consensus is None:
            raise ConsensusError("SF401", "the consensus is not published yet")
        return consensus

    def consensus_proof(self, round_id: RoundId) -> str:
        """Where the consensus stands in this server's log, as a C2SP ``tlog-proof``.

        Raises:
            PeerError, ConsensusError: as `consensus`.
        """
        self.consensus(round_id)
        with self._context.database.snapshot() as tx:
            index = published_at(tx, round_id)
            checkpoint, path = placed(tx, self._context, index)
        return LogProof(index, path, checkpoint).encoded

    def commitments(self, round_id: RoundId) -> bytes:
        """The signed list of what a round of texts was committed to.

        Raises:
            PeerError: ``SF304`` there is no such round.
            ConsensusError: ``SF401`` not yet, or never: the round takes no commitments.
        """
        commitments = self._store.row(round_id).commitments
        if commitments is None:
            raise ConsensusError("SF401", "the commitments of the round are not closed")
        return commitments

    def rounds(self) -> list[RoundHeadRow]:
        """Where every round stands; see `Overview.rounds`."""
        return self._overview.rounds()

    def status(self, round_id: RoundId) -> dict[str, object]:
        """Where a round stands, with names, for the operator; see `Overview.status`."""
        return self._overview.status(round_id)

    # -- turns --------------------------------------------------------------------------------------------

    def _advance_round(self, head: RoundHeadRow) -> list[tuple[RoundId, RoundState]]:
        moves: list[tuple[RoundId, RoundState]] = []
        round_id, now_ms = RoundId(head.round_id), to_ms(self._context.clock.now())
        if now_ms < self._again_at_ms.get(round_id, 0):
            return moves
        try:
            state = RoundState.stored(head.state)
        except IntegrityError:  # there is nothing to abort; the other rounds go on meanwhile
            self._again_at_ms[round_id] = now_ms + RETRY_AFTER_MS
            raise
        if state in FINAL:
            return moves
        try:
            while (happening := self._due(round_id, state)) is not None:
                following = self._transitions.take(round_id, state, happening)
                if following is None:  # another process was faster; its state is read in the next turn
                    break
                state = following
                moves.append((round_id, state))
        except SemfedError as error:
            if error.code in {"SF322", "SF502"}:  # not this round's fault: no roster in force, no disk
                raise
            moves += self._failed(round_id, state, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - an embedder may raise anything, and other rounds must go on
            moves += self._failed(round_id, state, "SF403", f"internal error {type(error).__name__}")
        return moves

    def _due(self, round_id: RoundId, state: RoundState) -> RoundInput | None:
        terms = self._store.terms(round_id)
        taking = state in {RoundState.COLLECTING, RoundState.OPENING}
        return due(
            state,
            terms.manifest.kind,
            now_ms=to_ms(self._context.clock.now()),
            opens_at_ms=terms.manifest.opens_at_ms,
            closes_at_ms=terms.manifest.closes_at_ms,
            opening_ends_at_ms=terms.manifest.opening_ends_at_ms,
            complete=taking and self._transitions.is_complete(round_id, state, terms),
        )

    def _failed(
        self, round_id: RoundId, state: RoundState, code: str, sentence: str
    ) -> list[tuple[RoundId, RoundState]]:
        self._failures[round_id] += 1
        wait_ms = RETRY_AFTER_MS * self._failures[round_id]
        self._again_at_ms[round_id] = to_ms(self._context.clock.now()) + wait_ms
        if self._failures[round_id] < ATTEMPTS:
            return []
        aborted = self._transitions.abort(round_id, state, "SF403", f"{code} {sentence}")
        return [] if aborted is None else [(round_id, aborted)]

    def _clear_away(self) -> None:
        """Destroy the keys of rounds that take no more, and let nothing of ended ones stand on the disk."""
        heads = self.rounds()
        self._key_entries.destroy_spent(heads)
        ended = {head.round_id for head in heads if head.state in FINAL}
        if ended != self._forgotten and self._context.database.forget():  # else the next turn tries again
            self._forgotten = ended

    def _check_room(self, tx: Transaction, round_id: RoundId) -> None:
        heads = round_rows.list_round_heads(tx)
        if any(head.round_id == round_id for head in heads):
            raise ConfigurationError("SF105", f"a new round id was expected, {round_id} is taken")
        limit = self._context.limits.max_open_rounds
        if sum(head.state not in FINAL for head in heads) >= limit:
            raise ConfigurationError("SF105", f"at most {limit} open rounds were expected")

    def _write_refusals(self) -> None:
        now = self._context.clock.now()
        if to_ms(now) < self._refusals_due_ms:
            return
        self._refusals_due_ms = to_ms(now) + REFUSALS_EVERY_MS
        events = self._refusals.take_events(self._context.member, now=now)
        if events:
            self._context.audit.append_all(events)
