"""Refusals before the signatures: counted here and logged as sums, so that nobody can flood the log."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.clock import to_iso

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.ids import MemberId, RoundId


class Refusals:
    """Counts by round and code; safe between threads.

    What was counted and not yet written when the process dies is lost: nobody's slot, receipt or budget hangs on it.
    """

    def __init__(self, *, since: datetime) -> None:
        """Count from ``since`` on."""
        self._lock = threading.Lock()
        self._since = since
        self._fresh: dict[RoundId | None, Counter[str]] = {}
        self._totals: dict[RoundId | None, Counter[str]] = {}

    def count(self, round_id: RoundId | None, code: str) -> None:
        """Count one refusal; ``round_id`` is None for a round that we do not know."""
        with self._lock:
            self._fresh.setdefault(round_id, Counter())[code] += 1
            self._totals.setdefault(round_id, Counter())[code] += 1

    def of_round(self, round_id: RoundId) -> dict[str, int]:
        """Refusals for this round by code, since this process started."""
        with self._lock:
            return dict(sorted(self._totals.get(round_id, Counter()).items()))

    def total(self) -> dict[str, int]:
        """All refusals by code, since this process started."""
        with self._lock:
            return dict(sorted(sum(self._totals.values(), Counter()).items()))

    def take_events(self, actor: MemberId, *, now: datetime) -> list[Event]:
        """One entry per round for what was counted since the last call."""
        with self._lock:
            fresh, since = self._fresh, self._since
            self._fresh, self._since = {}, now
        return [
            Event(
                type=EventType.PEER_REFUSED,
                outcome="denied",
                actor=actor,
                round_id=round_id,
                codes=tuple(sorted(codes)),
                reason="contributions that no member could be held to were refused",
                details={
                    "count": codes.total(),
                    "by_code": dict(codes),
                    "since": to_iso(since),
                    "until": to_iso(now),
                },
            )
            for round_id, codes in fresh.items()
        ]
