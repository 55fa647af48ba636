"""The server takes the word of witnesses, keeps it, and opens rounds on what enough of them vouch for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure.audit.notes import Checkpoint, Note, cosign, parse_checkpoint, parse_note, verify_checkpoint
from semfed_secure.audit.witnesses import FRESH_SECONDS, vouching
from semfed_secure.clock import to_ms
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.identity.records import Role
from semfed_secure.ids import FederationId
from semfed_secure.server.witnesses import newest_checkpoint, take_cosignature
from tests.server.world import World, member, roster_file

if TYPE_CHECKING:
    from pathlib import Path

WITNESSES = ("judge", "press", "union")


def said(world: World, name: str, *, checkpoint: Checkpoint | None = None, ago: int = 0) -> bytes:
    """The body that a witness posts, about the newest checkpoint or another."""
    seen = checkpoint or parse_checkpoint(parse_note(world.audit.checkpoint()).text)
    line = cosign(seen, member(name, Role.WITNESS).keys.log, at=to_ms(world.clock.now()) // 1000 - ago)
    return Note(seen.text, (line,)).encoded.encode()


def vouch(world: World, *names: str) -> int:
    """Let witnesses vouch for the newest checkpoint; its size."""
    return [take_cosignature(world.context, said(world, name)) for name in names][-1]


def refused(world: World, body: bytes, caller: str | None = None) -> str:
    """The code of a cosignature that is not taken; nothing of it is kept."""
    before = newest_checkpoint(world.context)
    with pytest.raises(PeerError) as caught:
        take_cosignature(world.context, body, caller)  # type: ignore[arg-type]
    assert newest_checkpoint(world.context) == before
    return caught.value.code


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A server that two witnesses must vouch for, and three that could."""
    world = World(tmp_path, min_witnesses=2)
    world.publish_roster(roster_file(sequence=2, witnesses=WITNESSES))
    world.server.advance()
    return world


def vouchers(world: World, note: str) -> list[str]:
    """Who vouches for a checkpoint now."""
    hub = member("hub", Role.SERVER).keys
    assert verify_checkpoint(note, hub.log.public)
    found = vouching(note, world.context.rosters.current(), server=hub.record, now=world.clock.now())
    return [each.member_id for each, _ in found]


def test_a_round_opens_on_what_enough_witnesses_vouch_for(world: World) -> None:
    """Not before; then its manifest shows the newest such checkpoint with their lines, also if the log has grown."""
    for names in ((), ("judge",)):
        if names:
            vouch(world, *names)
        with pytest.raises(PeerError, match="SF330"):
            world.open()
    size = vouch(world, "union")
    first = world.open()
    assert vouchers(world, first.log_checkpoint) == ["judge", "union"]
    assert world.audit.size() > size
    second = world.open("round-2")
    assert second.log_checkpoint == first.log_checkpoint
    vouch(world, *WITNESSES)
    third = world.open("round-3")
    assert vouchers(world, third.log_checkpoint) == list(WITNESSES)
    assert parse_checkpoint(parse_note(third.log_checkpoint).text).size > size


def test_witnesses_of_different_checkpoints_are_no_quorum(world: World) -> None:
    """Each vouches for what it saw, and nobody for a checkpoint in between."""
    vouch(world, "judge")
    world.server.write_refusals()
    world.publish_roster(roster_file(sequence=3, witnesses=WITNESSES))
    world.server.advance()
    vouch(world, "press")
    with pytest.raises(PeerError, match="SF330"):
        world.open()


def test_without_a_quorum_nothing_is_asked_for(tmp_path: Path) -> None:
    """The default: the newest checkpoint, as the log signed it."""
    world = World(tmp_path)
    assert len(parse_note(world.open().log_checkpoint).signatures) == 2


