"""Statements straight to the database's driver, for the few that every audited step waits for.

SQLAlchemy prepares, dispatches and wraps each statement: several times what SQLite needs to run it. Here the text goes
to the driver as it is, inside the same transaction; a failure comes back as the exception that SQLAlchemy would raise,
so that it gets the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.storage.database import Transaction


_MOST_ROWS = 64


def run(tx: Transaction, statement: str, values: Sequence[Any] = ()) -> Any:
    """Run one statement, its places marked by ``?``; the driver's cursor."""
    return _call(tx, statement, values)


def insert(tx: Transaction, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Add ``rows`` to the columns ``into``, in few statements: each one lets every other thread run in between.

    Each has a power of two rows, so that there are few texts and the driver has met all of them before.
    """
    place = f"({', '.join('?' * len(rows[0]))})"
    done = 0
    while done < len(rows):
        count = min(_MOST_ROWS, 1 << (len(rows) - done).bit_length() - 1)
        values = [value for row in rows[done : done + count] for value in row]
        _call(tx, f"INSERT INTO {into} VALUES {', '.join([place] * count)}", values)  # noqa: S608 - our own names
        done += count


def _call(tx: Transaction, statement: str, values: Sequence[Any]) -> Any:
    dialect = tx.connection.dialect
    if dialect.paramstyle != "qmark":
        statement = statement.replace("?", "%b")  # binary: bytes go as they are
    cursor = tx.connection.connection.cursor()
    try:
        cursor.execute(statement, values)
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, tx.connection.connection.dbapi_connection, cursor)
        if lost:
            tx.connection.invalidate(error)
        raise exc.DBAPIError.instance(
            statement, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
        ) from error
    return cursor
