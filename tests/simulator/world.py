"""A whole federation under one seed: real sites and a real server, with liars at either end of the line.

Only the network is simulated, and only who speaks when: the seed decides the order of steps and whatever a strategy
draws. Keys, signatures, sealing, admission, ledgers, logs and consensus are those of production.
"""

from __future__ import annotations

import atexit
import random
import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.clock import FixedClock
from semfed_secure.ids import PromptId, RoundId
from semfed_secure.storage import Database
from semfed_secure.testing import LocalFederation, SiteSettings, TableModel
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.client.world import Words
from tests.simulator.seats import Seat
from tests.simulator.transcript import Recorder, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from semfed_secure.client.transport import Transport
    from tests.simulator.members import Honest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ("bay", "hill", "lake", "north")
CANDIDATES = ("heart", "lung", "skin", "eye")
TEXTS = tuple(f"phrase {number}" for number in range(6))
QUESTIONS = tuple(Prompt(PromptId(f"p{n}"), text) for n, text in enumerate(TEXTS))
PROMPTS = {
    OutputKind.VOTES: PromptSet("triage", QUESTIONS, CANDIDATES),
    OutputKind.TEXT: PromptSet("titles", QUESTIONS),
}
TRUTH = {text: CANDIDATES[number % 4] for number, text in enumerate(TEXTS)}
FIRST, SECOND = ROUNDS = (RoundId("round-1"), RoundId("round-2"))
SECONDS = 600.0
"""How long a phase lasts."""


class Phase(Enum):
    """When a member's next step is due."""

    OPEN = "while the rounds take contributions, or commitments to texts"
    OPENING = "while the commitments to texts are opened"
    CLOSED = "after they closed"


class SeededRandomness:
    """Bytes that the seed decides; for salts and nonces of a test only."""

    def __init__(self, source: random.Random) -> None:
        """Draw from ``source``."""
        self._source = source

    def token_bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        return self._source.randbytes(count)


