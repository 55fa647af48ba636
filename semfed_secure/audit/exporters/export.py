"""Exporting a log: verified first, entered in the log itself, and resumed where the receiver stopped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Entry, encode_entry
from semfed_secure.audit.exporters.cursor import move_cursor, read_cursor
from semfed_secure.audit.exporters.record import Record, records_of
from semfed_secure.audit.merkle import Frontier, leaf_hash
from semfed_secure.audit.notes import Checkpoint, verify_checkpoint
from semfed_secure.audit.sources import LogSource, StoredHead, open_source, read_entries
from semfed_secure.audit.verify import verify_source
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import IntegrityError, SemfedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from semfed_secure.audit.exporters.destinations import Destination
    from semfed_secure.audit.exporters.own_log import OwnLog

BATCH = 1_000
"""Records that are handed over at once, and entries between two moves of a cursor, at least."""
_END = -1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported.

    Attributes:
        form: Name of the format, for the log.
        since: Only entries from this instant on.
        until: Only entries before this one.
        cursor: File that says how far the receiver has the log; only what follows is exported.
    """

    form: str
    since: datetime | None = None
    until: datetime | None = None
    cursor: Path | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether an entry belongs to the period."""
        return (self.since is None or entry.at >= self.since) and (self.until is None or entry.at < self.until)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported: how many entries, and the numbers of the first and last; none if there was nothing new."""

    log: str
    entries: int
    first: int | None
    last: int | None


def export_log(
    place: str | Path, destination: Destination, wanted: Wanted, *, key: str | None, own: OwnLog | None
) -> Exported:
    """Hand a log's entries to a destination.

    Guarantee: nothing leaves that does not verify, or that the log, if it is ``own``, does not say has left: the entry
    about the export is the last one that is exported. The cursor moves only when the receiver has every entry before
    it, so whatever stops this, the next export repeats entries, under the same ids, and never leaves one out.

    Args:
        place: As of `verify_log`.
        destination: Where they go.
        wanted: Which, and in which format.
        key: The log's verification key, as of `verify_log`.
        own: The log, opened for writing; without it the export is not entered.

    Raises:
        IntegrityError: as `verify_log`; ``SF503`` the cursor is of another log, ``SF504`` the log was set back behind
            it; ``SF502`` the export cannot be entered.
        ConfigurationError, PeerError: as the destination; ``SF102`` a file cannot be read or written.
    """
    with open_source(place) as source:
        head = source.head()
        start, known = read_cursor(wanted.cursor, head.verification_key or key or "")
        verdict = verify_source(source, key=key, known=known)
        chosen = _chosen(source, wanted, start, verdict.size)
        if not chosen:
            return Exported(verdict.origin, 0, None, None)
        try:
            destination.open(verdict.origin)
            newest, tail = head.checkpoint, list[Entry]()
            if own is not None:
                newest = own.announce(
                    wanted.form, destination.kind, chosen[0], None if wanted.until is None else chosen[-1]
                )
                tail = _written_since(head, place, newest, LogVerificationKey.parse(verdict.verification_key))
            entries = (one for one in chain(read_entries(source, start=start), tail) if wanted.takes(one))
            stations = _stations(head, start, newest)
            last, count = _deliver(records_of(verdict.origin, entries), destination, wanted.cursor, stations)
        except BaseException as error:
            destination.abandon()
            if own is not None and isinstance(error, SemfedError):
                own.say_failed(error)
            raise
    return Exported(verdict.origin, count, chosen[0], last)


def _chosen(source: LogSource, wanted: Wanted, start: int, size: int) -> Sequence[int]:
    """The numbers of the entries that are wanted."""
    if wanted.since is None and wanted.until is None:
        return range(start, size)
    return [entry.seq for entry in read_entries(source, start=start) if wanted.takes(entry)]


def _written_since(head: StoredHead, place: str | Path, newest: str, owner: LogVerificationKey) -> list[Entry]:
    """The entries from where the log was verified to the checkpoint ``newest``, which proves them."""
    assert head.frontier is not None  # INVARIANT: an own log is a database
    frontier = Frontier.parse(*head.frontier)
    signed = verify_checkpoint(newest, owner).checkpoint
    with open_source(place) as later:
        written = list(islice(read_entries(later, start=frontier.size), signed.size - frontier.size))
    for entry in written:
        frontier.add(leaf_hash(encode_entry(entry)))
    if signed != Checkpoint(owner.name, frontier.size, frontier.root()):
        raise IntegrityError("SF501", "the log was changed while it was exported")
    return written


def _stations(head: StoredHead, start: int, newest: str) -> Mapping[int, str]:
    """Signed checkpoints where a cursor may stand, by size: some on the way, and the newest at the end."""
    stations: dict[int, str] = {}
    reached = start
    for size, note in head.kept:
        if size >= reached + BATCH:
            stations[size], reached = note, size
    return stations | {_END: newest}


def _deliver(
    records: Iterable[Record], destination: Destination, cursor: Path | None, stations: Mapping[int, str]
) -> tuple[int, int]:
    """The number of the last entry that was delivered, and how many were."""
    count, last = 0, -1
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        count, last = count + 1, record.entry.seq
        station = stations.get(record.entry.seq + 1)
        if len(batch) < BATCH and station is None:
            continue
        delivered = destination.deliver(batch)
        batch = []
        if delivered and station is not None and cursor is not None:
            move_cursor(cursor, station)
    if batch:
        destination.deliver(batch)
    destination.finish()
    if cursor is not None:
        move_cursor(cursor, stations[_END])
    return last, count
