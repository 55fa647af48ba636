"""The audit log under kills: of its writers at every step of an append and at any moment, and of its database server.

Writers append in threads, so that commits are shared, and note each number that they were told in a file that outlives
them. After each kill everything that was told is looked up by another process; at the end the whole log is verified.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from semfed_secure.audit import group
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage import Database, log_rows
from tests.soak import boundaries
from tests.soak.durable import Watch
from tests.soak.named import in_a_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from semfed_secure.storage.database import Transaction

KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
COMMIT = "audit.log.commit"
POINTS = (
    "begun",
    "entries written",
    "hashes written",
    "checkpoint kept",
    "head moved",
    "before the commit",
    "after the commit",
    "before the answer",
)
"""Everything that an append does one after the other; a kill may come after each."""
_ONE_STATEMENT = ("entries written", "hashes written", "checkpoint kept")
"""PostgreSQL does these together with moving the head."""
_ROWS = {
    "begun": "read_head",
    "entries written": "insert_entries",
    "hashes written": "insert_nodes",
    "checkpoint kept": "insert_checkpoint",
    "head moved": "extend",
}
_PROCESSES, _THREADS = 3, 3


def points(url: str) -> list[str]:
    """Those of `POINTS` that an append comes by on this database."""
    return [point for point in POINTS if not (url.startswith("postgresql") and point in _ONE_STATEMENT)]


class LostError(AssertionError):
    """An entry that was acknowledged is not there, or another one is."""


class Told:
    """What the writers were told, checked by a process that wrote none of it."""

    def __init__(self, url: str, directory: Path) -> None:
        """Begin the log, and the file of what is told."""
        self.url, self.path = url, directory / "told"
        self.path.touch()
        self._database = Database.open(url, kind="client")
        self._log = AuditLog(self._database, key=KEY, clock=SystemClock(), writer="judge")
        self._read = 0
        self.told = 0

    def check(self) -> None:
        """Look up everything that was told since the last time."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            lines = file.read().decode()
        self._read += len(lines)
        pairs = [line.split(" ") for line in lines.splitlines()]
        rows = {int(index): target for index, target in pairs}
        if len(rows) != len(pairs):
            raise LostError("a number was given twice")
        self.told += len(rows)
        first, last = min(rows, default=0), max(rows, default=-1)
        found = {entry.seq: entry.event.target for entry in self._log.entries(first, last + 1)}
        if lost := [row for row in rows.items() if found.get(row[0]) != row[1]]:
            raise LostError(f"acknowledged and not there: {lost[:3]}")

    def verdict(self) -> dict[str, int]:
        """Verify the whole log by its key alone: numbers without gaps, every checkpoint good."""
        self.check()
        size = verify_log(self.url, key=KEY.public.encode()).size
        if size < self.told:
            raise LostError(f"{self.told} entries were acknowledged, {size} are there")
        self._database.close()
        return {"acknowledged": self.told, "entries": size}


def kill_at_each_point(url: str, directory: Path, *, repeats: int, seed: int) -> dict[str, Any]:
    """A process with three appending threads kills itself at each point of an append, ``repeats`` times."""
    random, told = Random(seed), Told(url, directory)
    hits = dict.fromkeys(points(url), 0)
    for number in range(repeats):
        for point in hits:
            crossing = random.randint(1, 6)
            name, stops = f"{point}-{number}", point in {"checkpoint kept", "head moved"}
            prepare = lambda point=point, crossing=crossing: _die_at(point, crossing)  # noqa: E731
            status = in_a_child(lambda: _work(url, told.path, name, prepare=prepare, stops=stops))  # noqa: B023
            if status != -signal.SIGKILL:
                raise AssertionError(f"a writer did not come by: {point}")
            hits[point] += 1
            told.check()
    return {"hits": hits, "least": min(hits.values()), **told.verdict()}


def kill_at_random(
    url: str, directory: Path, *, kills: int, seed: int, mutate: Callable[[], None] | None = None
) -> dict[str, int]:
    """Three processes of three threads append; one after the other is killed and replaced."""
    random, told, names = Random(seed), Told(url, directory), count()

    def writer() -> int:
        name = f"writer-{next(names)}"
        return _fork(lambda: _work(url, told.path, name, prepare=mutate))

    alive, killed = [writer() for _ in range(_PROCESSES)], 0
    try:
        while killed < kills:
            time.sleep(random.uniform(0.0, 0.08))
            victim = alive.pop(random.randrange(len(alive)))
            killed += _kill(victim)
            alive.append(writer())
            told.check()
    finally:
        for child in alive:
            _kill(child)
    return {"killed": killed, **told.verdict()}


