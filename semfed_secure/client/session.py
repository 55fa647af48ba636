"""The SDK: open a site, join a round, train, contribute, wait, learn; every step resumable in another process.

::

    client = Client.open("hospital.toml")
    with client.join("round-7") as r:
        r.train(records)
        receipt = r.contribute()
        r.learn(r.wait_for_consensus(timeout_seconds=600))
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, overload

from semfed_secure.client.answers import vote_on, write_on
from semfed_secure.client.ballots import cast_ballots
from semfed_secure.client.collecting import collect, join
from semfed_secure.client.config import SiteConfig, load_site_config
from semfed_secure.client.engine import Engine
from semfed_secure.client.learning import LearnOutcome, learn
from semfed_secure.client.outputs import Ballots, DraftOutputs, Outputs, Texts, Unread, Votes
from semfed_secure.client.progress import RoundState, Step, after, list_states, state_of
from semfed_secure.client.release import KIND, DecisionPreview, deliver, finish, permit, preview, privatise
from semfed_secure.client.site import OnStep, Site, ignore_steps, open_site
from semfed_secure.client.training import TrainOutcome, preview_training, train
from semfed_secure.client.transport import HttpTransport, RoundSummary, Transport
from semfed_secure.clock import Clock, Randomness, SystemClock, SystemRandomness
from semfed_secure.errors import ConfigurationError, ConsensusError
from semfed_secure.ids import RoundId, is_name
from semfed_secure.privacy.parameters import is_entity_id
from semfed_secure.storage.outbox_rows import read_outbox
from semfed_secure.units import Mechanism, OutputKind

if TYPE_CHECKING:
    from types import TracebackType

    from semfed_secure.client.round import VerifiedConsensus, VerifiedRound
    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.llm.model import Model, Record
    from semfed_secure.privacy.histogram import Vote
    from semfed_secure.wire.messages import Receipt, RoundManifest
    from semfed_secure.wire.prompts import PromptSet

POLL_SECONDS = 1.0
"""How often a waiting client asks for the consensus."""
TAKES_PART = frozenset({"announced", "collecting"})
"""States, as servers list them, in which a round can be joined."""
_FINISHED = frozenset({RoundState.LEARNED, RoundState.ABORTED})
_LOCK_FILE = ".training.lock"

GivenOutputs = Iterable["int | str | None"] | Iterable["Vote"]
"""Votes (candidate or its index, None to abstain), texts, or ballots ``(entity, prompt index, candidate index)``."""


class Client:
    """One site, ready to take part in rounds.

    Opening validates identity, policy, ledger, audit log and pins once, and connects to nothing. Whatever a step has
    done is in the state directory before it returns, so any step may be taken by another process, again, or after a
    crash: nothing is spent twice, and no round gets two different bundles.
    """

    def __init__(
        self, site: Site, transport: Transport, engine: Engine, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Use `open`."""
        self._site, self._transport, self._engine, self._sleep = site, transport, engine, sleep

    @classmethod
    def open(
        cls,
        config: SiteConfig | Path | str,
        *,
        model: Model | None = None,
        transport: Transport | None = None,
        keys: MemberKeys | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        on_step: OnStep = ignore_steps,
    ) -> Self:
        """Open a site by its site file.

        Args:
            config: The site file, or one that was loaded.
            model: Takes the place of the model that the site file names: any object with ``answer`` and ``score``.
            transport: Takes the place of HTTP.
            keys: Take the place of the key files.
            clock: Takes the place of the machine's clock.
            randomness: Takes the place of the system's generator.
            on_step: Told each numbered step when it is done.

        Raises:
            ConfigurationError: SF1xx.
            PeerError: SF322, the federation root is not the pinned one.
            IntegrityError: SF522, the policy is not the pinned one; SF50x, the log cannot be kept.
        """
        loaded = config if isinstance(config, SiteConfig) else load_site_config(Path(config))
        site = open_site(
            loaded,
            clock=clock if clock is not None else SystemClock(),
            randomness=randomness if randomness is not None else SystemRandomness(),
            keys=keys,
            on_step=on_step,
        )
        server = loaded.server
        channel = (
            transport if transport is not None else HttpTransport(server.url, timeout_seconds=server.timeout_seconds)
        )
        return cls(site, channel, Engine(site, model))

    def __enter__(self) -> Self:
        """Already open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def site(self) -> Site:
        """What was opened: policy, ledger, audit log, database."""
        return self._site

    def rounds(self) -> tuple[RoundSummary, ...]:
        """The rounds that the server says it has; a hint, verified when one is joined."""
        return self._transport.rounds()

    def unfinished(self) -> tuple[RoundId, ...]:
        """Rounds that this site joined and neither learned from nor saw aborted, oldest first."""
        with self._site.database.snapshot() as tx:
            return tuple(name for name, state in list_states(tx) if state not in _FINISHED)

    def join(self, round_id: str | None = None) -> Round:
        """Verify a round's signed manifest, roster and prompts, and take part; again for one already joined.

        Args:
            round_id: Which one; without it the only one that is open, or else the only one left unfinished here.

        Raises:
            ConfigurationError: SF105, this is no name of a round.
            ConsensusError: SF401, no round is open; SF404, several are, or this one is closed.
            PeerError: SF32x, what the server shows does not verify.
            PolicyDenied: SF201.
        """
        name = RoundId(round_id) if round_id is not None else self._open_round()
        if not is_name(name):
            raise ConfigurationError("SF105", "a round is named by 1-63 of a-z 0-9 . _ -")
        return Round(join(self._site, self._transport, name), self._site, self._transport, self._engine, self._sleep)

    def close(self) -> None:
        """Give back the database and the connections."""
        self._site.close()
        if isinstance(self._transport, HttpTransport):
            self._transport.close()

    def _open_round(self) -> RoundId:
        listed = [row.round_id for row in self._transport.rounds() if row.state in TAKES_PART]
        with self._site.database.snapshot() as tx:
            mine = [name for name in listed if state_of(tx, name) not in _FINISHED]
        mine = mine or list(self.unfinished())
        if not mine:
            raise ConsensusError("SF401", "no round is open")
        if len(mine) > 1:
            raise ConsensusError("SF404", f"several rounds are open, name one: {', '.join(mine)}")
        return mine[0]


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
        that refuses is a site that says nothing.

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
            row = read_outbox(tx, self.round_id, KIND)
            if row is None:
                after(state_of(tx, self.round_id), Step.RELEASE)
        if row is None:
            released = privatise(permit(self._draft(outputs, records), self._site), self._site)
            row = finish(released, self._site)
        return deliver(row, self._verified, self._site, self._transport)

    def wait_for_consensus(self, timeout_seconds: float = 0.0) -> VerifiedConsensus:
        """The verified consensus, as soon as there is one.

        Raises:
            ConsensusError: SF401 after ``timeout_seconds`` without one; SF402 or SF403, there will be none.
            PeerError: SF325 or SF323, it does not verify; SF341 or SF342, the server does not answer.
        """
        waited = 0.0
        while True:
            try:
                return collect(self._site, self._transport, self._verified)
            except ConsensusError as error:
                if error.code != "SF401" or waited >= timeout_seconds:
                    raise
            pause = min(POLL_SECONDS, timeout_seconds - waited)
            self._sleep(pause)
            waited += pause

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
        return DraftOutputs(self._verified, drafted, ready.adapter, ready.digest, from_caller=outputs is not None)


def given_outputs(outputs: GivenOutputs, round_: VerifiedRound, mechanism: Mechanism) -> Outputs:
    """A caller's outputs as the round's kind; a vote may be the candidate itself or its index, None abstains.

    Raises:
        ConfigurationError: SF104, an output is of another type or no candidate of its prompt.
    """
    items = list(outputs)
    if mechanism is Mechanism.RECORD_HISTOGRAM:
        return Ballots(tuple(_ballot(item) for item in items))
    if round_.manifest.kind is OutputKind.TEXT:
        return Texts(tuple(_text(item) for item in items))
    prompts = round_.prompts
    if len(items) != len(prompts.prompts):
        raise ConfigurationError("SF104", f"{len(prompts.prompts)} outputs were expected, got {len(items)}")
    choices = [prompts.candidates_of(prompt) for prompt in prompts.prompts]
    return Votes(tuple(_vote(item, own) for item, own in zip(items, choices, strict=True)))


def _ballot(item: object) -> Vote:
    match item:
        case (str() as entity, int() as prompt, int() as candidate) if is_entity_id(entity):
            return entity, prompt, candidate
    raise ConfigurationError("SF104", "ballots (entity id, prompt index, candidate index) were expected")


def _text(item: object) -> str | None:
    if item is None or isinstance(item, str):
        return item
    raise ConfigurationError("SF104", "texts, or None to abstain, were expected")


def _vote(item: object, candidates: Sequence[str]) -> int:
    if item is None:
        return -1
    if isinstance(item, str) and item in candidates:
        return candidates.index(item)
    if isinstance(item, int) and not isinstance(item, bool) and -1 <= item < len(candidates):
        return item
    raise ConfigurationError("SF104", "votes for candidates of their prompt, or None to abstain, were expected")


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Only one process of a site trains at a time; the lock ends with the process, however it ends."""
    with (site.config.site.state / _LOCK_FILE).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConsensusError("SF404", "another process of this site is training") from error
        yield
