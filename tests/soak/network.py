"""A server and three sites, each a process of its own on loopback, killed at random until enough have died."""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from random import Random
from typing import TYPE_CHECKING

from semfed_secure.client.transport import HttpTransport
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.server.service import Service
from semfed_secure.units import OutputKind
from tests.client.world import MEMBERS
from tests.soak import rounds
from tests.soak.named import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVER = "server"
SECONDS_PER_ROUND = 300
_AGAIN = {"SF341", "SF342", "SF401", "SF404"}


def serve(directory: Path, port: int) -> None:
    """Serve the federation below ``directory`` until killed."""
    import uvicorn

    from semfed_secure.server.http.app import create_app

    world = rounds.world_at(directory)
    app = create_app(Service(world.federation.context, version="soak"), tick_seconds=0.05)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical", access_log=False)


def take_part(directory: Path, name: str, member: str, port: int) -> None:
    """One site's round, with patience: whatever a dead server or a dead self left, it goes on."""
    world = rounds.world_at(directory)
    transport = rounds.Recording(
        HttpTransport(f"http://127.0.0.1:{port}", sleep=lambda _seconds: time.sleep(0.05)),
        rounds.posts_of(directory, name, member),
    )
    kind = rounds.kind_of(name)
    while True:
        try:
            with world.client(
                member, mechanism=rounds.mechanism_of(name), transport=transport, **rounds.SETTINGS
            ) as client:
                joined = client.join(name)
                rounds.answer(joined, name, member)
                consensus = joined.wait_for_consensus(timeout_seconds=SECONDS_PER_ROUND)
                if kind is OutputKind.VOTES:
                    joined.learn(consensus)
                return
        except (PeerError, ConsensusError) as error:
            if error.code not in _AGAIN:
                raise
            time.sleep(0.05)


class Federation:
    """The processes of one federation, and the hand that kills them."""

    def __init__(self, directory: Path, random: Random) -> None:
        """Found it; nothing runs yet."""
        self._directory, self._random = directory, random
        rounds.world_at(directory).federation.close()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._alive: dict[str, int] = {}
        self.killed = {SERVER: 0, "site": 0}
        self.names: list[str] = []

    def round(self, kind: str, *, kills: int) -> None:
        """One round to its end, with up to ``kills`` processes killed on the way."""
        name = f"{kind}-{len(self.names) + 1}"
        self.names.append(name)
        world = rounds.world_at(self._directory)
        rounds.open_if_new(world, name, min_clients=len(MEMBERS))
        world.federation.close()
        self._start(SERVER, name)
        for member in MEMBERS:
            self._start(member, name)
        left, deadline = kills, time.monotonic() + SECONDS_PER_ROUND
        while set(self._alive) - {SERVER}:
            time.sleep(self._random.uniform(0.0, 0.25))
            self._reap()
            if left and self._alive:
                left -= self._kill(self._random.choice(sorted(self._alive)), name)
            if time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{name} does not end: a state that nothing leads out of")
        self.stop()

    def _kill(self, who: str, name: str) -> int:
        child = self._alive.pop(who)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        was_killed = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        self.killed[SERVER if who == SERVER else "site"] += was_killed
        if was_killed:
            self._start(who, name)
        return int(was_killed)

    def _start(self, who: str, name: str) -> None:
        directory, port = self._directory, self._port
        act: Callable[[], None] = (
            (lambda: serve(directory, port)) if who == SERVER else (lambda: take_part(directory, name, who, port))
        )
        child = os.fork()
        if child == 0:
            status = 1
            try:
                act()
                status = 0
            except BaseException:  # noqa: BLE001 - a child ends here, whatever it was
                traceback.print_exc()
            finally:
                os._exit(status)
        self._alive[who] = child

    def _reap(self) -> None:
        for who, child in list(self._alive.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                del self._alive[who]
                code = os.waitstatus_to_exitcode(status)
                if code or who == SERVER:
                    self.stop()
                    raise AssertionError(f"{who} ended with {code} by itself")

    def stop(self) -> None:
        """End what still runs."""
        for child in self._alive.values():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self._alive.clear()


def kill_at_random(directory: Path, *, kills: int, seed: int) -> dict[str, int]:
    """Rounds of votes, texts and ballots in turn until ``kills`` processes have died; how many of each kind."""
    federation = Federation(directory, Random(seed))
    while sum(federation.killed.values()) < kills:
        kind = KINDS[len(federation.names) % len(KINDS)]
        federation.round(kind, kills=min(20, kills - sum(federation.killed.values())))
    found = rounds.faults(directory, federation.names, MEMBERS)
    if found:
        raise AssertionError("; ".join(found))
    return {**federation.killed, "rounds": len(federation.names)}
