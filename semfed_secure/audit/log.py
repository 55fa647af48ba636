"""The audit log of one site or server: append events durably, sign checkpoints, prove entries."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

from semfed_secure.audit import merkle
from semfed_secure.audit.events import Draft, Entry, Event, EventType, check_writer, draft, parse_entry
from semfed_secure.audit.group import Group, Take
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.notes import (
    Checkpoint,
    parse_note,
    sign_checkpoint,
    verify_checkpoint,
)
from semfed_secure.clock import Clock, to_iso, to_ms
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.storage import Database, Transaction, log_rows
from semfed_secure.storage.log_rows import CheckpointRow, EntryRow, HeadRow, NodeRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from semfed_secure.crypto.log_keys import LogSigningKey

COSIGN_EVERY = 256
"""A checkpoint that completes this many entries, one tile, carries the slower ML-DSA-44 cosignature at once.

Any other one gets it when it is handed out or the log is stopped, so at most 255 entries rest on Ed25519 alone, and
only at their own site.
"""
CLOCK_TOLERANCE = timedelta(seconds=1)
"""By how much clocks of machines that share a log may differ before their log says so."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest head that this process made or verified, and the time of the newest entry if it wrote that."""

    head: HeadRow
    time: str | None


class AuditLog:
    """Appends to, and proves, the log in one database.

    Guarantee: when `append` has returned outside a transaction of the caller's, or that transaction has committed,
    the entry is on disk, its number is the next one without a gap, and a checkpoint that covers it is signed. Otherwise
    nothing was written and `IntegrityError` is raised: no audit, no release.
    """

    def __init__(
        self, database: Database, *, key: LogSigningKey, clock: Clock, writer: str, tx: Transaction | None = None
    ) -> None:
        """Take up the log, or begin an empty one that belongs to ``key`` from now on.

        Args:
            database: Where the log lies; several processes may hold it open.
            key: The log's own key.
            clock: Gives the time of each entry.
            writer: Which program of which member writes, for example ``north-clinic/client``.
            tx: A transaction of ``database`` to do this in.

        Raises:
            IntegrityError: ``SF503`` if the log belongs to another key or its newest checkpoint is not signed by it;
                ``SF502`` if it cannot be written.
        """
        self._database = database
        self._key = key
        self._clock = clock
        self._writer = check_writer(writer)
        self._vkey = key.public.encode()
        self._known: _Known | None = None
        self._group: Group[Sequence[Draft]] = Group(self._commit)
        with self._writing(tx) as writing:
            if log_rows.read_head(writing) is None:
                log_rows.insert_head(writing, HeadRow(self._vkey, 0, b"", self._sign(Frontier(), cosign=True)))
            self._head(writing)

    def append(self, event: Event, tx: Transaction | None = None) -> int:
        """Write one event; return its number. See `append_all`."""
        return self.append_all([event], tx)

    def append_all(self, events: Sequence[Event], tx: Transaction | None = None) -> int:
        """Write events as neighbours, with one checkpoint after the last; return the number of the first.

        Args:
            events: At least one.
            tx: A transaction of `Database.transaction` to write in, so that what happened and its record are
                committed together. Without it a transaction of its own is committed before this returns.

        Raises:
            IntegrityError: ``SF502`` if the database cannot be written; ``SF501`` or ``SF503`` if the head of the log
                is damaged, and then nothing is appended to it.
        """
        if not events:
            raise ValueError("at least one event was expected")
        drafts = [draft(event, self._writer) for event in events]
        if tx is not None:
            return self._extend(tx, drafts)
        self._database.require_no_transaction()  # it would wait for the thread that leads, which waits for this one
        return self._group.write(drafts)

    def checkpoint(self, tx: Transaction | None = None) -> str:
        """The newest checkpoint, signed with both keys, to be handed to others.

        Guarantee: any two checkpoints that were ever handed out are of the same history, or one of them was made on a
        restored or forked database, which `verify_log` and every client that kept the older one will tell.
        """
        with self._reading(tx) as reading:
            head = self._head(reading)
            if self._is_cosigned(head.checkpoint):
                return head.checkpoint
        with self._writing(tx) as writing:
            head = self._head(writing)
            if self._is_cosigned(head.checkpoint):
                return head.checkpoint
            note = self._sign(Frontier.parse(head.size, head.frontier), cosign=True)
            log_rows.advance_head(writing, old_size=head.size, size=head.size, frontier=head.frontier, checkpoint=note)
            log_rows.insert_checkpoint(writing, CheckpointRow(head.size, note))
            return note

    def size(self, tx: Transaction | None = None) -> int:
        """How many entries the log has."""
        with self._reading(tx) as reading:
            return self._head(reading).size

    def inclusion_proof(self, index: int, size: int, tx: Transaction | None = None) -> tuple[bytes, ...]:
        """Hashes that lead from entry ``index`` to the root of the first ``size`` entries.

        Raises:
            ValueError: there is no such entry, or the log is shorter than ``size``.
            IntegrityError: ``SF501`` if the stored tree is damaged.
        """
        return self._prove(merkle.inclusion_ranges(index, size), size, tx)

    def consistency_proof(self, old: int, new: int, tx: Transaction | None = None) -> tuple[bytes, ...]:
        """Hashes that show that the first ``new`` entries begin with the first ``old`` ones.

        Raises:
            ValueError: the sizes are not in order, or the log is shorter than ``new``.
            IntegrityError: ``SF501`` if the stored tree is damaged.
        """
        return self._prove(merkle.consistency_ranges(old, new), new, tx)

    def entries(self, start: int, stop: int, tx: Transaction | None = None) -> list[Entry]:
        """Entries ``start`` to ``stop - 1``, as far as they exist and have their content.

        Raises:
            IntegrityError: ``SF501`` if one of them is damaged.
        """
        with self._reading(tx) as reading:
            return [parse_entry(row.body) for row in log_rows.read_entries(reading, start, stop) if row.body]

    def _commit(self, take: Take[Sequence[Draft]]) -> list[int]:
        """Write what every waiting thread asked for, in one transaction; the first number of each."""
        with self._database.transaction() as tx:
            # Only now: who came while this thread queued for its turn shares it.
            asked = take()
            first = self._extend(tx, [item for drafts in asked for item in drafts])
        return list(accumulate((len(drafts) for drafts in asked[:-1]), initial=first))

    def _extend(self, tx: Transaction, drafts: Sequence[Draft]) -> int:
        """Write entries behind the head; return the number of the first."""
        head = self._head(tx)
        frontier = Frontier.parse(head.size, head.frontier)
        time = to_iso(self._clock.now())
        notices = self._clock_notices(tx, head, time)
        entries: list[EntryRow] = []
        nodes: list[NodeRow] = []
        for position, item in enumerate((*notices, *drafts), start=head.size):
            body = item.entry(position, time)
            leaf = merkle.leaf_hash(body)
            entries.append(EntryRow(position, leaf, body))
            nodes += [NodeRow(level, place, value) for (level, place), value in frontier.add(leaf)]
        stopped = any(item.type is EventType.LOG_STOPPED for item in drafts)
        cosign = stopped or head.size // COSIGN_EVERY != frontier.size // COSIGN_EVERY
        note = self._sign(frontier, cosign=cosign)
        kept = [CheckpointRow(frontier.size, note)] if cosign else []
        written = HeadRow(self._vkey, frontier.size, frontier.encode(), note)
        if not log_rows.extend(tx, written, old_size=head.size, entries=entries, nodes=nodes, kept=kept):
            raise IntegrityError("SF502", "somebody moved the head of the log meanwhile; nothing was written")
        self._known = _Known(written, time)
        return head.size + len(notices)

    def _clock_notices(self, tx: Transaction, head: HeadRow, time: str) -> list[Draft]:
        """An entry of its own, if the clock stands before the newest entry: times are what the clock said."""
        before = self._newest_time(tx, head)
        if before is None or time >= before:  # the one form of a time sorts as text
            return []
        back = datetime.fromisoformat(before) - datetime.fromisoformat(time)
        if back <= CLOCK_TOLERANCE:
            return []
        event = Event(
            type=EventType.LOG_CLOCK_BACK,
            outcome="failed",
            actor=self._writer,
            codes=("SF519",),
            details={"seconds": int(back.total_seconds()), "newest": before},
        )
        return [draft(event, self._writer)]

    def _newest_time(self, tx: Transaction, head: HeadRow) -> str | None:
        known = self._known
        if known is not None and known.head == head and known.time is not None:
            return known.time
        rows = log_rows.read_entries(tx, head.size - 1, head.size) if head.size else []
        return parse_entry(rows[0].body).time if rows else None

    def _head(self, tx: Transaction) -> HeadRow:
        """The head, refused if what we would build on is not what this log's key signed."""
        head = log_rows.read_head(tx)
        if head is None:
            raise IntegrityError("SF501", "the head of the log is missing")
        if self._known is not None and self._known.head == head:
            return head
        if head.verification_key != self._vkey:
            raise IntegrityError("SF503", "the log belongs to another key than the one that was loaded")
        signed = self._signed(head.checkpoint)
        try:
            root = Frontier.parse(head.size, head.frontier).root()
        except ValueError as error:
            raise IntegrityError("SF501", "the head of the log is not one that this software writes") from error
        if signed != Checkpoint(self._key.name, head.size, root):
            raise IntegrityError("SF501", "the head of the log differs from its signed checkpoint")
        self._known = _Known(head, None)
        return head

    def _signed(self, note: str) -> Checkpoint:
        """What a checkpoint of our own says, once its signature is known to be good."""
        try:
            return verify_checkpoint(note, self._key.public).checkpoint
        except PeerError as error:
            raise IntegrityError("SF503", "the newest checkpoint of the log is not one that its key signed") from error

    def _sign(self, frontier: Frontier, *, cosign: bool) -> str:
        checkpoint = Checkpoint(self._key.name, frontier.size, frontier.root())
        seconds = to_ms(self._clock.now()) // 1000 if cosign else None
        return sign_checkpoint(checkpoint, self._key, cosigned_at=seconds)

    @staticmethod
    def _is_cosigned(note: str) -> bool:
        return len(parse_note(note).signatures) > 1

    def _prove(self, ranges: Sequence[merkle.Range], size: int, tx: Transaction | None) -> tuple[bytes, ...]:
        places = [place for part in ranges for place in merkle.places_of(part)]
        with self._reading(tx) as reading:
            length = self._head(reading).size
            hashes = log_rows.read_hashes(reading, places)
        if size > length:
            raise ValueError(f"the log has {length} entries, not {size}")
        if len(hashes) != len(places):
            raise IntegrityError("SF501", "the stored tree of the log lacks hashes")
        return merkle.prove(ranges, hashes)

    @contextmanager
    def _writing(self, tx: Transaction | None) -> Iterator[Transaction]:
        if tx is not None:
            yield tx
        else:
            with self._database.transaction() as own:
                yield own

    @contextmanager
    def _reading(self, tx: Transaction | None) -> Iterator[Transaction]:
        if tx is not None:
            yield tx
        else:
            with self._database.snapshot() as own:
                yield own
