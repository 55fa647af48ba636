"""How many requests an address and a member may make: token buckets, before anything of a request is read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.ids import MemberId
    from semfed_secure.server.config import LimitsSection

REMEMBERED = 10_000
"""Callers remembered at once; of more, those that called longest ago are forgotten."""


class Buckets:
    """One bucket of tokens for each name: it holds ``burst``, and ``rate`` drip in each second.

    Holds no more than `REMEMBERED` names, so whoever calls under ever new names takes no memory.
    """

    def __init__(self, *, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        """All buckets are full."""
        self._rate, self._burst, self._now = rate, burst, now
        self._held: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> float:
        """Take one token: 0, or the seconds until there is one, and none is taken."""
        now = self._now()
        tokens, at = self._held.pop(name, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        # Put back at the end: the first one is the one that called longest ago.
        self._held[name] = (tokens if wait else tokens - 1, now)
        if len(self._held) > REMEMBERED:
            del self._held[next(iter(self._held))]
        return wait


class Rates:
    """The buckets of addresses and of the members that TLS certificates name; of one event loop."""

    def __init__(self, limits: LimitsSection, *, now: Callable[[], float] = time.monotonic) -> None:
        """As ``limits`` say."""
        self._addresses = Buckets(rate=limits.address_rate, burst=limits.address_burst, now=now)
        self._members = Buckets(rate=limits.member_rate, burst=limits.member_burst, now=now)

    def take(self, address: str, member: MemberId | None) -> float:
        """Count one request; 0, or the seconds to wait before the next."""
        wait = self._addresses.take(address)
        return wait if wait or member is None else self._members.take(member)
