"""Read the entries of a log in order, each in its only form; in several processes where there are many.

That an entry is one that this software writes costs more than all hashes and stored fingerprints together, and needs
nothing but its own bytes. So the bytes go out in blocks, and what a verification asks of each entry comes back.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.audit.events import Entry, Event, EventType, parse_entry
from semfed_secure.audit.removals import TOLD
from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from semfed_secure.audit.sources import StoredEntry

BLOCK = 2_000
"""Entries that go to another process at once."""
WORTHWHILE = 50_000
"""From how many entries on other processes save more time than they take to start."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What verification asks of an entry."""

    seq: int
    time: str
    writer: str
    type: EventType
    round_id: str | None
    event: Event | None
    """The whole event, of those that tell of removals."""


Read: TypeAlias = "tuple[StoredEntry, Brief | None]"
"""An entry as stored, and what it says; None if its content was removed, or is not one that this software writes."""


def read_in_order(
    stored: Iterable[StoredEntry], *, processes: int, visit: Callable[[Entry], None] | None = None
) -> Iterator[Read]:
    """Each entry with what it says, in the order of ``stored``.

    Args:
        stored: The entries.
        processes: How many processes read; 1 reads here.
        visit: Called with each whole entry that can be read; then all of them are read here.
    """
    if processes == 1 or visit is not None:
        for entry in stored:
            yield entry, _brief(entry.body, visit)
        return
    with _pool(processes) as pool:
        blocks, failures = _blocks(stored), list[IntegrityError]()
        running: deque[tuple[list[StoredEntry], Future[list[Brief | None]]]] = deque()
        while True:
            while not failures and len(running) <= 2 * processes and (block := next(blocks, None)) is not None:
                running.append((block[0], pool.submit(briefs, [entry.body for entry in block[0]])))
                failures += block[1]
            if not running:
                break
            entries, answer = running.popleft()
            yield from zip(entries, answer.result(), strict=True)
        for failure in failures:  # told in its place, behind everything that could be read before it
            raise failure


def _pool(processes: int) -> Executor:
    # Spawned: a fork would copy the locks and connections of this process as they are.
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))


def _blocks(stored: Iterable[StoredEntry]) -> Iterator[tuple[list[StoredEntry], list[IntegrityError]]]:
    """The entries in blocks, the last one maybe with the reason why there is no further one."""
    block: list[StoredEntry] = []
    try:
        for entry in stored:
            block.append(entry)
            if len(block) == BLOCK:
                yield block, []
                block = []
    except IntegrityError as error:
        yield block, [error]
        return
    yield block, []


def briefs(bodies: Sequence[bytes]) -> list[Brief | None]:
    """What each of ``bodies`` says."""
    return [_brief(body, None) for body in bodies]


def brief_of(entry: Entry) -> Brief:
    """What verification asks of ``entry``."""
    event = entry.event
    told = event if event.type in TOLD else None
    return Brief(entry.seq, entry.time, entry.writer, event.type, event.round_id, told)


def _brief(body: bytes, visit: Callable[[Entry], None] | None) -> Brief | None:
    if not body:
        return None
    try:
        entry = parse_entry(body)
    except IntegrityError:
        return None
    if visit is not None:
        visit(entry)
    return brief_of(entry)
