"""Content that is missing from a log, held against what signed entries of the log say was removed.

A removal leaves the hash of an entry in its place, so the tree and every proof stand as they were. Its entry
`log.pruned` names a stretch of the log that follows the one before, how many entries of which types in it lost their
content, and a digest of their hashes: what else is missing, or is still here, does not fit it.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from semfed_secure.audit import findings
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.merkle import HASH_BYTES
from semfed_secure.audit.retained import PRUNABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from semfed_secure.errors import IntegrityError

TOLD = frozenset({EventType.LOG_PRUNED, EventType.LOG_HELD, EventType.LOG_HOLD_LIFTED})
"""The entries that say what was removed, and what must not be."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What an entry says was removed.

    Attributes:
        first: The first entry of the stretch.
        last: The last one.
        count: How many of them lost their content.
        kinds: The same by type.
        leaves: SHA-256 of their hashes in a row.
        before: All of the stretch is older than this day.
        due: When that was old enough to be removed.
    """

    first: int
    last: int
    count: int
    kinds: Mapping[str, int]
    leaves: str
    before: str
    due: datetime

    @classmethod
    def of(cls, event: Event) -> Removal:
        """Read it from its entry.

        Raises:
            ValueError: the entry does not say it.
        """
        try:
            first, last, count = (event.details[name] for name in ("first", "last", "count"))
            kinds, leaves, before = (event.details[name] for name in ("kinds", "leaves", "before"))
            return cls(first, last, count, kinds, leaves, before, due(before, event.details["keep_days"]))
        except (KeyError, OverflowError) as error:
            raise ValueError("the entry does not say what was removed") from error


def due(before: str, keep_days: int) -> datetime:
    """When everything from before that day has been kept for so many days.

    Raises:
        ValueError, OverflowError: no such day, or none in the form that sorts as text; or it never is.
    """
    day = datetime.fromisoformat(f"{before}T00:00:00+00:00")
    if day.date().isoformat() != before or keep_days < 1:
        raise ValueError("a day as 2020-03-15, and at least one day to keep entries, were expected")
    return day + timedelta(days=keep_days)


def digest_of(leaves: bytes | bytearray) -> str:
    """How an entry names the hashes of what was removed, given all of them in a row."""
    return f"sha256:{hashlib.sha256(leaves).hexdigest()}"


class Removals:
    """What one pass over a log finds of removals: told of every entry in order, and judged at the end.

    Attributes:
        end: The first entry that no removal covers.
        holds: The legal holds in force, and from which day on each of them holds entries.
    """

    def __init__(self) -> None:
        """Before the first entry."""
        self.end = 0
        self.holds: dict[str, str] = {}
        self._missing = array("Q")
        self._leaves = bytearray()
        self._whole: defaultdict[EventType, array[int]] = defaultdict(lambda: array("Q"))
        self._days: dict[str, int] = {}
        self._finding: IntegrityError | None = None

    @property
    def count(self) -> int:
        """How many entries lost their content."""
        return len(self._missing)

    def missing(self, index: int, leaf: bytes) -> None:
        """Take down an entry whose content is gone."""
        self._missing.append(index)
        self._leaves += leaf

    def whole(self, index: int, kind: EventType, time: str, event: Event | None) -> None:
        """Take down an entry that is whole; ``event`` is asked of those in `TOLD`."""
        self._days.setdefault(time[:10], index)
        if kind in PRUNABLE:
            self._whole[kind].append(index)
        elif event is not None and event.outcome == "success":
            self._told(index, time, event)

    def judge(self) -> None:
        """Accept only a log of which nothing is missing but what it says was removed.

        Raises:
            IntegrityError: ``SF523`` content is missing without a removal that covers it; ``SF524`` what an entry
                says of a removal does not fit the log.
        """
        if self._finding is not None:
            raise self._finding
        bare = bisect_left(self._missing, self.end)
        if bare < len(self._missing):
            where = self._missing[bare]
            raise findings.removed_silently(where, where, "and no entry says that it was removed")

    def _told(self, index: int, time: str, event: Event) -> None:
        name = event.target or ""
        if event.type is EventType.LOG_HELD:
            self.holds[name] = str(event.details.get("since", ""))
        elif event.type is EventType.LOG_HOLD_LIFTED:
            self.holds.pop(name, None)
        elif self._finding is None:
            self._finding = self._checked(index, time, event)

    def _checked(self, index: int, time: str, event: Event) -> IntegrityError | None:
        """What is wrong about a removal, told by entry ``index``."""
        try:
            told = Removal.of(event)
        except ValueError:
            return findings.false_tombstone(index, "it does not say what was removed")
        if not self.end == told.first <= told.last < index:
            return findings.false_tombstone(index, "its entries do not follow those of the removal before")
        self.end = told.last + 1
        start, stop = (bisect_left(self._missing, place) for place in (told.first, self.end))
        leaves = digest_of(self._leaves[start * HASH_BYTES : stop * HASH_BYTES])
        if stop - start > told.count or (stop - start == told.count and leaves != told.leaves):
            covered = f"which entry {index} does not cover: it tells of {told.count} others among them"
            return findings.removed_silently(self._missing[start], self._missing[stop - 1], covered)
        why = next(self._objections(told, stop - start, time), None)
        return None if why is None else findings.false_tombstone(index, why)

    def _objections(self, told: Removal, gone: int, time: str) -> Iterator[str]:
        kept = sorted(set(told.kinds) - PRUNABLE)
        if kept:
            yield f"entries of type {kept[0]} are never removed"
        for kind in sorted(told.kinds):
            places = self._whole[EventType(kind)]
            first = bisect_left(places, told.first)
            if first < len(places) and places[first] <= told.last:
                yield f"the content of entry {places[first]} is here"
        if gone != told.count or gone != sum(told.kinds.values()) or min(told.kinds.values(), default=0) < 0:
            yield f"it removed {told.count}, and the content of {gone} is missing"
        young = [index for day, index in self._days.items() if day >= told.before and index <= told.last]
        if young:
            yield f"entry {min(young)} is among them, and not from before {told.before}"
        if datetime.fromisoformat(time) < told.due:
            yield f"entries from before {told.before} had to be kept until {told.due:%Y-%m-%d}"
        for name, since in sorted(self.holds.items()):
            if since < told.before:
                yield f"the legal hold {name} covered them"
