"""Whole rounds of a small federation in one process, and what must be true of them afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.verify import verify_log
from semfed_secure.client.site import DATABASE_FILE, ignore_steps
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import ConsensusError
from semfed_secure.ids import RoundId, sha256
from semfed_secure.testing import TransportWrapper
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.messages import CONSENSUS_LIMITS, MessageType, parse_consensus
from tests.client.world import OPEN_PROMPTS, PROMPTS, Words, World, charges, outbox, records

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.client.site import OnStep
    from semfed_secure.client.transport import Transport

SETTINGS: dict[str, Any] = {"budget": "100", "epsilon": "1"}
BALLOTS = "ballots"
"""Rounds of votes in which records vote: their noise is drawn once for each release."""
_ENDED = {"published", "aborted"}


class Recording(TransportWrapper):
    """Writes down the digest of every body before it is posted, where a kill cannot undo it."""

    def __init__(self, inner: Transport, path: Path) -> None:
        """Write to ``path``."""
        super().__init__(inner)
        self._path = path

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Note, then post."""
        with self._path.open("a") as file:
            file.write(sha256(body).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        return super().post(round_id, body)


def world_at(directory: Path) -> World:
    """The federation below ``directory``, with the time of this machine."""
    return World(directory, clock=SystemClock(), embedder=Words())


def kind_of(name: str) -> OutputKind:
    """What a round of that name asks for."""
    word = name.partition("-")[0]
    return OutputKind.VOTES if word == BALLOTS else OutputKind(word)


def mechanism_of(name: str) -> Mechanism:
    """How a site's outputs are protected in it: a charge for each training, or one for each release."""
    return Mechanism.RECORD_HISTOGRAM if name.startswith(BALLOTS) else Mechanism.DP_SGD


def answer(joined: Any, name: str, member: str) -> None:
    """Train and contribute, or let the records vote."""
    if mechanism_of(name) is Mechanism.RECORD_HISTOGRAM:
        joined.contribute(records=records(member))
    else:
        joined.train(records(member))
        joined.contribute()


def open_if_new(world: World, name: str, *, min_clients: int) -> None:
    """Open the round, unless somebody did before he was killed."""
    if name in {head.round_id for head in world.federation.coordinator.rounds()}:
        return
    kind = kind_of(name)
    prompts = PROMPTS if kind is OutputKind.VOTES else OPEN_PROMPTS
    world.open_round(name, prompts, kind=kind, min_clients=min_clients, closes_in_seconds=36_000)


def posts_of(directory: Path, name: str, member: str) -> Path:
    """Where the posts of one site in one round are noted."""
    return directory / f"{name}.{member}.posts"


def run_alone(directory: Path, name: str, member: str = "bay", *, on_step: OnStep = ignore_steps) -> None:
    """Server and one site in this process: the whole round, from wherever it stands."""
    world = world_at(directory)
    open_if_new(world, name, min_clients=1)
    transport = Recording(world.federation.transport(), posts_of(directory, name, member))
    with world.client(member, mechanism=mechanism_of(name), transport=transport, on_step=on_step, **SETTINGS) as client:
        joined = client.join(name)
        answer(joined, name, member)
        while (consensus := _consensus(joined)) is None:
            # Only after the site had its turn: texts that are not opened in time would be left out.
            if world.federation.coordinator.store.head(RoundId(name)).state not in _ENDED:
                world.federation.close_round(name)
        if kind_of(name) is OutputKind.VOTES:
            joined.learn(consensus)
    world.federation.close()


def _consensus(joined: Any) -> Any:
    try:
        return joined.wait_for_consensus()
    except ConsensusError as error:
        if error.code != "SF401":
            raise
        return None


def faults(directory: Path, names: list[str], members: tuple[str, ...]) -> list[str]:
    """Everything that is not as if nobody had ever been killed; opened anew, after all processes are gone."""
    world = world_at(directory)
    found = [fault for name in names for fault in _of_the_server(world, name, members)]
    for member in members:
        with world.client(member, mechanism=Mechanism.DP_SGD, **SETTINGS) as client:
            found += _of_the_site(directory, client, member, names)
    world.federation.close()
    server = directory / "federation" / "server" / "server.db"
    states = [directory / "federation" / "sites" / member / "state" / DATABASE_FILE for member in members]
    for path in (server, *states):
        verify_log(path, key=None)
    return found


def _of_the_server(world: World, name: str, members: tuple[str, ...]) -> list[str]:
    state = world.federation.coordinator.store.head(RoundId(name)).state
    if state != "published":
        return [f"{name} is {state}"]
    keys = [key for row in world.federation.context.rosters.current().records for key in row.signing_keys]
    data = world.federation.coordinator.consensus(RoundId(name))
    consensus = parse_consensus(verify(MessageType.CONSENSUS, data, keys, limits=CONSENSUS_LIMITS).payload)
    entries = world.federation.context.audit.entries(0, 1_000_000)
    seen = [str(row.event.type) for row in entries if row.event.round_id == name]
    counted = {
        "admitted": consensus.admitted_count,
        "admissions logged": seen.count("bundle.admitted"),
        "refusals": len(consensus.rejections),
        "openings": seen.count("round.opened"),
        "publications": seen.count("consensus.published"),
    }
    expected = {
        "admitted": len(members),
        "admissions logged": len(members),
        "refusals": 0,
        "openings": 1,
        "publications": 1,
    }
    return [f"{name}, server: {what} {counted[what]}" for what in counted if counted[what] != expected[what]]


def _of_the_site(directory: Path, client: Any, member: str, names: list[str]) -> list[str]:
    found = []
    entries = client.site.audit.entries(0, 1_000_000)
    for name in names:
        votes = kind_of(name) is OutputKind.VOTES
        seen = [str(row.event.type) for row in entries if row.event.round_id == name]
        posted = posts_of(directory, name, member).read_text().split()
        counted: dict[str, Any] = {
            "charges": [row.state for row in charges(client) if row.idempotency_key.endswith(f":{name}")],
            "bundles": len({row.statement_digest for row in outbox(client) if row.round_id == name}),
            "different posts": len(set(posted)),
            "releases": seen.count("bundle.released"),
            "trainings": seen.count("training.finished"),
            "fates": seen.count("adapter.kept") + seen.count("adapter.rolled_back"),
        }
        expected = {
            "charges": ["committed"],
            "bundles": 1,
            "different posts": 1 if votes else 2,  # the commitment, and what it commits to
            "releases": 1,
            "trainings": int(mechanism_of(name) is Mechanism.DP_SGD),
            # Noise may leave nothing to agree on, and so nothing to learn.
            "fates": min(1, counted["fates"]) if name.startswith(BALLOTS) else int(votes),
        }
        found += [f"{name}, {member}: {what} {counted[what]}" for what in counted if counted[what] != expected[what]]
    known = {row.round_id for row in outbox(client)}
    return found + [f"{member}: a bundle of {name}" for name in known - set(names)]
