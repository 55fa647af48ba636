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


def run(tx: Transaction, statement: str, values: Sequence[Any] = ()) -> Any:
    """Run one statement, its places marked by ``?``; the driver's cursor."""
    return _call(tx, "execute", statement, values)


def run_many(tx: Transaction, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement for each of ``rows``."""
    _call(tx, "execute" if len(rows) == 1 else "executemany", statement, rows[0] if len(rows) == 1 else rows)


def _call(tx: Transaction, method: str, statement: str, values: Sequence[Any]) -> Any:
    dialect = tx.connection.dialect
    if dialect.paramstyle != "qmark":
        statement = statement.replace("?", "%s")
    cursor = tx.connection.connection.cursor()
    try:
        getattr(cursor, method)(statement, values)
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, tx.connection.connection.dbapi_connection, cursor)
        if lost:
            tx.connection.invalidate(error)
        raise exc.DBAPIError.instance(
            statement, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
        ) from error
    return cursor
