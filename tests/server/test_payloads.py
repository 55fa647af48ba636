"""What members sent is gone from the server's disk when its round has ended; what proves that they sent it stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from semfed_secure.server.round import RoundInput, RoundState
from semfed_secure.storage import round_rows
from semfed_secure.units import OutputKind
from tests.server.rounds import ROUND, commit, contribute, digest_of
from tests.server.world import SITES, World, answers, post

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a sentence that only one of them wrote"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A server."""
    return World(tmp_path)


def opened(world: World) -> dict[str, bytes]:
    """Answers of all sites, opened by the server and stored; those of bay are its own."""
    manifest = world.open(kind=OutputKind.TEXT)
    texts = {name: answers(*["heart"] * 6) for name in SITES} | {"bay": answers(*[SECRET] * 6)}
    bodies = commit(world, manifest, texts)
    world.server.advance()
    for body in bodies.values():
        assert world.server.receive(ROUND, body).admitted
    assert written(world)
    return bodies


def written(world: World) -> list[str]:
    """The files below the server's directory in which bay's answers stand."""
    files = (path for path in world.directory.rglob("*") if path.is_file())
    return sorted(path.name for path in files if SECRET.encode() in path.read_bytes())


def payloads(world: World) -> list[bytes]:
    """The stored payloads."""
    with world.database.snapshot() as tx:
        rows = round_rows.list_contributions(tx, ROUND)
    assert len(rows) == len(SITES)
    return [row.payload for row in rows if row.payload is not None]


def test_when_a_consensus_is_published_no_file_holds_what_a_member_sent(world: World) -> None:
    """Neither the database nor its write-ahead log, while the server runs."""
    opened(world)
    world.server.advance()
    assert world.state() == "published"
    assert (payloads(world), written(world)) == ([], [])


def test_when_a_round_is_aborted_no_file_holds_what_a_member_sent(world: World) -> None:
    """By the operator, while the payloads come in."""
    opened(world)
    world.server.abort_round(ROUND, "no longer wanted")
    assert (payloads(world), written(world)) == ([], [])


def test_payloads_stay_until_the_consensus_is_formed(world: World) -> None:
    """A server that crashes between closing and forming forms the consensus when it comes back."""
    world.open()
    contribute(world)
    world.server.close_round(ROUND)
    world.restart()
    assert len(payloads(world)) == len(SITES)
    world.server.advance()
    assert (world.state(), payloads(world)) == ("published", [])


def test_a_contribution_to_an_ended_round_is_answered_as_before(world: World) -> None:
    """The same receipt, after a restart too; every signature that is kept still verifies."""
    manifest = world.open()
    body = post("bay", manifest)
    first = world.server.receive(ROUND, body)
    contribute(world, SITES[1:])
    world.server.advance()
    world.restart()
    assert world.server.receive(ROUND, body) == first
    assert world.server.status(ROUND)["admitted"] == list(SITES)
    with world.database.snapshot() as tx:
        row = round_rows.read_contribution(tx, ROUND, digest_of(body))
    assert row is not None
    assert row.statement in body


def test_a_payload_that_comes_back_into_an_ended_round_is_noticed(world: World) -> None:
    """An ended round has none: a row with one is not what the server wrote."""
    world.open()
    contribute(world)
    world.server.advance()
    with closing(sqlite3.connect(world.directory / "server.db")) as database, database:
        database.execute("UPDATE contribution SET payload = x'00' WHERE member_id = 'bay'")
    with pytest.raises(Exception, match="SF531"):
        world.server.status(ROUND)


def test_forming_what_another_process_has_published_is_nobodys_failure(world: World) -> None:
    """The payloads are gone by then: the second process is told that the round moved on."""
    world.open()
    contribute(world)
    world.server.advance()
    assert world.server._transitions.take(ROUND, RoundState.CLOSED, RoundInput.FORM) is None


def test_a_reader_in_the_way_delays_the_clearing_by_no_more_than_its_own_time(world: World) -> None:
    """A backup that reads while the round ends holds up neither the round nor, for long, the clearing."""
    opened(world)
    with closing(sqlite3.connect(world.directory / "server.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM contribution").fetchone()
        world.server.advance()
        assert (world.state(), payloads(world)) == ("published", [])
        assert written(world)
    world.server.advance()
    assert written(world) == []
