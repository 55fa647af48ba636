"""The room for bodies: bounded in all, bounded for each peer, and given back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import PeerError
from semfed_secure.server.bodies import BODIES_OF_ONE_PEER, Bodies, BusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGEST = 100


async def arriving(*parts: int) -> AsyncIterator[bytes]:
    """A body in parts of these sizes."""
    for size in parts:
        yield bytes(size)


def read(bodies: Bodies, host: str, *parts: int, limit: int = LARGEST) -> bytes:
    """One body, whole."""
    with bodies.one_of(host) as body:
        return asyncio.run(body.read(arriving(*parts), limit=limit))


def test_a_body_is_read_whole_up_to_its_limit() -> None:
    """At the limit it is taken, one byte more is SF301."""
    assert read(Bodies(LARGEST), "192.0.2.1", 60, 40) == bytes(100)
    with pytest.raises(PeerError, match="SF301"):
        read(Bodies(LARGEST), "192.0.2.1", 60, 41)


def test_one_peer_holds_no_more_than_two_bodies_of_the_largest_size() -> None:
    """What a peer holds is counted over all its bodies; another peer's room is its own."""
    bodies = Bodies(LARGEST)
    with bodies.one_of("192.0.2.1") as first:
        asyncio.run(first.read(arriving(100), limit=LARGEST))
        assert read(bodies, "192.0.2.1", 100)
        with bodies.one_of("192.0.2.1") as second:
            asyncio.run(second.read(arriving(100), limit=LARGEST))
            with pytest.raises(BusyError):
                read(bodies, "192.0.2.1", 1)
            assert read(bodies, "192.0.2.2", 100)


def test_all_together_hold_no_more_than_eight() -> None:
    """However many addresses send; and when one is done its room is free again."""
    bodies = Bodies(LARGEST)
    held = [bodies.one_of(f"192.0.2.{n}") for n in range(8)]
    for place in held:
        asyncio.run(place.__enter__().read(arriving(100), limit=LARGEST))
    with pytest.raises(BusyError):
        read(bodies, "192.0.2.9", 1)
    held[0].__exit__(None, None, None)
    assert read(bodies, "192.0.2.9", 100)


@pytest.mark.parametrize("more", ["192.0.2.1", "2001:db8::1:2", "unknown"])
def test_a_peer_is_an_address_or_a_network_of_ipv6(more: str) -> None:
    """Whoever has a whole network of IPv6 addresses has no more places than one machine."""
    bodies = Bodies(LARGEST)
    one = {"2001:db8::1:2": "2001:db8::9"}.get(more, more)
    places = [bodies.one_of(one) for _ in range(BODIES_OF_ONE_PEER)]
    for place in places:
        place.__enter__()
    with pytest.raises(BusyError):
        read(bodies, more, 1)
    assert read(bodies, "2001:db8:0:1::1", 1)
    places[0].__exit__(None, None, None)
    assert read(bodies, more, 1)
