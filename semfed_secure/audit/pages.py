"""The last entries of a log, without reading the others."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from semfed_secure.audit.findings import bad_signature
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.audit.sources import read_entries
from semfed_secure.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from semfed_secure.audit.events import Entry
    from semfed_secure.audit.sources import LogSource

MOST = 4_000
"""How many entries are read at once where few are liked."""


def last_entries(source: LogSource, limit: int, takes: Callable[[Entry], bool]) -> list[Entry]:
    """The last ``limit`` entries that ``takes`` likes, in order.

    Raises:
        IntegrityError: ``SF503`` if the newest checkpoint cannot be read; as `read_entries` for an entry on the way.
    """
    try:
        end = parse_checkpoint(parse_note(source.checkpoint()).text).size
    except PeerError as error:
        raise bad_signature("the newest checkpoint") from error
    found: list[Entry] = []
    step = limit
    while end and len(found) < limit:
        start, step = max(0, end - step), min(2 * step, MOST)
        found = [entry for entry in _between(source, start, end) if takes(entry)] + found
        end = start
    return found[-limit:]


def _between(source: LogSource, start: int, end: int) -> Iterator[Entry]:
    return takewhile(lambda entry: entry.seq < end, read_entries(source, start=start))
