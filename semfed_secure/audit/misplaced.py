"""Why an entry stands where another one belongs: the two changed places, one was repeated, or one was taken out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.audit import findings
from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.audit.sources import LogSource


def misplaced(source: LogSource, index: int, seq: int) -> IntegrityError:
    """What was done, given that place ``index`` is the first wrong one and holds what was written as entry ``seq``."""
    if seq < index:  # that entry was met before, in its own place
        return findings.repeated(index, seq)
    elsewhere = False
    for place, written in _numbers(source, index + 1):
        if place == written == seq:
            return findings.repeated(index, seq)
        elsewhere = elsewhere or written == index
    return findings.swapped(index, seq) if elsewhere else findings.moved_up(index, seq)


def _numbers(source: LogSource, start: int) -> Iterator[tuple[int, object]]:
    """Place and own number of the entries from ``start`` on, as far as they can be read."""
    try:
        for stored in source.entries(start):
            try:
                yield stored.position, json.loads(stored.body)["seq"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    except IntegrityError:  # a file of an export that cannot be read tells nothing
        return
