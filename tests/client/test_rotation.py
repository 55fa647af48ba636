"""A key that changes under a round: what sites do with a server's and with their own, during the overlap and after."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import PeerError
from semfed_secure.identity.member_changes import Terms, rotate_member_keys
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import Mechanism
from tests.client.world import MEMBERS, NOW, ROUND, World, charges, records

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("cheap_key_files")

UNSAFE = Mechanism.UNSAFE_NO_NOISE
TERMS = Terms(valid_for=timedelta(days=300), overlap=timedelta(days=1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A federation with a round that is open."""
    world = World(tmp_path)
    world.open_round()
    return world


def rotate(world: World, keys: Path) -> Path:
    """Give a member a new key, and put its record on the next roster; the new directory."""
    out = keys.with_name("keys-2")
    rotate_member_keys(keys, out, passphrase=PASSPHRASE, now=NOW, terms=TERMS)
    shutil.copy(out / "member.record", keys / "member.record")  # what the federation signs its rosters from
    world.federation.publish_roster(sequence=2)
    return out


def test_a_round_in_flight_is_finished_over_a_rotation_of_its_server_and_of_a_site(world: World) -> None:
    """Announced under the old roster, answered and published under the new one, by the keys before."""
    for keys in (world.federation.directory / "server" / "keys", world.federation.site("bay") / "keys"):
        rotate(world, keys)
    for member in MEMBERS:
        with world.client(member, mechanism=UNSAFE) as client:
            assert client.join(ROUND).contribute().outcome == "admitted"
    with world.client("bay", mechanism=UNSAFE) as client:
        assert client.join(ROUND).wait_for_consensus().consensus.admitted_count == len(MEMBERS)


def test_after_the_overlap_a_site_believes_nothing_that_the_old_key_signed(world: World) -> None:
    """SF321, though the newest roster still lists that key."""
    rotate(world, world.federation.directory / "server" / "keys")
    with world.client("bay", mechanism=UNSAFE) as client:
        client.join(ROUND)
        world.clock.advance(TERMS.overlap.total_seconds())
        with pytest.raises(PeerError) as caught:
            client.join(ROUND)
        assert caught.value.code == "SF321"


def test_a_site_signs_new_rounds_with_its_new_key(world: World) -> None:
    """Its state directory goes on: the log is that of the same log key, and names the change."""
    with world.client("bay", mechanism=UNSAFE):
        pass
    new = rotate(world, world.federation.site("bay") / "keys")
    world.open_round("round-2")
    with world.client("bay", mechanism=UNSAFE, sections={"identity": {"keys": str(new)}}) as client:
        assert client.join("round-2").contribute().outcome == "admitted"
        loaded = [row.event.target for row in client.site.audit.entries(0, 99) if row.event.type == "key.loaded"]
        assert loaded == [key.key_id for key in reversed(client.site.keys.record.signing_keys)]


def refused_by_key(world: World, keys: Path) -> None:
    """A site that signs with these keys is not let in, and pays nothing."""
    with world.client(
        "bay", mechanism=Mechanism.RECORD_HISTOGRAM, sections={"identity": {"keys": str(keys)}}
    ) as client:
        with pytest.raises(PeerError) as caught:
            client.join(ROUND)
        assert (caught.value.code, charges(client)) == ("SF307", [])


def contributes_with_the_key_before(world: World) -> None:
    """The directory that the site had all along."""
    with world.client("bay", mechanism=Mechanism.RECORD_HISTOGRAM) as client:
        assert client.join(ROUND).contribute(records=records("bay")).outcome == "admitted"


def test_a_key_that_the_roster_does_not_list_yet_costs_no_budget(world: World) -> None:
    """SF307 before anything is paid; the key before goes on meanwhile."""
    keys = world.federation.site("bay") / "keys"
    new = keys.with_name("keys-2")
    rotate_member_keys(keys, new, passphrase=PASSPHRASE, now=NOW, terms=TERMS)
    refused_by_key(world, new)
    contributes_with_the_key_before(world)


def test_a_new_key_costs_no_budget_in_a_round_that_pins_an_older_roster(world: World) -> None:
    """The server would refuse it there: SF307 here, and the key before signs."""
    refused_by_key(world, rotate(world, world.federation.site("bay") / "keys"))
    contributes_with_the_key_before(world)


def test_a_key_whose_overlap_ends_before_the_release_costs_no_budget(world: World) -> None:
    """Joined in time, released too late: SF307 at step 1."""
    world.open_round("round-2", closes_in_seconds=2 * int(TERMS.overlap.total_seconds()))
    rotate(world, world.federation.site("bay") / "keys")
    with world.client("bay", mechanism=Mechanism.RECORD_HISTOGRAM) as client:
        joined = client.join("round-2")
        world.clock.advance(TERMS.overlap.total_seconds())
        with pytest.raises(PeerError) as caught:
            joined.contribute(records=records("bay"))
        assert (caught.value.code, charges(client)) == ("SF307", [])
