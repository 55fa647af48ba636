"""Bring a database to the version of its tables that this release knows, through the shipped Alembic migrations."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from semfed_secure.errors import ConfigurationError, IntegrityError

HEAD = "0004"
"""The newest migration; a test compares it with the scripts."""

MIGRATIONS = Path(__file__).parent / "migrations"


def is_current(connection: Connection) -> bool:
    """Whether the tables are those of this release.

    Raises:
        ConfigurationError: ``SF151`` if a version unknown to this release wrote them.
        IntegrityError: ``SF531`` if what they name is no version.
    """
    if not inspect(connection).has_table("alembic_version"):
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is None:
        return False
    if re.fullmatch("[0-9]{4}", str(found)) is None:
        raise IntegrityError("SF531", "the database does not name the version of its tables")
    if str(found) < HEAD:
        return False
    if found != HEAD:
        raise ConfigurationError("SF151", f"database has tables of version {found}; this release knows {HEAD}")
    return True


def upgrade(connection: Connection) -> None:
    """Run the missing migrations inside the open transaction of ``connection``.

    Raises:
        IntegrityError: ``SF531`` if the version that the tables name is none that ever was.
    """
    # Alembic is only imported where there is work to do: an up-to-date database opens without it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise IntegrityError("SF531", "the database names a version of its tables that never was") from error
