"""The database itself refuses to change what was logged: triggers on both databases, an insert-only role on PostgreSQL.

They stop mistakes, and anybody who has only the writer's role. Who owns the database or its file can lift them: what
such a person did is told by `verify_log`, not prevented here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import text

from semfed_secure.errors import ConfigurationError
from semfed_secure.storage.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

GUARDED = ("log_entry", "log_node", "log_checkpoint")
"""Tables whose rows are written once and stay."""
REFUSAL = "the audit log only grows"
"""What the database answers to who would change or delete such a row."""
_ROLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

_FUNCTION = f"""
CREATE OR REPLACE FUNCTION semfed_log_only_grows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{REFUSAL}: %% of %% is refused', TG_OP, TG_TABLE_NAME; END $$
"""


def put(connection: Connection) -> None:
    """Guard the tables, inside the open transaction of ``connection``; again if they are guarded already."""
    lift(connection)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_FUNCTION)
        for table in GUARDED:
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION semfed_log_only_grows()"
            )
        return
    for table, act in _sqlite_triggers():
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}: {act} of {table} is refused'); END"
        )


def lift(connection: Connection) -> None:
    """Take the guard away, inside the open transaction of ``connection``; PostgreSQL lets only the owner do it."""
    if connection.dialect.name == "postgresql":
        for table in GUARDED:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_only_grows ON {table}")
        return
    for table, act in _sqlite_triggers():
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_no_{act}")


def grant(connection: Connection, role: str) -> list[str]:
    """Let a PostgreSQL role do a writer's work and no more; return the statements that did it.

    They hold for the tables of this release: after an upgrade by the owner they are run again.

    Raises:
        ConfigurationError: ``SF105`` if the database has no roles, or not this one.
    """
    if connection.dialect.name != "postgresql":
        raise ConfigurationError("SF105", "only PostgreSQL has roles: an SQLite file is its owner's")
    known = connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    if _ROLE.fullmatch(role) is None or known is None:
        raise ConfigurationError("SF105", f"the database has no role {role!r} of plain letters, digits and underscores")
    statements = grants(role)
    for statement in statements:
        connection.exec_driver_sql(statement)
    return statements


def grants(role: str) -> list[str]:
    """The statements of `grant`."""
    name = f'"{role}"'
    others = sorted(table for table in metadata.tables if table not in {*GUARDED, "log_head", "alembic_version"})
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}",
        f"GRANT USAGE ON SCHEMA public TO {name}",
        f"GRANT SELECT, INSERT ON {', '.join(GUARDED)} TO {name}",
        f"GRANT SELECT, INSERT, UPDATE ON log_head TO {name}",
        f"GRANT SELECT ON alembic_version TO {name}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON " + ", ".join(f'"{table}"' for table in others) + f" TO {name}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}",
    ]


def _sqlite_triggers() -> Iterator[tuple[str, str]]:
    return ((table, act) for table in GUARDED for act in ("UPDATE", "DELETE"))
