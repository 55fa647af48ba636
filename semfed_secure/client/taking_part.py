"""One joined round: train, contribute, wait, learn; every step resumable in another process."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, Self, overload

from semfed_secure.client.answers import prompts_with_alike, vote_on, write_on
from semfed_secure.client.ballots import cast_ballots
from semfed_secure.client.collecting import collect
from semfed_secure.client.given import given_outputs
from semfed_secure.client.learning import LearnOutcome, learn
from semfed_secure.client.outgoing import first_message, newest_receipt
from semfed_secure.client.outputs import DraftOutputs, Outputs, Texts, Unread, Votes
from semfed_secure.client.progress import RoundState, Step, after, state_of
from semfed_secure.client.release import deliver, finish, permit, preview, privatise, unseal
from semfed_secure.client.training import TrainOutcome, preview_training, train
from semfed_secure.errors import ConfigurationError, ConsensusError, PeerError
from semfed_secure.units import Mechanism, OutputKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from semfed_secure.client.decisions import DecisionPreview
    from semfed_secure.client.engine import Engine
    from semfed_secure.client.given import GivenOutputs
    from semfed_secure.client.round import VerifiedConsensus, VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId
    from semfed_secure.llm.model import Record
    from semfed_secure.wire.messages import Receipt, RoundManifest
    from semfed_secure.wire.prompts import PromptSet

POLL_SECONDS = 1.0
"""How often a waiting client asks for the consensus."""
_LOCK_FILE = ".training.lock"


class Round:
    """One joined round of one site."""

    def __init__(
        self,
        verified: VerifiedRound,
        site: Site,
        transport: Transport,
        engine: Engine,
        sleep: Callable[[float], None],
    ) -> None:
        """Use `Client.join`."""
        self._verified, self._site, self._transport = verified, site, transport
        self._engine, self._sleep = engine, sleep

    def __enter__(self) -> Self:
        """Already joined."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open: what was reached is in the state directory."""

    @property
    def round_id(self) -> RoundId:
        """Its name."""
        return self._verified.manifest.round_id

    @property
    def manifest(self) -> RoundManifest:
        """The verified terms."""
        return self._verified.manifest

    @property
    def prompts(self) -> PromptSet:
        """The verified public prompts."""
        return self._verified.prompts

    @property
    def state(self) -> RoundState:
        """How far this site is."""
        with self._site.database.snapshot() as tx:
            return state_of(tx, self.round_id)

    @property
    def receipt(self) -> Receipt | None:
        """The server's last verified answer to this site's contribution; None before the first."""
        with self._site.database.snapshot() as tx:
            return newest_receipt(tx, self._verified)

    @overload
    def train(self, records: Iterable[Record], *, dry_run: Literal[False] = False) -> TrainOutcome: ...

    @overload
    def train(self, records: Iterable[Record], *, dry_run: Literal[True]) -> DecisionPreview: ...

    def train(self, records: Iterable[Record], *, dry_run: bool = False) -> TrainOutcome | DecisionPreview:
        """Fine-tune the adapter on private records, with DP-SGD where the site says so.

        The run is paid for before its first step; again, it returns what the first run left. ``records`` are not
        touched before the policy permits it. ``dry_run`` gives the decision and the price, and does nothing.

        Raises:
            RefusedError: SF201 policy, SF202 budget, SF203 approval.
            ConsensusError: SF404, this site released or collected already, or another process trains.
            ConfigurationError: SF132, SF142 or SF101.
        """
        if dry_run:
            return preview_training(self._site, self._engine, self.round_id)
        with _alone(self._site):
            return train(self._site, self._engine, self._verified, records)

    @overload
    def contribute(
        self,
        outputs: GivenOutputs | None = None,
        *,
        records: Iterable[Record] | None = None,
        dry_run: Literal[False] = False,
    ) -> Receipt: ...

    @overload
    def contribute(
        self, outputs: GivenOutputs | None = None, *, records: Iterable[Record] | None = None, dry_run: Literal[True]
    ) -> DecisionPreview: ...

    def contribute(
        self,
        outputs: GivenOutputs | None = None,
        *,
        records: Iterable[Record] | None = None,
        dry_run: bool = False,
    ) -> Receipt | DecisionPreview:
        """Answer, ask the policy, protect, sign, seal and send; or a coded refusal.

        What was finished once is sent again, unchanged, until the server's receipt is here. To the server, a site
        that refuses is a site that says nothing. Texts are committed to: the receipt says ``committed``, and they are
        sent by `wait_for_consensus` once nobody can commit to anything more.

        Args:
            outputs: Outputs from elsewhere, in the order of `prompts`; the caller answers for it that the active
                model made them. Without them the site's model answers now.
            records: The site's own records, which vote under ``record_histogram``; not touched before the policy
                permits to open the data set and to release, and not at all by a dry run.
            dry_run: Give the full decision and the price; spend and send nothing.

        Raises:
            RefusedError: SF201 policy, SF202 budget, SF203 approval.
            PeerError: SF341 or SF342, try again; SF326 or SF323, do not.
            ConsensusError: SF401 or SF404, the round is not open.
            ConfigurationError: SF104, the outputs do not answer the round.
        """
        if dry_run:
            return preview(self._draft(outputs, records), self._site)
        with self._site.database.snapshot() as tx:
            row = first_message(tx, self.round_id)
            if row is None:
                after(state_of(tx, self.round_id), Step.RELEASE)
        if row is None:
            released = privatise(permit(self._draft(outputs, records), self._site), self._site)
            row = finish(released, self._site)
        return deliver(row, self._verified, self._site, self._transport)

    def wait_for_consensus(self, timeout_seconds: float = 0.0) -> VerifiedConsensus:
        """The verified consensus, as soon as there is one; on the way, texts that were committed to are sent.

        They are sent once the server has shown the closed list of commitments with this site's own in it, between the
        manifest's closing time (or when all have committed) and its end of the opening. A site that does not ask in
        that time is left out of the round.

        Raises:
            ConsensusError: SF401 after ``timeout_seconds`` without one; SF402 or SF403, there will be none.
            PeerError: SF325 or SF323, it does not verify; SF329, the commitments do not; SF341 or SF342, the server
                does not answer.
        """
        waited, opens = 0.0, True
        while True:
            opens = opens and self._unseal()
            try:
                return collect(self._site, self._transport, self._verified)
            except ConsensusError as error:
                if error.code != "SF401" or waited >= timeout_seconds:
                    raise
            pause = min(POLL_SECONDS, timeout_seconds - waited)
            self._sleep(pause)
            waited += pause

    def _unseal(self) -> bool:
        """Open what was committed to, if it is time; whether trying again may help."""
        try:
            return unseal(self._verified, self._site, self._transport) is None
        except ConsensusError as error:  # not yet, too late, aborted: collecting says what comes of it
            return error.code == "SF401"
        except PeerError as error:
            if error.code != "SF342":
                raise
            return False  # the server takes it no more; the others' consensus can still be learned from

    def learn(self, consensus: VerifiedConsensus) -> LearnOutcome:
        """Learn the agreed labels; keep the new adapter only if it passes the validation check.

        Raises:
            RefusedError: SF201 policy, SF203 approval.
            ConsensusError: SF404, this consensus was not collected here, or another process trains.
            ConfigurationError: SF101, there is no validation set.
        """
        with _alone(self._site):
            return learn(self._site, self._engine, consensus)

    def _draft(self, outputs: GivenOutputs | None, records: Iterable[Record] | None) -> DraftOutputs:
        ready = self._engine.ready()
        drafted: Outputs | Unread
        alike = 0 if outputs is not None else prompts_with_alike(ready.model, self.prompts)
        if outputs is not None:
            drafted = given_outputs(outputs, self._verified, self._site.config.privacy.mechanism)
        elif self._site.config.privacy.mechanism is Mechanism.RECORD_HISTOGRAM:
            if records is None:
                raise ConfigurationError("SF104", "record_histogram needs the site's records: contribute(records=...)")
            drafted = Unread(records, partial(cast_ballots, prompts=self.prompts, model=ready.model))
        elif self.manifest.kind is OutputKind.VOTES:
            drafted = Votes(vote_on(ready.model, self.prompts))
        else:
            limit = self.manifest.decoding.max_new_tokens
            drafted = Texts(write_on(ready.model, self.prompts, max_new_tokens=limit))
        brought = outputs is not None
        return DraftOutputs(self._verified, drafted, ready.adapter, ready.digest, from_caller=brought, alike=alike)


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Only one process of a site trains at a time; the lock ends with the process, however it ends."""
    with (site.config.site.state / _LOCK_FILE).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConsensusError("SF404", "another process of this site is training") from error
        yield
