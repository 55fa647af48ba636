"""A changed byte of a stored round forms no other consensus: it costs that round, by its code, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure.errors import ConsensusError, IntegrityError
from semfed_secure.server.coordinator import RETRY_AFTER_MS
from semfed_secure.testing import flipped
from tests.server.rounds import ROUND, consensus_of, contribute
from tests.server.world import SITES, World, post, roster_file

if TYPE_CHECKING:
    from semfed_secure.wire.messages import RoundManifest


def change(world: World, table: str, column: str, at: float = 0.5) -> None:
    """Flip one bit of one cell behind the server's back, at this share of its length; the server starts again."""
    with world.database.transaction() as tx:
        tx.connection.execute(text("PRAGMA ignore_check_constraints=ON"))
        row, value = tx.connection.execute(
            text(f"SELECT rowid, {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1")
        ).one()
        raw = value if isinstance(value, bytes) else value.encode()
        changed = flipped(raw, min(int(at * len(raw)), len(raw) - 1))
        new = changed if isinstance(value, bytes) else changed.decode()
        tx.connection.execute(text(f"UPDATE {table} SET {column} = :new WHERE rowid = :row"), {"new": new, "row": row})
    world.restart()


def turns(world: World) -> None:
    """As many as a round in trouble gets."""
    for _ in range(3):
        world.server.advance()
        world.clock.advance(3 * RETRY_AFTER_MS / 1000)


def answered(world: World) -> RoundManifest:
    """A round that four sites answered and one failed to."""
    manifest = world.open()
    contribute(world, SITES[:4])
    assert not world.server.receive(ROUND, post("north", manifest, plaintext=b"\0")).admitted
    return manifest


def test_status_shows_what_was_signed(world: World) -> None:
    """Unchanged, every signature of a whole round verifies again."""
    answered(world)
    world.server.close_round(ROUND)
    world.server.advance()
    world.restart()
    status = world.server.status(ROUND)
    assert (status["state"], status["admitted"]) == ("published", list(SITES[:4]))
    assert status["report"] is not None


@pytest.mark.parametrize("at", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("round", "manifest"),
        ("round", "prompt_set"),
        ("contribution", "statement"),
        ("contribution", "payload"),
        ("contribution", "receipt"),
        ("contribution", "statement_digest"),
        ("contribution", "member_id"),
        ("contribution", "outcome"),
        ("contribution", "code"),
    ],
)
def test_a_changed_byte_forms_nothing(world: World, table: str, column: str, at: float) -> None:
    """SF531 to the operator; the round is aborted after a few tries, and its clients are told SF403."""
    answered(world)
    world.server.close_round(ROUND)
    change(world, table, column, at)
    with pytest.raises(IntegrityError) as caught:
        world.server.status(ROUND)
    assert caught.value.code == "SF531"
    turns(world)
    with pytest.raises(ConsensusError, match="SF403"):
        world.server.consensus(ROUND)


@pytest.mark.parametrize(("column", "at"), [("consensus", 0.5), ("report", 0.0)])
def test_a_consensus_that_changed_after_it_was_formed_is_not_published(world: World, column: str, at: float) -> None:
    """What lies between forming and publishing is verified like everything else; the report must still be one."""
    answered(world)
    world.server.close_round(ROUND)
    world.server.advance()
    with world.database.transaction() as tx:
        tx.connection.execute(text("UPDATE round SET state = 'consensus'"))
    change(world, "round", column, at)
    turns(world)
    assert world.state() == "aborted"


def test_a_changed_roster_of_a_round_is_noticed(world: World) -> None:
    """Once a newer roster is in force, the one that a round pinned comes from the database."""
    world.open()
    world.publish_roster(roster_file(SITES, sequence=2))
    world.server.advance()
    with world.database.transaction() as tx:
        tx.connection.execute(text("DELETE FROM pin WHERE name NOT LIKE 'roster/%' OR name = 'roster/newest'"))
    change(world, "pin", "value")
    with pytest.raises(IntegrityError) as caught:
        world.server.status(ROUND)
    assert caught.value.code == "SF531"


def test_a_round_in_no_known_state_stops_no_other(world: World) -> None:
    """It is reported every ten seconds, and the other rounds go on in between."""
    world.open("broken")
    change(world, "round", "state")
    with pytest.raises(IntegrityError) as caught:
        world.server.advance()
    assert caught.value.code == "SF531"
    manifest = world.open()
    for name in SITES:
        world.server.receive(ROUND, post(name, manifest))
    world.server.advance()
    assert consensus_of(world).admitted_count == 5
