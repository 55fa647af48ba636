"""Database failures told in our own codes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc

from semfed_secure.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator


def reason_of(error: exc.SQLAlchemyError) -> str:
    """The driver's own first line: it names the file or the disk, never a row."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    return str(cause).strip().split("\n", 1)[0]


def _is_damage(error: exc.DBAPIError) -> bool:
    text = reason_of(error)
    return "malformed" in text or "not a database" in text or "invalid page" in text


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
    except exc.DBAPIError as error:
        if _is_damage(error):
            raise IntegrityError("SF531", f"database {where} is damaged: {reason_of(error)}") from error
        if isinstance(error, exc.OperationalError):
            raise ConfigurationError("SF151", f"database {where} cannot be read: {reason_of(error)}") from error
        raise


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Turn a failing disk, lock or server inside the block into ``SF502``; programming errors pass through."""
    try:
        yield
    except exc.OperationalError as error:
        raise IntegrityError("SF502", f"database {where} cannot be written: {reason_of(error)}") from error
    except exc.DatabaseError as error:
        if _is_damage(error):
            raise IntegrityError("SF531", f"database {where} is damaged: {reason_of(error)}") from error
        # PostgreSQL tells a read-only server, a full disk or a lost connection by other classes than SQLite.
        if isinstance(error, exc.InternalError) or error.connection_invalidated:
            raise IntegrityError("SF502", f"database {where} cannot be written: {reason_of(error)}") from error
        raise
