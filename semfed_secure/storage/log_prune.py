"""The content of log entries, removed for good when its time to be kept is over; their hashes stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from semfed_secure.storage import log_rows
from semfed_secure.storage.schema import log_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.storage.database import Transaction

REMOVED = b""
"""What stands in the place of an entry whose content was removed: no entry is empty."""


def remove_bodies(tx: Transaction, positions: Sequence[int]) -> int:
    """Remove the content of these entries while the guard is lifted; how many there were."""
    removed = 0
    for start in range(0, len(positions), log_rows.FETCH_ROWS):
        these = log_entry.c.position.in_(positions[start : start + log_rows.FETCH_ROWS])
        removed += tx.connection.execute(update(log_entry).where(these).values(body=REMOVED)).rowcount
    return removed


def overwrites(tx: Transaction) -> bool:
    """Whether the database writes over what is removed; PostgreSQL has it in its files until `VACUUM`, and after."""
    return tx.connection.dialect.name == "sqlite"
