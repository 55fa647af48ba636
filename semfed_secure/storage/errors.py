"""Database failures told in our own codes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage.log_guard import REFUSAL

if TYPE_CHECKING:
    from collections.abc import Iterator


def reason_of(error: exc.SQLAlchemyError) -> str:
    """The driver's own first line: it names the file or the disk, never a row."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    return str(cause).strip().split("\n", 1)[0]


# What SQLite and PostgreSQL say of a file whose bytes are not what they wrote. Our own statements only name tables
# and columns that the version check found, so a missing one is damage as well.
_DAMAGE = ("malformed", "not a database", "invalid page", "Could not decode", "no such table", "no such column")


# The guard of the log, and a role that may only add to it: not a mistake in our statements.
_REFUSED = (REFUSAL, "permission denied", "must be owner")


def _is_damage(error: exc.DBAPIError) -> bool:
    return any(words in reason_of(error) for words in _DAMAGE)


def _damaged(where: str, reason: str) -> IntegrityError:
    return IntegrityError("SF531", f"database {where} is damaged: {reason}")


@contextmanager
def opening(where: str) -> Iterator[None]:
    """Turn any database failure inside the block into ``SF151`` (or ``SF531`` for a damaged file)."""
    try:
        with reading(where):
            yield
    except exc.DBAPIError as error:
        raise ConfigurationError("SF151", f"database {where} cannot be opened: {reason_of(error)}") from error


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn a damaged file into ``SF531`` and a failing disk or server inside the block into ``SF151``."""
    try:
        yield
    except UnicodeDecodeError as error:  # a table's name or definition, which the driver decodes by itself
        raise _damaged(where, "its description is not text") from error
    except exc.DBAPIError as error:
        if _is_damage(error):
            raise _damaged(where, reason_of(error)) from error
        if isinstance(error, exc.OperationalError):
            raise ConfigurationError("SF151", f"database {where} cannot be read: {reason_of(error)}") from error
        raise


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Turn a failing disk, lock or server inside the block into ``SF502``; programming errors pass through."""
    try:
        yield
    except exc.DatabaseError as error:
        if _is_damage(error):
            raise _damaged(where, reason_of(error)) from error
        if any(words in reason_of(error) for words in _REFUSED):
            raise IntegrityError("SF502", f"database {where} refuses: {reason_of(error)}") from error
        # PostgreSQL tells a read-only server or a lost connection by other classes than SQLite.
        if isinstance(error, exc.OperationalError | exc.InternalError) or error.connection_invalidated:
            raise IntegrityError("SF502", f"database {where} cannot be written: {reason_of(error)}") from error
        raise
