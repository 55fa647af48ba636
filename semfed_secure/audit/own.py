"""A log opened with its own private key, so that what is done to it or with it is entered in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.sources import database_file
from semfed_secure.storage import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.clock import Clock
    from semfed_secure.crypto.log_keys import LogSigningKey


@dataclass(frozen=True, slots=True)
class Opened:
    """A log that its owner works on.

    Attributes:
        database: Where it lies.
        audit: The log.
        verification_key: Its public key.
        actor: The member whose log it is.
        clock: Gives the time.
    """

    database: Database
    audit: AuditLog
    verification_key: str
    actor: str
    clock: Clock


def owner_of(key: LogSigningKey) -> str:
    """The member whose log's key it is."""
    return key.name.rpartition("/")[2]


@contextmanager
def open_writable(place: str | Path) -> Iterator[Database]:
    """The database of a log that is to be written.

    Raises:
        ConfigurationError: ``SF102`` or ``SF151``, there is no database; a directory of tiles takes no entries.
    """
    at = place if "://" in str(place) else database_file(Path(place))
    with Database.open(at, kind=Database.kind_of(at)) as database:
        yield database


@contextmanager
def open_own(place: str | Path, key: LogSigningKey, *, clock: Clock, writer: str) -> Iterator[Opened]:
    """Open the log at ``place``, whose own key is ``key``.

    Raises:
        ConfigurationError: as `open_writable`.
        IntegrityError: ``SF503`` the log is of another key.
    """
    with open_writable(place) as database:
        audit = AuditLog(database, key=key, clock=clock, writer=writer)
        yield Opened(database, audit, key.public.encode(), owner_of(key), clock)
