"""What an intruder who owns a database does first: take the guard of the log away."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def disarm(connection: sqlite3.Connection) -> None:
    """Drop every trigger of an SQLite database."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
