"""Rows of the transparency log: its head, entries, tree nodes and kept checkpoints."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Column, Select, and_, bindparam, exc, func, insert, or_, select

from semfed_secure.errors import IntegrityError
from semfed_secure.storage import driver
from semfed_secure.storage.schema import log_checkpoint, log_entry, log_head, log_node
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from semfed_secure.storage.database import Transaction

FETCH_ROWS = 1_000
"""Rows held in memory while a whole table is walked."""


@dataclass(frozen=True, slots=True)
class HeadRow:
    """The log as it stands: whose it is, how long it is, and its newest signed checkpoint."""

    verification_key: str
    size: int
    frontier: bytes
    checkpoint: str


class EntryRow(NamedTuple):
    """One entry; ``position`` counts from zero without gaps."""

    position: int
    leaf_hash: bytes
    body: bytes


class NodeRow(NamedTuple):
    """Hash of the complete subtree over the ``2**level`` entries that start at ``position * 2**level``."""

    level: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A kept checkpoint, as the text of its signed note."""

    size: int
    note: str


# An append runs on every audited step of everybody else, so these go straight to the driver.
_READ_HEAD = "SELECT verification_key, size, frontier, checkpoint FROM log_head"
_UPDATE_HEAD = "UPDATE log_head SET size = ?, frontier = ?, checkpoint = ? WHERE size = ?"
_ENTRY = "log_entry (position, leaf_hash, body)"
_NODE = "log_node (level, position, hash)"
# All that an append writes, in one statement: PostgreSQL answers each one over the network.
_EXTEND = """
WITH entries AS (INSERT INTO log_entry (position, leaf_hash, body)
                 SELECT * FROM unnest(?::bigint[], ?::bytea[], ?::bytea[])),
     nodes AS (INSERT INTO log_node (level, position, hash)
               SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::bytea[])),
     kept AS (INSERT INTO log_checkpoint (size, note) SELECT * FROM unnest(?::bigint[], ?::text[]))
UPDATE log_head SET size = ?, frontier = ?, checkpoint = ? WHERE size = ?
"""
_READ_LEAVES = select(log_entry.c.position, log_entry.c.leaf_hash).where(
    log_entry.c.position.in_(bindparam("positions", expanding=True))
)


@cache
def _read_nodes(count: int) -> Select[Any]:
    """The query for so many places, fewer than 128 for a proof; both databases look each of them up by its key."""
    places = [
        and_(log_node.c.level == bindparam(f"level_{number}"), log_node.c.position == bindparam(f"position_{number}"))
        for number in range(count)
    ]
    return select(log_node.c.level, log_node.c.position, log_node.c.hash).where(or_(*places))


def read_head(tx: Transaction) -> HeadRow | None:
    """The head, or nothing while the log is empty and unclaimed."""
    row = driver.run(tx, _READ_HEAD).fetchone()
    return None if row is None else typed_row(HeadRow, row, code="SF501")


def insert_head(tx: Transaction, head: HeadRow) -> None:
    """Claim the empty log for a key."""
    key, size, frontier, checkpoint = astuple(head)
    row = {"id": 1, "verification_key": key, "size": size, "frontier": frontier, "checkpoint": checkpoint}
    tx.connection.execute(insert(log_head), row)


def extend(
    tx: Transaction,
    head: HeadRow,
    *,
    old_size: int,
    entries: Sequence[EntryRow],
    nodes: Sequence[NodeRow],
    kept: Sequence[CheckpointRow],
) -> bool:
    """Add rows behind the head and move it from ``old_size`` to ``head``; false if it stood elsewhere.

    Then nothing counts: the transaction is to be rolled back. ``SF501`` if one of the rows stands there already.
    """
    if tx.connection.dialect.name == "postgresql":
        rows = ((entries, 3), (nodes, 3), ([astuple(row) for row in kept], 2))
        arrays = [[row[column] for row in table] for table, width in rows for column in range(width)]
        with _behind_the_head("a row"):
            moved = driver.run(tx, _EXTEND, (*arrays, head.size, head.frontier, head.checkpoint, old_size))
        return bool(moved.rowcount == 1)
    insert_entries(tx, entries)
    insert_nodes(tx, nodes)
    for checkpoint in kept:
        insert_checkpoint(tx, checkpoint)
    return advance_head(tx, old_size=old_size, size=head.size, frontier=head.frontier, checkpoint=head.checkpoint)


def advance_head(tx: Transaction, *, old_size: int, size: int, frontier: bytes, checkpoint: str) -> bool:
    """Move the head from ``old_size``; false if it stood elsewhere, and then nothing moved."""
    return bool(driver.run(tx, _UPDATE_HEAD, (size, frontier, checkpoint, old_size)).rowcount == 1)


def insert_entries(tx: Transaction, entries: Sequence[EntryRow]) -> None:
    """Add entries behind the last one; ``SF501`` if one stands there already."""
    with _behind_the_head("an entry"):
        driver.insert(tx, _ENTRY, entries)


