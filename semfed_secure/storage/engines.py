"""How connections to SQLite and PostgreSQL are made durable."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from semfed_secure.errors import ConfigurationError

BUSY_TIMEOUT_MS = 30_000
"""How long one process waits for another's write before it gives up: far above any transaction of ours."""
_CHECKPOINT_TIMEOUT_MS = 100
"""How long emptying the write-ahead log waits for readers: nobody writes meanwhile, and it can be done again."""


def parse_url(url_or_path: str | Path) -> URL:
    """A database URL, or a path taken as an SQLite file; PostgreSQL always goes through psycopg 3."""
    text = str(url_or_path)
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except ArgumentError as error:
        raise ConfigurationError("SF151", "database URL cannot be read: expected a path or a URL") from error
    if url.get_backend_name() == "postgresql":
        if importlib.util.find_spec("psycopg") is None:
            raise ConfigurationError("SF103", "a PostgreSQL database needs the extra semfed-secure[postgres]")
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError("SF151", f"database kind {url.get_backend_name()} is not SQLite or PostgreSQL")
    if url.database in {None, "", ":memory:"}:
        raise ConfigurationError("SF151", "an SQLite database needs a file: memory keeps nothing")
    return url


def durable_engine(url: URL) -> Engine:
    """An engine whose commits are on disk when they return.

    Guarantee: a transaction that was committed survives ``kill -9`` and loss of power, as far as the disk keeps its
    own promises (SQLite: write-ahead log, ``synchronous=FULL``; PostgreSQL: ``synchronous_commit=on``).
    """
    engine = create_engine(url, pool_pre_ping=url.get_backend_name() == "postgresql")
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _durable_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _durable_postgresql)
    return engine


def read_only_engine(url: URL) -> Engine:
    """An engine that cannot change the database of ``url``; an SQLite file may lie on a read-only medium."""
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url, poolclass=NullPool)
        event.listen(engine, "connect", _read_only_postgresql)
        return engine
    path = Path(str(url.database)).absolute()
    # Beside a write-ahead log SQLite must be able to share memory with writers. Without one nobody writes, and
    # `immutable` lets the file be read where even its directory is read-only.
    live = Path(f"{path}-wal").exists()
    query = {"uri": "true", "mode": "ro"} | ({} if live else {"immutable": "1"})
    engine = create_engine(URL.create("sqlite", database=f"file:{quote(str(path))}", query=query), poolclass=NullPool)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "connect", _manual_transactions)
    return engine


def empty_write_ahead_log(connection: Connection) -> bool:
    """Bring an SQLite file up to date and cut its write-ahead log to nothing; false if somebody was reading that."""
    connection.execution_options(semfed_bare=True)
    connection.exec_driver_sql(f"PRAGMA busy_timeout={_CHECKPOINT_TIMEOUT_MS}")
    try:
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar_one()
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    return not busy


def _manual_transactions(connection: Any, _record: object) -> None:
    # The driver must not begin transactions on its own: it would begin them DEFERRED, and lose locks late.
    connection.isolation_level = None


def _durable_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    durable = (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    for pragma in (*durable, "secure_delete=ON"):  # what is deleted is written over, not only given up
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("semfed_bare", False):
        connection.exec_driver_sql("BEGIN" if options.get("semfed_reading", False) else "BEGIN IMMEDIATE")


def _durable_postgresql(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute("SET synchronous_commit = on")
    connection.autocommit = False


def _read_only_postgresql(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute("SET default_transaction_read_only = on")
    connection.autocommit = False
