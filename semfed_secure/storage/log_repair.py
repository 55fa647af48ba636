"""Rows of the log that are computed from its entries, written anew; entries and checkpoints are never touched."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import delete, exc, update

from semfed_secure.errors import IntegrityError
from semfed_secure.storage import log_guard, log_rows
from semfed_secure.storage.schema import log_entry, log_head, log_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from semfed_secure.storage.database import Transaction


@contextmanager
def unguarded(tx: Transaction) -> Iterator[None]:
    """Lift the guard of the tables inside this block of the transaction; another one never sees it lifted.

    Raises:
        IntegrityError: ``SF502`` if this user may not: only who owns the tables can.
    """
    try:
        log_guard.lift(tx.connection)
        yield
        log_guard.put(tx.connection)
    except exc.DBAPIError as error:
        raise IntegrityError("SF502", "the owner of the log's tables was expected, who may write them anew") from error


def rehash(tx: Transaction, leaf_hash: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """The hash of each entry, in order, after the one stored beside it was made to be that; once pruned, it stays."""
    for row in log_rows.walk_entries(tx):
        value = leaf_hash(row.body) if row.body else row.leaf_hash
        if value != row.leaf_hash:
            here = log_entry.c.position == row.position
            tx.connection.execute(update(log_entry).where(here).values(leaf_hash=value))
        yield value


def drop_nodes(tx: Transaction) -> None:
    """Remove every hash of the tree."""
    tx.connection.execute(delete(log_node))


def set_frontier(tx: Transaction, size: int, frontier: bytes) -> None:
    """Write where the log goes on."""
    tx.connection.execute(update(log_head).values(size=size, frontier=frontier))