class World:
    """Members with their strategies around one server, some rounds, and everything that was said.

    Each member speaks through a line of its own: ``member`` end, then what happens to it on the way, then ``server``
    end. Strategies of members stand in `tests.simulator.members`, those of the server in `tests.simulator.servers`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: int = 0,
        liars: Mapping[str, Honest] | None = None,
        mischief: Mapping[str, Sequence[Any]] | None = None,
        reach: Callable[[LocalFederation], Transport] = LocalFederation.transport,
        names: Sequence[str] = NAMES,
        rounds: Sequence[RoundId] = ROUNDS,
        kind: OutputKind = OutputKind.VOTES,
        witnesses: int = 0,
    ) -> None:
        """Found the federation.

        Args:
            directory: Where everything lies.
            seed: Decides everything that is not a key or a signature.
            liars: The members that are not honest, with their strategies.
            mischief: What happens to a member on the way, from its own end to the server's.
            reach: The way to the honest server.
            names: All members.
            rounds: The rounds that are held, all at the same time.
            kind: What is answered in them: votes, or texts that are committed to first.
            witnesses: How many members must vouch for the server's log before a round opens, and who takes part in one.
        """
        from tests.simulator.members import Honest

        self.seed, self.random, self.clock = seed, random.Random(seed), FixedClock(NOW)
        self.randomness = SeededRandomness(random.Random(seed))
        self.directory, self.transcript, self.rounds, self.kind = directory, Transcript(), tuple(rounds), kind
        self._witnesses = witnesses
        shutil.copytree(_founded(tuple(names), witnesses), directory / "federation")
        self.federation = _open(directory / "federation", names, self.clock, witnesses)
        self.reach = reach
        self.expected: dict[tuple[str, RoundId], list[str]] = defaultdict(list)
        """What the server's log must say about the contributions of each liar: ``admitted``, or a code."""
        self.revoked: set[str] = set()
        self.liars = dict(liars or {})
        self.mischief = {name: tuple(each) for name, each in (mischief or {}).items()}
        self.strategies = {name: self.liars.get(name) or Honest() for name in names}
        self.seats: dict[str, Seat] = {}

    @property
    def honest(self) -> tuple[str, ...]:
        """The members that do as the software does, whatever happens to them on the way."""
        return tuple(name for name in self.strategies if name not in self.liars)

    def run(self) -> None:
        """All rounds, from their announcement to their end."""
        if self._witnesses:
            self._vouch()
        for round_id in self.rounds:
            self.open_round(round_id)
        self.seats = {name: Seat(self, name) for name in self.strategies}
        playing = {name: self.strategies[name].play(seat) for name, seat in self.seats.items()}
        due = {name: next(steps, None) for name, steps in playing.items()}
        for phase in Phase:
            while ready := sorted(name for name, when in due.items() if when is phase):
                name = self.random.choice(ready)
                due[name] = next(playing[name], None)
                self.federation.coordinator.advance()
            self.clock.advance(SECONDS)
            self.federation.coordinator.advance()
        assert set(due.values()) == {None}

    def open_round(self, round_id: RoundId) -> None:
        """Announce a round that every mechanism may take part in, and every member expects to answer."""
        self.federation.open_round(
            round_id,
            PROMPTS[self.kind],
            kind=self.kind,
            min_clients=2,
            mechanisms=tuple(Mechanism),
            max_epsilon="Infinity",
            closes_in_seconds=SECONDS,
            opening_seconds=SECONDS,
        )

    def _vouch(self) -> None:
        """Let every member look at the server's log before a round opens, on a line to which nothing happens."""
        self.federation.coordinator.advance()
        for name in self.strategies:
            settings = SiteSettings(mechanism=Mechanism.UNSAFE_NO_NOISE)
            with self.federation.client(name, settings=settings, model=TableModel({})) as client:
                client.keep_watch()

    def revoke(self, name: str) -> None:
        """The federation root revokes a member, from now on."""
        self.revoked.add(name)
        self.federation.publish_roster(sequence=1 + len(self.revoked), revoked=sorted(self.revoked))

    def line(self, name: str) -> Transport:
        """A member's way to the server, with everything that happens on it, recorded at both ends."""
        way: Any = self.reach(self.federation)
        recording: dict[str, Any] = {"member": name, "transcript": self.transcript, "clock": self.clock}
        way = Recorder(way, end="server", **recording)
        for happening in reversed(self.mischief.get(name, ())):
            way = happening(way, self, name)
        return Recorder(way, end="member", **recording)

    def fork(self) -> LocalFederation:
        """The server once more, from a copy of its disk as it is now: same keys, same rounds, a history of its own."""
        place = self.directory / f"fork-{len(list(self.directory.glob('fork-*')))}"
        source = self.federation.directory
        shutil.copytree(source, place, ignore=lambda _, names: [name for name in names if name.startswith("server.db")])
        copy_database(source / "server" / "server.db", place / "server" / "server.db")
        return _open(place, tuple(self.strategies), self.clock, self._witnesses)

    def dump(self, directory: Path, *, failed: str | None) -> None:
        """Write everything that was said, who played what, and how the run ended."""
        self.transcript.dump(directory)
        played = [f"{name}: {type(strategy).__name__}" for name, strategy in self.strategies.items()]
        on_the_way = [f"{name}: {each.__name__}" for name, happening in self.mischief.items() for each in happening]
        text = "\n".join([f"seed {self.seed}", f"failed: {failed}", "", *played, "", *on_the_way, ""])
        (directory / "world.txt").write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Close every database and remove what lies on disk."""
        for seat in self.seats.values():
            seat.close()
        self.federation.close()
        shutil.rmtree(self.directory)


def _open(directory: Path, names: Sequence[str], clock: FixedClock, witnesses: int) -> LocalFederation:
    return LocalFederation(
        directory,
        members=names,
        prompt_sets=tuple(PROMPTS.values()),
        clock=clock,
        embedder=Words(),
        close_when_complete=False,
        min_witnesses=witnesses,
    )


@cache
def _founded(names: tuple[str, ...], witnesses: int) -> Path:
    """A federation as it is when it was just founded, with empty databases: made once, copied by every world."""
    directory = Path(mkdtemp(prefix="semfed-simulated-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    federation = _open(directory / "federation", names, FixedClock(NOW), witnesses)
    for name in names:
        state = federation.site(name) / "state"
        state.mkdir()
        Database.open(state / DATABASE_FILE, kind="client").close()
    federation.close()
    return directory / "federation"


def copy_database(source: Path, target: Path) -> None:
    """A copy of a database that is open, as a backup tool makes it."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