def test_what_was_taken_is_on_the_disk_and_shown(world: World) -> None:
    """After a crash too; the same again is taken and shown once, and the log does not grow by it."""
    size = world.audit.size()
    vouch(world, "judge", "press", "judge")
    world.restart()
    assert vouchers(world, newest_checkpoint(world.context)) == ["judge", "press"]
    assert len(parse_note(newest_checkpoint(world.context)).signatures) == 4
    assert world.audit.size() == size
    assert vouchers(world, world.open().log_checkpoint) == ["judge", "press"]


def test_a_witness_that_is_revoked_vouches_for_nothing(world: World) -> None:
    """Neither with what it said before nor with what it says now."""
    vouch(world, "judge", "press")
    world.publish_roster(roster_file(sequence=3, witnesses=WITNESSES, revoked=["press"]))
    assert refused(world, said(world, "press")) == "SF306"
    with pytest.raises(PeerError, match="SF330"):
        world.open()


def test_only_a_present_witness_of_this_federation_is_heard(world: World) -> None:
    """Not a stranger, not a client, not the log itself, not a member of the same name elsewhere: SF306."""
    seen = parse_checkpoint(parse_note(world.audit.checkpoint()).text)
    elsewhere = member("judge", Role.WITNESS, FederationId("banks")).keys.log
    keys = [member("bay").keys.log, member("hub", Role.SERVER).keys.log, elsewhere]
    for key in keys:
        body = Note(seen.text, (cosign(seen, key, at=to_ms(world.clock.now()) // 1000),)).encoded.encode()
        assert refused(world, body) == "SF306"
    assert refused(world, said(world, "stranger")) == "SF306"


def test_only_a_checkpoint_of_this_log_is_heard_of(world: World) -> None:
    """Not another log's, another history's, or one of a size that was never shown: SF328."""
    seen = parse_checkpoint(parse_note(world.audit.checkpoint()).text)
    for other in (
        replace(seen, origin="other.example/log"),
        replace(seen, root=bytes(32)),
        replace(seen, size=seen.size + 1),
    ):
        assert refused(world, said(world, "judge", checkpoint=other)) == "SF328"
    stolen = said(world, "judge").decode().partition("\n\n")[2]
    world.publish_roster(roster_file(sequence=3, witnesses=WITNESSES))
    world.server.advance()
    later = parse_note(world.audit.checkpoint()).text
    assert refused(world, f"{later}\n{stolen}".encode()) == "SF328"


def test_only_one_fresh_and_well_formed_line_is_read(world: World) -> None:
    """Old ones, several at once, and what is no note: SF328."""
    assert refused(world, said(world, "judge", ago=FRESH_SECONDS + 1)) == "SF328"
    two = said(world, "judge") + said(world, "press").partition(b"\n\n")[2]
    for body in (two, b"", b"\xff\xfe", b"x" * 4_000, world.audit.checkpoint().encode()):
        assert refused(world, body) == "SF328"


def test_a_certificate_speaks_for_its_own_member_only(world: World) -> None:
    """Who is connected as another member hands in nothing for this one: SF346."""
    assert refused(world, said(world, "judge"), "press") == "SF346"
    assert take_cosignature(world.context, said(world, "judge"), member("judge", Role.WITNESS).member_id)


def test_old_words_are_forgotten(world: World) -> None:
    """When the next one is taken, those that count no more are gone from the disk."""
    vouch(world, "judge", "press")
    world.clock.advance(timedelta(seconds=FRESH_SECONDS + 1).total_seconds())
    with pytest.raises(PeerError, match="SF330"):
        world.open()
    vouch(world, "union")
    assert vouchers(world, newest_checkpoint(world.context)) == ["union"]


def test_a_damaged_word_is_our_own_fault(world: World) -> None:
    """SF531: nobody is told that a peer was wrong."""
    vouch(world, "judge", "press")
    with world.database.transaction() as tx:
        tx.connection.execute(text("UPDATE log_cosignature SET line = 'x' WHERE member_id = 'judge'"))
    with pytest.raises(IntegrityError, match="SF531"):
        newest_checkpoint(world.context)
