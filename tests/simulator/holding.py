"""What must hold at the end of every world, whoever lied in it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.audit.verify import verify_log
from semfed_secure.client.pins import server_checkpoint
from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.ids import MemberId
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import list_charges
from semfed_secure.storage.outbox_rows import list_outbox
from semfed_secure.units import OutputKind
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import CONSENSUS_LIMITS, Consensus, parse_consensus
from tests.simulator.members import taken
from tests.simulator.world import TRUTH

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.audit.events import Entry
    from semfed_secure.ids import RoundId
    from tests.simulator.world import World

BROKEN_TRUST = frozenset({"SF306", "SF321", "SF322", "SF323", "SF324", "SF325", "SF326", "SF327", "SF329", "SF330"})
"""How an honest member refuses what it was shown: each code names the thing that was wrong."""
NOT_SERVED = frozenset({"SF341", "SF342", "SF401", "SF403"})
"""The server could not be reached, would not answer, or has nothing yet."""


def hold(world: World) -> None:
    """Hold a finished world to everything that was promised."""
    entries = _server_log(world)
    for round_id in world.rounds:
        _slots(world, round_id, entries)
        _results(world, round_id, entries)
    for name in world.strategies:
        _site(world, name)


def site_database(world: World, name: str) -> Path:
    """Where a member keeps everything."""
    return world.federation.site(name) / "state" / DATABASE_FILE


def pinned_checkpoint(world: World, name: str) -> str | None:
    """The newest checkpoint of the server's log that a member verified."""
    database = Database.open_read_only(site_database(world, name))
    with database.snapshot() as tx:
        found = server_checkpoint(tx)
    database.close()
    return found


def _server_log(world: World) -> list[Entry]:
    """The server's log is whole, and of one history with whatever an honest member was shown by the honest server."""
    entries: list[Entry] = []
    known = [pinned_checkpoint(world, name) for name in world.honest if not world.mischief.get(name)]
    verify_log(
        world.federation.directory / "server" / "server.db",
        key=world.federation.context.keys.record.log_key,
        known=[note for note in known if note is not None],
        visit=entries.append,
    )
    return entries


def answers_of(entries: list[Entry], round_id: RoundId, name: str) -> list[str]:
    """What a log says about one member's contributions: ``committed``, ``admitted``, or a code.

    What came damaged and then whole is what it became.
    """
    taken_up = {EventType.BUNDLE_COMMITTED: "committed", EventType.BUNDLE_ADMITTED: "admitted"}
    judged = [each.event for each in entries if each.event.type in {*taken_up, EventType.BUNDLE_REJECTED}]
    own = [event for event in judged if (event.round_id, event.peer) == (round_id, name)]
    whole = {event.bundle_digest for event in own if event.codes != ("SF311",)}
    said = [event for event in own if event.codes != ("SF311",) or event.bundle_digest not in whole]
    return [taken_up.get(event.type) or event.codes[0] for event in said]


def _slots(world: World, round_id: RoundId, entries: list[Entry]) -> None:
    """Each liar's answers are in the log, once each, in order; each honest member has one admission, or none at all."""
    whole = ["committed", "admitted"] if world.kind is OutputKind.TEXT else ["admitted"]
    for name in world.strategies:
        said = answers_of(entries, round_id, name)
        if name in world.liars and (name, round_id) in world.expected:
            assert said == world.expected[name, round_id], name
        assert said.count("admitted") <= 1
        if name in world.honest:
            assert said in (whole, [], ["committed", "SF316"])
            if not world.mischief.get(name) and world.seats[name].ended.get((round_id, "contribute")) == "done":
                assert said == whole
    stranger = {str(each.event.peer) for each in entries if each.event.bundle_digest} - set(world.strategies)
    assert not stranger


def _results(world: World, round_id: RoundId, entries: list[Entry]) -> None:
    """The consensus counts what the log says, and an honest member has its labels, or a coded refusal."""
    said = {name: answers_of(entries, round_id, name) for name in world.strategies}
    admitted = {name for name, answers in said.items() if "admitted" in answers} - world.revoked
    if len(admitted) < 2:
        assert world.federation.coordinator.store.head(round_id).state == "aborted"
        return
    consensus = _consensus(world, round_id)
    refused = Counter(code for answers in said.values() for code in answers if code.startswith("SF"))
    assert (consensus.admitted_count, dict(consensus.rejections)) == (len(admitted), dict(refused))
    honest = {name for name in admitted if world.strategies[name].knows is TRUTH}
    labels = tuple(result.label for result in consensus.results[0])
    if 2 * len(honest) > len(admitted):
        assert labels == tuple(TRUTH.values())
    for name in world.honest:
        seat = world.seats[name]
        ended = seat.ended.get((round_id, "collect"))
        if ended == "SF404":  # it never joined, and a round that was not joined is not collected
            ended = seat.ended.get((round_id, "join"))
        if ended == "done":
            assert seat.labels[round_id] == labels
        else:
            assert ended in BROKEN_TRUST | NOT_SERVED, f"{name} ended with {ended}"
            assert world.mischief.get(name), f"nothing happened to {name}, and it ended with {ended}"


def _consensus(world: World, round_id: RoundId) -> Consensus:
    data = world.federation.coordinator.consensus(round_id)
    return parse_consensus(parse_signed(data, limits=signed_limits(CONSENSUS_LIMITS)).payload)


def _site(world: World, name: str) -> None:
    """A site's own log is whole; each round cost one charge and has one bundle, whatever was sent how often."""
    place = site_database(world, name)
    keys = world.seats[name].keys
    sent = [each.sent for each in world.transcript.posted(end="member", member=name) if each.sent]
    own = [] if name in world.liars else [taken(body) for body in set(sent)]
    known = [statement.log_checkpoint for statement in own]
    verify_log(place, key=keys.record.log_key, known=known)
    assert len({statement.digest for statement in own}) == len({statement.round_id for statement in own})
    assert {statement.sender for statement in own} <= {MemberId(name)}
    database = Database.open_read_only(place)
    with database.snapshot() as tx:
        charges, bundles = list_charges(tx), list_outbox(tx)
    database.close()
    assert len({(row.round_id, row.kind) for row in bundles}) == len(bundles)
    rounds = {row.round_id for row in bundles}
    assert len({charge.idempotency_key for charge in charges}) == len(charges) == len(rounds)
    assert {charge.state for charge in charges} <= {"committed"}
    for round_id in world.rounds:
        bodies = {each.sent for each in world.transcript.posted(end="member", member=name) if each.asked == (round_id,)}
        if name in world.honest:
            assert len(bodies) <= (2 if world.kind is OutputKind.TEXT else 1)  # a commitment, and what opens it