def crash_server(
    url: str, directory: Path, *, kills: int, seed: int, mutate: Callable[[], None] | None = None
) -> dict[str, int]:
    """A process of PostgreSQL is killed under three appending processes: what the server only remembered is gone."""
    random, told = Random(seed), Told(url, directory)
    alive = [_fork(lambda n=n: _work(url, told.path, f"w{n}", prepare=mutate)) for n in range(_PROCESSES)]  # type: ignore[misc]
    try:
        for _ in range(kills):
            time.sleep(random.uniform(0.1, 0.3))
            _crash(url)
            told.check()
    finally:
        for child in alive:
            _kill(child)
    return {"crashes": kills, **told.verdict()}


def sees_a_commit_that_does_not_wait(url: str, mutate: Callable[[], None] | None = None) -> bool:
    """Whether the watch over commits complains about an append on SQLite."""

    def watched() -> None:
        if mutate is not None:
            mutate()
        watch = Watch()
        boundaries.install(watch)
        with Database.open(url, kind="client") as database:
            AuditLog(database, key=KEY, clock=SystemClock(), writer="w").append(_event("one"))
        watch.finish()

    return bool(in_a_child(watched))


class Forgetful:
    """A mutant: now and then a commit of the log is rolled back, and its writers are told that it is there."""

    def __init__(self) -> None:
        """Forget the fifth commit, and every fifth after it."""
        self._commits = count(1)

    def before(self, name: str, tx: Transaction) -> bool:
        """Whether it is committed."""
        return name != COMMIT or next(self._commits) % 5 != 0

    def after(self, name: str) -> None:
        """Nobody is told."""


def _event(target: str, *, stops: bool = False) -> Event:
    kind = EventType.LOG_STOPPED if stops else EventType.KEY_LOADED
    return Event(type=kind, outcome="success", actor="north", target=target)


def _work(url: str, path: Path, name: str, *, prepare: Callable[[], None] | None = None, stops: bool = False) -> None:
    """Append in threads until killed."""
    if prepare is not None:
        prepare()
    log = _opened(url, name)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def write(thread: int) -> None:
        for number in count():
            target = f"{name}/{thread}/{number}".replace(" ", "_")
            try:
                index = log.append(_event(target, stops=stops))
            except IntegrityError as error:
                if error.code != "SF502":
                    os._exit(1)
                time.sleep(0.02)
            else:
                os.write(file, f"{index} {target}\n".encode())
                time.sleep(0.005)  # so that the judge keeps up with them

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _opened(url: str, name: str) -> AuditLog:
    """The log, as soon as its database takes connections."""
    while True:
        try:
            return AuditLog(Database.open(url, kind="client"), key=KEY, clock=SystemClock(), writer=name)
        except (ConfigurationError, IntegrityError) as error:
            if error.code not in {"SF151", "SF502"}:
                raise
            time.sleep(0.02)


class _Death:
    """Kills this process at one side of a commit of the log."""

    def __init__(self, side: str, hit: Callable[[], None]) -> None:
        self._side, self._hit = side, hit

    def before(self, name: str, tx: Transaction) -> bool:
        if (name, self._side) == (COMMIT, "before the commit"):
            self._hit()
        return True

    def after(self, name: str) -> None:
        if (name, self._side) == (COMMIT, "after the commit"):
            self._hit()


def _die_at(point: str, crossing: int) -> None:
    crossings = count(1)

    def hit() -> None:
        if next(crossings) == crossing:
            os.kill(os.getpid(), signal.SIGKILL)

    if point in _ROWS:
        real = getattr(log_rows, _ROWS[point])

        def written(*words: Any, **more: Any) -> Any:
            answer = real(*words, **more)
            hit()
            return answer

        setattr(log_rows, _ROWS[point], written)
    elif point == "before the answer":
        outcome = group._outcome

        def silent(ticket: Any) -> int:
            hit()
            return outcome(ticket)

        group._outcome = silent
    else:
        boundaries.install(_Death(point, hit))


def _fork(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(Exception):
            act()
            status = 0
        os._exit(status)
    return child


def _kill(child: int) -> bool:
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        raise AssertionError("a writer ended by itself")
    return True


def _crash(url: str) -> None:
    """Kill the server's side of a connection: PostgreSQL then drops its memory and recovers from its log."""
    import psycopg

    with psycopg.connect(url) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    for _ in range(600):
        time.sleep(0.02)
        with suppress(psycopg.OperationalError), psycopg.connect(url):
            return
    raise AssertionError("PostgreSQL does not come back")
