"""The database itself refuses to change what was logged: triggers on both databases, an insert-only role on PostgreSQL.

They stop mistakes, and anybody who has only the writer's role. Who owns the database or its file can lift them: what
such a person did is told by `verify_log`, not prevented here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.storage.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

GUARDED = ("log_entry", "log_node", "log_checkpoint")
"""Tables whose rows are written once and stay."""
REFUSAL = "the audit log only grows"
"""What the database answers to who would change or delete such a row."""

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


def grants(role: str) -> list[str]:
    """The PostgreSQL statements that let ``role`` do a writer's work, and never change or delete what was logged.

    They hold for the tables of this release: after an upgrade by the owner they are run again.
    """
    name = '"' + role.replace('"', '""') + '"'
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