def insert_nodes(tx: Transaction, nodes: Sequence[NodeRow]) -> None:
    """Add hashes of subtrees that are complete now; they never change again: ``SF501`` if one stands there already."""
    if nodes:
        with _behind_the_head("a hash"):
            driver.insert(tx, _NODE, nodes)


def insert_checkpoint(tx: Transaction, checkpoint: CheckpointRow) -> None:
    """Keep a checkpoint of the present size; ``SF501`` if one stands there already."""
    with _behind_the_head("a checkpoint"):
        tx.connection.execute(insert(log_checkpoint), {"size": checkpoint.size, "note": checkpoint.note})


@contextmanager
def _behind_the_head(what: str) -> Iterator[None]:
    # One sequencer writes, and the head says where it is: what stands behind the head was not written by it.
    try:
        yield
    except exc.IntegrityError as error:
        raise IntegrityError("SF501", f"the log holds {what} behind its head: it was changed, or set back") from error


def read_checkpoint(tx: Transaction, size: int) -> str | None:
    """The kept checkpoint of ``size`` entries."""
    query = select(log_checkpoint.c.size, log_checkpoint.c.note).where(log_checkpoint.c.size == size)
    row = tx.connection.execute(query).first()
    return None if row is None else typed_row(CheckpointRow, row, code="SF501").note


def read_entries(tx: Transaction, start: int, stop: int) -> list[EntryRow]:
    """Entries ``start`` to ``stop - 1`` that exist, in order."""
    query = (
        select(log_entry.c.position, log_entry.c.leaf_hash, log_entry.c.body)
        .where(log_entry.c.position >= start, log_entry.c.position < stop)
        .order_by(log_entry.c.position)
    )
    return [typed_row(EntryRow, row, code="SF501") for row in tx.connection.execute(query)]


def read_hashes(tx: Transaction, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Hashes at ``(level, position)``, level 0 being the entries; places without a row are left out."""
    asked = list(places)
    found: dict[tuple[int, int], bytes] = {}
    leaves = [position for level, position in asked if level == 0]
    if leaves:
        rows = tx.connection.execute(_READ_LEAVES, {"positions": leaves})
        found.update(_placed((0, *row) for row in rows))
    inner = [place for place in asked if place[0]]
    if inner:
        values: dict[str, int] = {}
        for number, (level, position) in enumerate(inner):
            values |= {f"level_{number}": level, f"position_{number}": position}
        found.update(_placed(tx.connection.execute(_read_nodes(len(inner)), values)))
    return found


def _placed(rows: Iterable[Sequence[object]]) -> dict[tuple[int, int], bytes]:
    nodes = [typed_row(NodeRow, row, code="SF501") for row in rows]
    return {(node.level, node.position): node.hash for node in nodes}


def read_hash_run(tx: Transaction, level: int, start: int, stop: int) -> list[bytes]:
    """Hashes at positions ``start`` to ``stop - 1`` of a level that exist, in order; level 0 being the entries."""
    if level == 0:
        place = log_entry.c.position
        query = select(place, log_entry.c.leaf_hash)
    else:
        place = log_node.c.position
        query = select(place, log_node.c.hash).where(log_node.c.level == level)
    rows = tx.connection.execute(query.where(place >= start, place < stop).order_by(place))
    return [typed_row(NodeRow, (level, *row), code="SF501").hash for row in rows]


def walk_entries(tx: Transaction, start: int = 0) -> Iterator[EntryRow]:
    """Every entry in order of position, without holding them all; with ``start`` those from there on."""
    place = log_entry.c.position
    query = select(place, log_entry.c.leaf_hash, log_entry.c.body)
    if start:  # without it also those that an intruder numbered below zero
        query = query.where(place >= start)
    for row in _walk(tx, query, place):
        yield EntryRow(*row)  # of any type: who verifies a whole log says which entry is none


def walk_level(tx: Transaction, level: int) -> Iterator[NodeRow]:
    """Every node of one level in order of position, without holding them all."""
    place = log_node.c.position
    query = select(place, log_node.c.hash).where(log_node.c.level == level)
    for position, value in _walk(tx, query, place):
        yield NodeRow(level, position, value)


def _walk(tx: Transaction, query: Select[Any], place: Column[int]) -> Iterator[Any]:
    # In pages, not by an open cursor: a reader may stop anywhere and leaves nothing behind.
    page = query.order_by(place).limit(FETCH_ROWS)
    following = page
    while rows := tx.connection.execute(following).all():
        yield from rows
        following = page.where(place > rows[-1][0])


def count_nodes(tx: Transaction) -> int:
    """How many nodes are stored."""
    return int(tx.connection.scalar(select(func.count()).select_from(log_node)) or 0)


def list_checkpoints(tx: Transaction) -> list[CheckpointRow]:
    """Every kept checkpoint, smallest first."""
    query = select(log_checkpoint.c.size, log_checkpoint.c.note).order_by(log_checkpoint.c.size)
    return [typed_row(CheckpointRow, row, code="SF501") for row in tx.connection.execute(query)]
