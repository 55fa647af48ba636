"""Request bodies on their way in: what strangers may hold of memory and time before anybody has judged them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semfed_secure.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

BODY_SECONDS = 60
"""How long a body may take to arrive: a phone line carries the largest votes bundle in less."""
STEP_SECONDS = 5
"""In every stretch of this length a body ends or grows by `STEP_BYTES`."""
STEP_BYTES = 16 * 1024
"""Half of what a phone line carries in a stretch."""
BODIES_OF_ONE_PEER = 32
"""Bodies of one address at once: the sites of a small federation may share a way out."""
_LARGEST_BODIES, _LARGEST_OF_ONE_PEER = 8, 2


class BusyError(Exception):
    """There is no room now; the same body may be sent again."""


class Bodies:
    """The room for bodies; of one event loop.

    Together they hold no more bytes than eight bodies of the largest size, those of one peer no more than two. Only
    what arrived takes room, so a promise takes none; a sender that stalls is given up after `STEP_SECONDS`.
    """

    def __init__(self, max_body_bytes: int) -> None:
        """Make room for bodies of up to ``max_body_bytes``."""
        self._room, self._room_of_one = _LARGEST_BODIES * max_body_bytes, _LARGEST_OF_ONE_PEER * max_body_bytes
        self._count, self._bytes = Counter[str](), Counter[str]()

    @contextmanager
    def one_of(self, host: str) -> Iterator[Body]:
        """A place for one body of this peer; it and the room for the body end with the context.

        Raises:
            BusyError: the peer has `BODIES_OF_ONE_PEER` places already.
        """
        peer = network_of(host)
        if self._count[peer] >= BODIES_OF_ONE_PEER:
            raise BusyError
        self._count[peer] += 1
        body = Body(self, peer)
        try:
            yield body
        finally:
            # Counters that are subtracted drop what is zero: no address is remembered.
            self._count -= Counter({peer: 1})
            self._bytes -= Counter({peer: body.size})

    def take(self, peer: str, size: int) -> None:
        """Room for ``size`` more bytes of this peer, or `BusyError`."""
        if self._bytes.total() + size > self._room or self._bytes[peer] + size > self._room_of_one:
            raise BusyError
        self._bytes[peer] += size


class Body:
    """One body on its way in."""

    def __init__(self, bodies: Bodies, peer: str) -> None:
        """Only `Bodies.one_of` calls this."""
        self._bodies, self._peer = bodies, peer
        self.size = 0
        """Bytes that have arrived."""

    async def read(self, parts: AsyncIterator[bytes], *, limit: int) -> bytes:
        """All of it, as ``parts`` bring it.

        Raises:
            PeerError: ``SF301`` at the first byte beyond ``limit``.
            BusyError: there is no room for more.
            TimeoutError: it came too slowly.
        """
        read: list[bytes] = []
        async with asyncio.timeout(BODY_SECONDS):
            while await self._step(parts, read, limit):
                pass
        return b"".join(read)

    async def _step(self, parts: AsyncIterator[bytes], read: list[bytes], limit: int) -> bool:
        """Read one stretch; whether more may come."""
        enough = self.size + STEP_BYTES
        async with asyncio.timeout(STEP_SECONDS):
            async for part in parts:
                if self.size + len(part) > limit:
                    raise PeerError("SF301", f"a body of at most {limit} bytes was expected", limit_bytes=limit)
                self._bodies.take(self._peer, len(part))
                self.size += len(part)
                read.append(part)
                if self.size >= enough:
                    return True
        return False


def network_of(host: str) -> str:
    """The address, or, of IPv6, the network of 64 bits, in which one machine may take any address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
