"""The audit log of one site or server: append events durably, sign checkpoints, prove entries."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from semfed_secure.audit import merkle
from semfed_secure.audit.events import Entry, Event, EventType, check_writer, encode_entry, parse_entry
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.notes import (
    Checkpoint,
    LogProof,
    parse_checkpoint,
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


class AuditLog:
    """Appends to, and proves, the log in one database.

    Guarantee: when `append` has returned outside a transaction of the caller's, or that transaction has committed,
    the entry is on disk, its number is the next one without a gap, and a checkpoint that covers it is signed. Otherwise
    nothing was written and `IntegrityError` is raised: no audit, no release.
    """

    def __init__(self, database: Database, *, key: LogSigningKey, clock: Clock, writer: str) -> None:
        """Take up the log, or begin an empty one that belongs to ``key`` from now on.

        Args:
            database: Where the log lies; several processes may hold it open.
            key: The log's own key.
            clock: Gives the time of each entry.
            writer: Which program of which member writes, for example ``north-clinic/client``.

        Raises:
            IntegrityError: ``SF503`` if the log belongs to another key or its newest checkpoint is not signed by it;
                ``SF502`` if it cannot be written.
        """
        self._database = database
        self._key = key
        self._clock = clock
        self._writer = check_writer(writer)
        # The newest checkpoint whose signature this process made or verified.
        self._trusted: tuple[str, Checkpoint] | None = None
        with database.transaction() as tx:
            if log_rows.read_head(tx) is None:
                log_rows.insert_head(tx, HeadRow(key.public.encode(), 0, b"", self._sign(Frontier(), cosign=True)))
            self._head(tx)

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
        with self._writing(tx) as writing:
            return self._extend(writing, events)

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

    def proof_file(self, index: int) -> str:
        """One ``tlog-proof@v1`` file about entry ``index``, to be checked offline with outside tools."""
        note = self.checkpoint()
        size = parse_checkpoint(parse_note(note).text).size
        return LogProof(index, self.inclusion_proof(index, size), note).encoded

    def entries(self, start: int, stop: int, tx: Transaction | None = None) -> list[Entry]:
        """Entries ``start`` to ``stop - 1``, as far as they exist.

        Raises:
            IntegrityError: ``SF501`` if one of them is damaged.
        """
        with self._reading(tx) as reading:
            return [parse_entry(row.body) for row in log_rows.read_entries(reading, start, stop)]

    def _extend(self, tx: Transaction, events: Sequence[Event]) -> int:
        head = self._head(tx)
        frontier = Frontier.parse(head.size, head.frontier)
        time = to_iso(self._clock.now())
        entries: list[EntryRow] = []
        nodes: list[NodeRow] = []
        for position, event in enumerate(events, start=head.size):
            body = encode_entry(Entry(position, time, self._writer, event))
            entries.append(EntryRow(position, merkle.leaf_hash(body), body))
            completed = frontier.add(entries[-1].leaf_hash)
            nodes += [NodeRow(level, place, value) for (level, place), value in completed]
        stopped = any(event.type is EventType.LOG_STOPPED for event in events)
        cosign = stopped or head.size // COSIGN_EVERY != frontier.size // COSIGN_EVERY
        note = self._sign(frontier, cosign=cosign)
        log_rows.insert_entries(tx, entries)
        log_rows.insert_nodes(tx, nodes)
        if cosign:
            log_rows.insert_checkpoint(tx, CheckpointRow(frontier.size, note))
        self._trusted = note, Checkpoint(self._key.name, frontier.size, frontier.root())
        log_rows.advance_head(tx, old_size=head.size, size=frontier.size, frontier=frontier.encode(), checkpoint=note)
        return head.size

    def _head(self, tx: Transaction) -> HeadRow:
        """The head, refused if what we would build on is not what this log's key signed."""
        head = log_rows.read_head(tx)
        if head is None:
            raise IntegrityError("SF501", "the head of the log is missing")
        if head.verification_key != self._key.public.encode():
            raise IntegrityError("SF503", "the log belongs to another key than the one that was loaded")
        signed = self._signed(head.checkpoint)
        try:
            root = Frontier.parse(head.size, head.frontier).root()
        except ValueError as error:
            raise IntegrityError("SF501", "the head of the log is not one that this software writes") from error
        if signed != Checkpoint(self._key.name, head.size, root):
            raise IntegrityError("SF501", "the head of the log differs from its signed checkpoint")
        return head

    def _signed(self, note: str) -> Checkpoint:
        """What a checkpoint of our own says, once its signature is known to be good."""
        if self._trusted is None or self._trusted[0] != note:
            try:
                self._trusted = note, verify_checkpoint(note, self._key.public).checkpoint
            except PeerError as error:
                message = "the newest checkpoint of the log is not one that its key signed"
                raise IntegrityError("SF503", message) from error
        return self._trusted[1]

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
