"""Taking part from one process: what a refusal ends, and what it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.attendance import attend
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.testing import Altering, Garbling, Silent, flipped
from semfed_secure.wire.messages import Outcome
from tests.client.world import ROUND, UNSAFE, World, charges, events, records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(world: World) -> World:
    """A federation with one open round that another site has answered."""
    world.open_round(min_clients=1)
    with world.client("hill", mechanism=UNSAFE) as other:
        other.join(ROUND).contribute()
    return world


class Closing(Altering):
    """Closes the round after every post, as if this site had been the last."""

    def __init__(self, world: World) -> None:
        super().__init__(world.federation.transport())
        self._world = world

    def answered(self, message: str, data: bytes) -> bytes:
        if message == "post":
            self._world.federation.close_round(ROUND)
        return data


def file_of(world: World) -> Path:
    """A file with the site's records."""
    path = world.directory / "records.jsonl"
    rows = [{"entity_id": r.entity_id, "prompt": r.prompt, "completion": r.completion} for r in records("bay")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_whole_round_and_the_same_again(world: World) -> None:
    """Trained once, contributed, learned; a second attendance does nothing more and says the same."""
    with world.client(transport=Closing(world)) as client:
        done = attend(client, ROUND, records=file_of(world))
        assert done.receipt is not None
        assert done.learned is not None
        assert (done.receipt.outcome, done.learned.kept, done.error) == (Outcome.ADMITTED, True, None)
        again = attend(client, ROUND, records=file_of(world))
        assert (again.learned, again.error) == (done.learned, None)
        assert len(charges(client)) == 1


def test_private_training_happens_once(world: World) -> None:
    """In the second round the trained adapter answers; nothing more is spent."""
    with world.client(transport=Closing(world)) as client:
        attend(client, ROUND, records=file_of(world))
        world.open_round("round-2", min_clients=1)
        joined = client.join("round-2")
        assert joined.contribute().outcome is Outcome.ADMITTED
        assert [name for name, _ in events(client)].count("training.finished") == 1


def test_a_site_whose_policy_refuses_still_learns(world: World) -> None:
    """The refusal is the round's error, the labels of the others are learned all the same."""
    with world.client(mechanism=UNSAFE, policy={"grants": {"kinds": ["text"]}}) as client:
        client.join(ROUND)
        world.federation.close_round(ROUND)
        done = attend(client, ROUND, records=None)
    assert done.error is not None
    assert done.learned is not None
    assert (done.error.code, done.receipt, done.learned.labels) == ("SF201", None, 6)


def test_a_rejected_bundle_is_no_error(world: World) -> None:
    """The receipt says so; learning goes on."""

    class Both(Garbling):
        def answered(self, message: str, data: bytes) -> bytes:
            if message == "post":
                world.federation.close_round(ROUND)
            return data

    with world.client(mechanism=UNSAFE, transport=Both(world.federation.transport())) as client:
        done = attend(client, ROUND, records=None)
    assert done.receipt is not None
    assert done.learned is not None
    assert (done.receipt.outcome, done.receipt.code, done.error) == (Outcome.REJECTED, "SF311", None)


def test_a_round_that_cannot_be_joined_is_reported(world: World) -> None:
    """A manifest that does not verify concerns this round only."""
    transport = Altering(world.federation.transport(), manifest=lambda data: flipped(data, 60))
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        done = attend(client, ROUND, records=None)
    assert done.error is not None
    assert (done.error.code, done.receipt, done.learned) == ("SF324", None, None)


def test_what_would_meet_the_next_round_too_ends_the_run(world: World) -> None:
    """An unreachable server and damaged records of our own are raised."""
    with world.client(mechanism=UNSAFE, transport=Silent(world.federation.transport())) as client:
        with pytest.raises(PeerError) as away:
            attend(client, ROUND, records=None)
        assert away.value.code == "SF341"

    def damaged(*_: Any) -> Any:
        raise IntegrityError("SF502", "the disk is full")

    with world.client(mechanism=UNSAFE) as client:
        client.site.audit.append = damaged  # type: ignore[method-assign]
        with pytest.raises(IntegrityError):
            attend(client, ROUND, records=None)
