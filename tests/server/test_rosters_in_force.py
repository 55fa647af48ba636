"""A roster that changes under running rounds: rotated keys, revocations, and what the log says of both."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from semfed_secure.clock import to_ms
from semfed_secure.crypto.keys import SigningKey
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.records import Role, create_record
from semfed_secure.identity.roster import sign_roster
from semfed_secure.server import rosters
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import parse_signed
from semfed_secure.wire.messages import (
    Contribution,
    MessageType,
    encode_contribution,
    encode_statement,
    parse_contribution,
    parse_statement,
)
from tests.server.rounds import ROUND, contribute, receipt_of
from tests.server.world import NOW, SITES, World, member, post, root, roster_file

if TYPE_CHECKING:
    from pathlib import Path

OVERLAP = timedelta(seconds=300)
NEW = SigningKey.generate()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A server."""
    return World(tmp_path)


def rotated(sequence: int = 2) -> bytes:
    """A roster in which bay has a new key, and the old one overlaps for five minutes."""
    old = member("bay").keys
    record = replace(
        old.record,
        signing_keys=(NEW.public, old.signing.public),
        sequence=2,
        overlap_until_ms=to_ms(NOW + OVERLAP),
    )
    others = [member("hub", Role.SERVER).record, *(member(name).record for name in SITES if name != "bay")]
    return sign_roster(
        [*others, create_record(record, [NEW, old.signing])],
        root=root()[0],
        keys=[root()[1]],
        sequence=sequence,
        issued_at=NOW,
        expires_at=NOW + timedelta(days=200),
    )


def by_new_key(body: bytes) -> bytes:
    """The same contribution, signed by bay's new key."""
    contribution = parse_contribution(body)
    signed = parse_signed(contribution.statement, limits=Limits(max_bytes=1 << 20))
    statement = replace(parse_statement(signed.payload), signing_key_id=NEW.key_id)
    data = sign(MessageType.STATEMENT, encode_statement(statement), NEW)
    return encode_contribution(Contribution(data, contribution.sealed))


def test_a_round_in_flight_takes_the_key_that_its_roster_lists(world: World) -> None:
    """Announced before the rotation: the old key counts during the overlap, the new one is not on that roster."""
    manifest = world.open()
    world.publish_roster(rotated())
    with pytest.raises(PeerError, match="SF307"):
        world.server.receive(ROUND, post("bay", manifest, signing_key_id=NEW.key_id))
    assert world.server.receive(ROUND, post("bay", manifest)).admitted
    contribute(world, SITES[1:])
    world.server.advance()
    assert world.state() == "published"


@pytest.mark.parametrize("pinned", [1, 2], ids=["older-roster", "newest-roster"])
def test_after_the_overlap_the_old_key_is_refused(world: World, pinned: int) -> None:
    """SF307 to the millisecond, also in a round whose own roster knows nothing of the rotation."""
    if pinned == 2:
        world.publish_roster(rotated())
    manifest = world.open()
    world.publish_roster(rotated())
    world.clock.advance(OVERLAP.total_seconds() - 0.001)
    body = post("bay", manifest)
    world.clock.advance(0.001)
    with pytest.raises(PeerError, match="SF307"):
        world.server.receive(ROUND, body)
    world.clock.advance(-0.001)
    assert world.server.receive(ROUND, body).admitted


def test_during_the_overlap_either_key_signs_in_a_new_round(world: World) -> None:
    """One contribution each, in two rounds."""
    world.publish_roster(rotated())
    assert world.server.receive(ROUND, post("bay", world.open())).admitted
    manifest = world.open("round-2")
    assert world.server.receive(manifest.round_id, by_new_key_of(manifest)).admitted


def by_new_key_of(manifest) -> bytes:
    """Sealed under the context that names the new key."""
    body = post("bay", manifest, signing_key_id=NEW.key_id)
    return by_new_key(body)


def test_a_revoked_member_is_refused_from_the_moment_its_roster_is_there(world: World) -> None:
    """SF306 in the round that pins the older roster, without a restart or a turn of the clock."""
    manifest = world.open()
    assert world.server.receive(ROUND, post("hill", manifest)).admitted
    world.publish_roster(roster_file(sequence=2, revoked=["bay"]))
    with pytest.raises(PeerError, match="SF306"):
        world.server.receive(ROUND, post("bay", manifest))


def test_a_round_that_falls_below_its_least_number_by_a_revocation_is_aborted_with_the_reason(world: World) -> None:
    """Three were admitted, one is revoked before the publication: SF402 names it."""
    world.open()
    contribute(world, SITES[:3])
    world.publish_roster(roster_file(sequence=2, revoked=["bay"]))
    world.server.close_round(ROUND)
    world.server.advance()
    assert world.state() == "aborted"
    reason = world.server.status(ROUND)["reason"]
    assert reason == "SF402 3 admitted contributions were expected, found 2, without bay, revoked"


