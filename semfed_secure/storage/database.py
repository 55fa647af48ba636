"""One database per site or server, opened, migrated and written by one sequencer."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

from sqlalchemy import Connection, Engine, insert, select

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage import schema
from semfed_secure.storage.engines import durable_engine, empty_write_ahead_log, parse_url, read_only_engine
from semfed_secure.storage.errors import opening, reading, writing
from semfed_secure.storage.upgrade import is_current, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

DatabaseKind = Literal["client", "server", "root"]

# Key of the PostgreSQL advisory lock that makes writers queue: the first 8 bytes of SHA-256("semfed-secure"), signed.
_SEQUENCER_LOCK = -8_913_320_820_450_452_626
_QUEUE = f"SELECT pg_advisory_xact_lock({_SEQUENCER_LOCK})"


class Transaction:
    """One open transaction; row modules read and write through it.

    Guarantee: everything written through one `Database.transaction` is committed together or not at all.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: Connection) -> None:
        """Built by `Database` only."""
        self.connection = connection


class Database:
    """A site's, server's or federation root's database; safe between threads, and its file between processes."""

    def __init__(self, engine: Engine, *, name: str) -> None:
        """Use `open` or `open_read_only`."""
        self._engine = engine
        self._name = name
        self._pid = os.getpid()
        self._sequencer = threading.Lock()
        self._writing_thread: int | None = None
        # A database that its owner forgot to close still gives its connections back in order.
        weakref.finalize(self, engine.dispose)

    @classmethod
    def open(cls, url_or_path: str | Path, *, kind: DatabaseKind) -> Self:
        """Open a database, create it if it is new, bring its tables up to date.

        Guarantee: a database is never opened as the wrong kind or with tables of another version.

        Args:
            url_or_path: A path (SQLite) or a URL (``sqlite://``, ``postgresql://``).
            kind: Whose database it is; a client's is refused for a server, and so on.

        Raises:
            ConfigurationError: ``SF151`` if it cannot be opened, is of another kind, or was written by a newer
                version; ``SF103`` if PostgreSQL is asked for without its extra.
            IntegrityError: ``SF531`` if the file is damaged.
        """
        url = parse_url(url_or_path)
        name = url.render_as_string(hide_password=True)
        with opening(name):
            database = cls(durable_engine(url), name=name)
            try:
                database._prepare(kind)
            except BaseException:
                database.close()
                raise
        return database

    @classmethod
    def open_read_only(cls, url_or_path: str | Path) -> Self:
        """Open a database for reading only: nothing is created, migrated or locked against writers.

        Args:
            url_or_path: A path or URL as for `open`; the SQLite file may lie on a read-only medium.

        Raises:
            ConfigurationError: ``SF151`` if it does not exist or its tables are of another version.
            IntegrityError: ``SF531`` if the file is damaged.
        """
        url = parse_url(url_or_path)
        name = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
            raise ConfigurationError("SF151", f"database {url.database} does not exist")
        with opening(name):
            database = cls(read_only_engine(url), name=name)
            try:
                database._require_current()
            except BaseException:
                database.close()
                raise
        return database

    @classmethod
    def kind_of(cls, url_or_path: str | Path) -> DatabaseKind:
        """Whose an existing database is.

        Raises:
            ConfigurationError, IntegrityError: as `open_read_only`; ``SF531`` if it does not say whose it is.
        """
        with cls.open_read_only(url_or_path) as database, database.snapshot() as tx:
            found = tx.connection.scalar(select(schema.database_kind.c.kind))
        kinds: tuple[DatabaseKind, ...] = get_args(DatabaseKind)
        for kind in kinds:
            if kind == found:
                return kind
        raise IntegrityError("SF531", "the database is damaged: it does not say whose it is")

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write: commit when the block ends, roll back when it raises.

        Guarantee: transactions of all threads and processes happen one after the other; when the block has ended
        without an error, its writes are on disk.

        Raises:
            IntegrityError: ``SF502`` if the database cannot be written; nothing was then.
        """
        self.require_no_transaction()
        with self._sequencer, writing(self._name):
            self._writing_thread = threading.get_ident()
            try:
                with self._engine.begin() as connection:
                    if connection.dialect.name == "postgresql":
                        connection.exec_driver_sql(_QUEUE)
                    yield Transaction(connection)
            finally:
                self._writing_thread = None

    def require_no_transaction(self) -> None:
        """Refuse to go on where this thread writes already: it would wait for itself.

        Raises:
            RuntimeError: a transaction is open in this thread.
        """
        self._after_fork()
        if self._writing_thread == threading.get_ident():
            raise RuntimeError("a transaction is open already in this thread: pass it on instead of opening another")

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Read: one consistent state, without waiting for writers or making them wait."""
        self._after_fork()
        with self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            else:
                connection.execution_options(semfed_reading=True)
            with reading(self._name), connection.begin():
                yield Transaction(connection)

    def forget(self) -> bool:
        """Let nothing that was deleted stand in the files of an SQLite database; false if a reader was in the way.

        Deleting overwrites the file, and this empties the write-ahead log. PostgreSQL has neither: nothing is done.

        Raises:
            IntegrityError: ``SF502`` the database cannot be written.
        """
        self._after_fork()
        if self._engine.dialect.name != "sqlite":
            return True
        with self._sequencer, writing(self._name), self._engine.connect() as connection:
            return empty_write_ahead_log(connection)

    def close(self) -> None:
        """Give back every connection; the database can be opened again."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close, whatever happened."""
        self.close()

    def _require_current(self) -> None:
        with self.snapshot() as tx:
            current = is_current(tx.connection)
        if not current:
            raise ConfigurationError("SF151", f"database {self._name} was written by another version")

    def _prepare(self, kind: DatabaseKind) -> None:
        with self.snapshot() as tx:
            current = is_current(tx.connection)
        if not current:
            with self.transaction() as tx:  # two processes may start together: the second finds the work done
                upgrade(tx.connection)
        self._claim(kind)

    def _claim(self, kind: DatabaseKind) -> None:
        with self.snapshot() as tx:
            found = tx.connection.scalar(select(schema.database_kind.c.kind))
        if found is None:
            with self.transaction() as tx:
                found = tx.connection.scalar(select(schema.database_kind.c.kind))
                if found is None:
                    tx.connection.execute(insert(schema.database_kind).values(kind=kind))
                    found = kind
        if found not in get_args(DatabaseKind):
            raise IntegrityError("SF531", f"database {self._name} is damaged: it does not say whose it is")
        if found != kind:
            raise ConfigurationError("SF151", f"database {self._name} belongs to a {found}, not to a {kind}")

    def _after_fork(self) -> None:
        # A forked child must not speak on its parent's connections; it makes its own.
        if self._pid != os.getpid():
            self._engine.dispose(close=False)
            self._sequencer = threading.Lock()
            self._writing_thread = None
            self._pid = os.getpid()
