"""The key of each round: made and destroyed with it, on disk and in the log, and nothing opens without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.ids import RoundId
from semfed_secure.server.round import RoundState
from semfed_secure.server.round_keys import ROUND_KEYS, RoundKeys
from semfed_secure.units import OutputKind
from tests.server.rounds import HUB, ROUND, commit, contribute, receipt_of
from tests.server.world import SITES, World, answers, member, post

if TYPE_CHECKING:
    from pathlib import Path

NEXT = RoundId("round-2")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A server."""
    return World(tmp_path)


def files(world: World) -> list[str]:
    """The key files that exist."""
    return sorted(path.name for path in (world.directory / ROUND_KEYS).glob("*"))


def key_events(world: World) -> list[tuple[str, str]]:
    """What was logged of keys, with the round."""
    return [(kind, event.round_id) for kind, event in world.entries() if kind.startswith("key.")]


def test_every_round_has_a_key_of_its_own_from_announcement_to_close(world: World) -> None:
    """Two rounds, two keys; the closed one's is gone, the open one's is not; the log names both by their ids."""
    first, second = world.open(), world.open(NEXT)
    assert first.recipient_key != second.recipient_key
    assert files(world) == ["round-1.key", "round-2.key"]
    contribute(world, SITES)
    world.server.advance()
    assert world.state() == "published"
    assert files(world) == ["round-2.key"]
    assert key_events(world) == [("key.created", ROUND), ("key.created", NEXT), ("key.destroyed", ROUND)]
    ids = [event.target for kind, event in world.entries() if kind.startswith("key.")]
    assert ids == [first.recipient_key_id, second.recipient_key_id, first.recipient_key_id]


def test_a_round_of_texts_keeps_its_key_until_the_payloads_are_in(world: World) -> None:
    """Commitments are closed, and the key still opens what they committed to."""
    manifest = world.open(kind=OutputKind.TEXT)
    bodies = commit(world, manifest, {name: answers("a", "b", "c", "d", "e", "f") for name in SITES})
    world.server.advance()
    assert (world.state(), files(world)) == ("opening", ["round-1.key"])
    for body in bodies.values():
        assert world.server.receive(ROUND, body).admitted
    world.server.advance()
    assert files(world) == []


def test_an_aborted_round_leaves_no_key(world: World) -> None:
    """The reason does not matter."""
    world.open()
    world.server.abort_round(ROUND, "operator's choice")
    assert files(world) == []
    assert key_events(world)[-1] == ("key.destroyed", ROUND)


def test_a_key_outlives_a_restart_and_its_round_goes_on(world: World) -> None:
    """What was sealed before a crash is opened after it."""
    body = post("bay", world.open())
    world.restart()
    assert world.server.receive(ROUND, body).admitted


def test_what_is_sealed_to_a_destroyed_key_is_refused_in_an_open_round(world: World) -> None:
    """SF308, with a receipt: nobody opens it any more, this server included."""
    manifest = world.open()
    world.context.round_keys.destroy(ROUND)
    answer = world.server.receive(ROUND, post("bay", manifest))
    assert (answer.admitted, receipt_of(answer.receipt).code) == (False, "SF308")


def test_what_is_sealed_to_the_key_of_another_round_or_of_the_record_is_refused(world: World) -> None:
    """SF308 if it says so, SF312 if it does not."""
    manifest, other = world.open(), world.open(NEXT)
    said = post("bay", manifest, recipient_key_id=other.recipient_key_id)
    assert receipt_of(world.server.receive(ROUND, said).receipt).code == "SF308"
    hidden = post("hill", manifest, to=HUB.record.sealing_key)
    assert receipt_of(world.server.receive(ROUND, hidden).receipt).code == "SF312"


def test_destroying_writes_over_the_file_before_its_name_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the file open, or finds its blocks, finds zeros."""
    world.open()
    path = world.directory / ROUND_KEYS / "round-1.key"
    size = path.stat().st_size
    with path.open("rb") as held:
        world.context.round_keys.destroy(ROUND)
        assert held.read() == bytes(size)
    assert not path.exists()
    assert world.context.round_keys.of(ROUND) is None
    world.context.round_keys.destroy(ROUND)


def test_a_crash_between_the_deed_and_its_entry_is_made_good(world: World) -> None:
    """The key is gone, the log does not say so yet: the next start writes it, once."""
    world.open()
    world.server._transitions.abort(ROUND, RoundState.COLLECTING, "SF403", "stop")
    world.context.round_keys.destroy(ROUND)
    for _ in range(2):
        world.restart()
        world.server.advance()
    assert key_events(world) == [("key.created", ROUND), ("key.destroyed", ROUND)]


def test_a_round_that_was_not_announced_leaves_no_key(world: World) -> None:
    """Its name is refused before it can be that of a file; a taken name does not touch the round that has it."""
    for name in ("Round 1", "../round-9"):
        with pytest.raises(ConfigurationError, match="SF105"):
            world.open(name)
    assert files(world) == []
    world.open()
    with pytest.raises(ConfigurationError, match="SF105"):
        world.open()
    assert files(world) == ["round-1.key"]


def test_a_round_whose_announcement_fails_leaves_neither_key_nor_entry(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both or none."""

    def fail(*_: object) -> None:
        raise OSError("no disk")

    monkeypatch.setattr(world.server._transitions, "announce", fail)
    with pytest.raises(OSError, match="no disk"):
        world.open()
    assert (files(world), world.entries()) == ([], [])


def test_key_files_show_no_secret_and_open_under_no_other_server(world: World) -> None:
    """Sealed to the record's own key; another's, or a changed byte, is SF531."""
    world.open()
    path = world.directory / ROUND_KEYS / "round-1.key"
    key = world.context.round_keys.of(ROUND)
    assert key is not None
    assert key.export_secret() not in path.read_bytes()
    renamed = RoundKeys(world.directory / ROUND_KEYS, HUB)
    path.rename(path.with_name("round-2.key"))
    with pytest.raises(IntegrityError, match="SF531"):
        renamed.of(NEXT)
    with pytest.raises(ConfigurationError, match="SF101"):
        RoundKeys(world.directory, member("bay").keys)