def test_a_published_round_stays_and_its_status_names_who_is_revoked_since(world: World) -> None:
    """Nothing that was published changes."""
    world.open()
    contribute(world)
    world.server.advance()
    before = world.server.consensus(ROUND)
    assert world.server.status(ROUND)["revoked"] == []
    world.publish_roster(roster_file(sequence=2, revoked=["bay"]))
    world.server.advance()
    assert world.server.consensus(ROUND) == before
    assert world.server.status(ROUND)["revoked"] == ["bay"]


def test_the_log_names_each_roster_and_each_revocation_once(world: World) -> None:
    """With its number, over restarts; a refused file is an entry too, and changes nothing."""

    def logged() -> list[tuple]:
        return [
            (kind, event.target or event.details["sequence"])
            for kind, event in world.entries()
            if kind.startswith(("roster.", "member."))
        ]

    world.server.advance()
    world.publish_roster(roster_file(sequence=2, revoked=["bay"]))
    world.server.advance()
    world.restart()
    world.server.advance()
    world.publish_roster(roster_file(sequence=3, revoked=["bay", "moor"]))
    world.server.advance()
    expected = [
        ("roster.accepted", 1),
        ("roster.accepted", 2),
        ("member.revoked", "bay"),
        ("roster.accepted", 3),
        ("member.revoked", "moor"),
    ]
    assert logged() == expected
    numbers = [event.details["number"] for kind, event in world.entries() if kind == "member.revoked"]
    assert numbers == [1, 2]
    world.publish_roster(roster_file(sequence=2))
    for _ in range(2):
        world.server.advance()
    assert logged() == [*expected, ("roster.refused", 3)]


@pytest.mark.parametrize("other", [1, 2], ids=["older", "fork"])
def test_an_older_roster_and_a_fork_are_refused_durably(world: World, other: int) -> None:
    """Sequence 2 was seen: neither sequence 1 nor another sequence 2 gets past a restart."""
    world.publish_roster(roster_file(sequence=2))
    assert world.context.rosters.current().sequence == 2
    names = SITES if other == 1 else SITES[:3]
    world.publish_roster(roster_file(names, sequence=other))
    assert (world.context.rosters.current().sequence, world.context.rosters.problem) == (2, "SF322")
    with pytest.raises(PeerError, match="SF322"):
        world.restart()
    world.publish_roster(roster_file(sequence=2))
    world.start()
    assert world.context.rosters.current().sequence == 2


def test_a_bundle_that_was_admitted_is_answered_as_before_after_a_revocation(world: World) -> None:
    """Its receipt stands; that it no longer counts is seen in what is published."""
    body = post("bay", world.open())
    first = world.server.receive(ROUND, body)
    world.publish_roster(roster_file(sequence=2, revoked=["bay"]))
    assert world.server.receive(ROUND, body) == first
    assert receipt_of(first.receipt).code is None


def test_a_roster_that_could_not_be_read_is_read_as_soon_as_it_can_be(world: World, monkeypatch) -> None:
    """Neither its time nor its size changes meanwhile; until then the log says so, and then its revocation acts."""
    manifest = world.open()
    readable = rosters.read_bounded

    def denied(path: Path, _max_bytes: int) -> bytes:
        raise ConfigurationError("SF102", f"a readable file was expected at {path}")

    monkeypatch.setattr(rosters, "read_bounded", denied)
    world.publish_roster(roster_file(sequence=2, revoked=["bay"]))
    for _ in range(2):
        world.server.advance()
        assert (world.context.rosters.current().sequence, world.context.rosters.problem) == (1, "SF102")
    assert [event.codes for kind, event in world.entries() if kind == "roster.refused"] == [("SF102",)]
    monkeypatch.setattr(rosters, "read_bounded", readable)
    with pytest.raises(PeerError, match="SF306"):
        world.server.receive(ROUND, post("bay", manifest))
    assert world.context.rosters.problem is None


def test_a_roster_file_that_is_missing_for_a_while_is_no_problem_afterwards(world: World) -> None:
    """The same file comes back: it stands again without a complaint."""
    file = world.directory / "roster"
    file.rename(file.with_name("elsewhere"))
    assert (world.context.rosters.current().sequence, world.context.rosters.problem) == (1, "SF102")
    file.with_name("elsewhere").rename(file)
    assert (world.context.rosters.current().sequence, world.context.rosters.problem) == (1, None)


def test_a_round_that_opens_after_its_roster_has_expired_survives_a_restart(world: World) -> None:
    """It was pinned in force; the newer roster, in force now, is what decides who still counts."""
    opens = NOW + timedelta(days=201)
    world.open(opens_at=opens, closes_at=opens + timedelta(days=1))
    world.clock.advance(timedelta(days=201).total_seconds())
    world.publish_roster(roster_file(sequence=2, issued_at=opens))
    world.restart()
    world.server.advance()
    contribute(world)
    world.server.advance()
    assert world.state() == "published"
