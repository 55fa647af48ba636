"""A roster that reaches a site past its server: a thief of the server's key cannot withhold that it is revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.client.roster import take_roster
from semfed_secure.errors import PeerError
from semfed_secure.testing import TransportWrapper
from tests.client.world import ROUND, UNSAFE, World, events

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.client.transport import Transport

pytestmark = pytest.mark.usefixtures("cheap_key_files")


class Withholding(TransportWrapper):
    """Goes on showing the roster of when it was made."""

    def __init__(self, inner: Transport) -> None:
        """Keep the present roster."""
        super().__init__(inner)
        self._old = inner.roster()

    def roster(self) -> bytes:
        """The old one."""
        return self._old


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A federation with an open round."""
    made = World(tmp_path)
    made.open_round()
    return made


@pytest.mark.parametrize("joined", [False, True], ids=["new-round", "joined-round"])
def test_a_thief_who_withholds_the_roster_that_revokes_the_server_is_refused(world: World, *, joined: bool) -> None:
    """SF322 once the site took the roster itself, in another process too, and also for a round that it joined."""
    thief = Withholding(world.federation.transport())
    if joined:
        with world.client(mechanism=UNSAFE, transport=thief) as client:
            client.join(ROUND)
    roster = world.federation.sign_roster(2, revoked=["server"])
    with world.client(mechanism=UNSAFE, transport=thief) as client:
        assert take_roster(client.site, roster).sequence == 2
    with world.client(mechanism=UNSAFE, transport=thief) as client, pytest.raises(PeerError, match="SF322"):
        client.join(ROUND)


def test_a_thief_who_shows_the_roster_that_revokes_the_server_is_refused(world: World) -> None:
    """SF306: the roster names the server as revoked."""
    world.federation.publish_roster(sequence=2, revoked=["server"])
    data = (world.federation.directory / "roster").read_bytes()
    with world.client(mechanism=UNSAFE) as client:
        take_roster(client.site, data)
        shown = Withholding(world.federation.transport())
        shown._old = data
    with world.client(mechanism=UNSAFE, transport=shown) as client, pytest.raises(PeerError, match="SF306"):
        client.join(ROUND)


def test_an_older_or_forged_roster_is_not_taken(world: World) -> None:
    """SF322, and the newest stays; one that was taken before is taken again without an entry."""
    newest, older = world.federation.sign_roster(3), world.federation.sign_roster(2)
    with world.client(mechanism=UNSAFE) as client:
        take_roster(client.site, newest)
        for bad in (older, world.federation.sign_roster(3, revoked=["hill"]), newest[:-1], b""):
            with pytest.raises(PeerError, match="SF322"):
                take_roster(client.site, bad)
        take_roster(client.site, newest)
        assert [kind for kind, _ in events(client)].count("roster.accepted") == 1
