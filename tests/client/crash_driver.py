"""Kills a site with SIGKILL at one numbered step after the other, each time in a process of its own.

``python -m tests.client.crash_driver DIRECTORY KIND MECHANISM STEP…`` prints one JSON line. Children are forked before
any thread exists; each opens the site by itself, as the next pod of a pipeline would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.verify import verify_log
from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.client.training import plan_for
from semfed_secure.clock import SystemClock
from semfed_secure.ids import RoundId, sha256
from semfed_secure.privacy.histogram import release_histogram
from semfed_secure.testing import TransportWrapper
from semfed_secure.units import Mechanism, OutputKind
from tests.client.world import OPEN_PROMPTS, PROMPTS, Words, World, charges, outbox, records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.client.session import Client

POSTS = "posts"
SETTINGS: dict[str, Any] = {"budget": "100", "epsilon": "1"}


class Recording(TransportWrapper):
    """Writes down the digest of every body before it is posted, where a kill cannot undo it."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.federation.transport())
        self._path = world.directory / f"{name}.{POSTS}"

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        with self._path.open("a") as file:
            file.write(sha256(body).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        return super().post(round_id, body)


def take_part(world: World, name: str, mechanism: Mechanism, *, die_at: str | None) -> dict[str, Any]:
    """The whole round of one site, from wherever it stands; with ``die_at`` the process ends there, at once."""

    def on_step(step: str) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    transport = Recording(world, name)
    with world.client("bay", mechanism=mechanism, transport=transport, on_step=on_step, **SETTINGS) as client:
        joined = client.join(name)
        if mechanism is Mechanism.DP_SGD and joined.manifest.kind is OutputKind.VOTES:
            joined.train(records("bay"))
        joined.contribute(records=records("bay", entities=600))
        if world.federation.coordinator.store.head(RoundId(name)).state == "collecting":
            world.federation.close_round(name)
        learned = joined.learn(joined.wait_for_consensus(timeout_seconds=10))
        outcome = joined.receipt.outcome if joined.receipt is not None else None
        return {"receipt": str(outcome), "kept": learned.kept, **traces(client, world, name)}


def traces(client: Client, world: World, name: str) -> dict[str, Any]:
    """What must be there once, whatever happened on the way."""
    entries = client.site.audit.entries(0, 100_000)
    seen = [str(row.event.type) for row in entries if row.event.round_id == name]
    posts = (world.directory / f"{name}.{POSTS}").read_text().split()
    return {
        "charges": [row.state for row in charges(client) if row.idempotency_key.endswith(f":{name}")],
        "bundles": sum(row.round_id == name for row in outbox(client)),
        "different_posts": len(set(posts)),
        "released": seen.count("bundle.released"),
        "receipts": seen.count("receipt.received"),
        "trained": seen.count("training.finished"),
        "fates": seen.count("adapter.kept") + seen.count("adapter.rolled_back"),
    }


def crash_through(directory: Path, kind: OutputKind, mechanism: Mechanism, steps: Sequence[str]) -> dict[str, Any]:
    """One round in which a new process is killed at each of ``steps`` in turn, and the last one finishes it."""
    name = f"killed-{mechanism.value.replace('_', '-')}"
    opening = world_at(directory)
    prompts = OPEN_PROMPTS if kind is OutputKind.TEXT else PROMPTS
    opening.open_round(name, prompts, kind=kind, min_clients=1, closes_in_seconds=3600)
    _warm_up(opening, mechanism)
    opening.federation.close()
    survived = [step for step in steps if not _killed_at(step, directory, name, mechanism)]
    world = world_at(directory)
    result = take_part(world, name, mechanism, die_at=None)
    world.federation.close()
    verdict = verify_log(directory / "federation" / "sites" / "bay" / "state" / DATABASE_FILE, key=None)
    return {"survived": survived, "log_entries": verdict.size, **result}


def world_at(directory: Path) -> World:
    """The federation there, as another process finds it."""
    return World(directory, clock=SystemClock(), embedder=Words())


def _warm_up(world: World, mechanism: Mechanism) -> None:
    """Import and compute once, here, what every child would otherwise do again before its step."""
    if mechanism is Mechanism.DP_SGD:
        with world.client("bay", mechanism=mechanism, **SETTINGS) as client:
            plan_for(client.site.config)
    elif mechanism is Mechanism.RECORD_HISTOGRAM:
        release_histogram([("a", 0, 0), ("b", 0, 0)], (1, 1), sigma=1)


def _killed_at(step: str, directory: Path, name: str, mechanism: Mechanism) -> bool:
    """Whether a child that goes on where the last one fell was itself killed at ``step``."""
    child = os.fork()
    if child == 0:
        take_part(world_at(directory), name, mechanism, die_at=step)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def main(arguments: Sequence[str]) -> int:
    """Crash through the steps that are asked for."""
    directory, kind, mechanism, *steps = arguments
    named = [step.replace("-", " ") for step in steps]
    result = crash_through(Path(directory), OutputKind(kind), Mechanism(mechanism), named)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
