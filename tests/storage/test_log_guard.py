"""The database refuses to change what was logged, and on PostgreSQL a role can be made that never could."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure import cli
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ExitCode, IntegrityError
from semfed_secure.storage import Database, log_guard, pin_rows
from tests.audit.samples import START, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
WRITER = "semfed_writer"


def log_on(database: Database) -> AuditLog:
    """The log of a database."""
    return AuditLog(database, key=KEY, clock=FixedClock(START), writer="w")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A log with a kept checkpoint, on each kind of database."""
    with Database.open(database_url, kind="server") as opened:
        log_on(opened).append_all([sample(number) for number in range(300)])
        yield opened


@pytest.fixture
def writer(database: Database, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The database as the insert-only role sees it."""
    url = str(database._engine.url)
    if not url.startswith("postgresql"):
        pytest.skip("SQLite has no roles")
    with database.transaction() as tx:
        tx.connection.exec_driver_sql(f"DROP ROLE IF EXISTS {WRITER}")
        tx.connection.exec_driver_sql(f"CREATE ROLE {WRITER} LOGIN")
    assert cli.main(["audit", "grant", url, WRITER]) == ExitCode.OK
    try:
        with Database.open(url.replace("semfed@", f"{WRITER}@"), kind="server") as opened:
            yield opened
    finally:
        with database.transaction() as tx:
            tx.connection.exec_driver_sql(f"DROP OWNED BY {WRITER}")
            tx.connection.exec_driver_sql(f"DROP ROLE {WRITER}")


def attempt(database: Database, *together: str) -> None:
    """Run statements in one transaction."""
    with database.transaction() as tx:
        for statement in together:
            tx.connection.execute(text(statement))


def statements(*, truncate: bool) -> list[str]:
    """Every way of changing or deleting a guarded row, and all of them."""
    found = []
    for table, column in (("log_entry", "body"), ("log_node", "hash"), ("log_checkpoint", "note")):
        found += [f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"]
        found += [f"TRUNCATE {table}"] if truncate else []
    return found


def test_the_database_refuses_to_change_or_delete_what_was_logged(database: Database) -> None:
    """Each statement is refused with a code, and nothing of its transaction stays."""
    with database.transaction() as tx:
        pin_rows.set_pin_once(tx, "kept", b"still")
    for statement in statements(truncate=database._engine.dialect.name == "postgresql"):
        with pytest.raises(IntegrityError, match="only grows") as caught:
            attempt(database, "DELETE FROM pin", statement)
        assert caught.value.code == "SF502"
    with database.snapshot() as tx:
        assert pin_rows.read_pin(tx, "kept") == b"still"
    assert log_on(database).append(sample(0)) == 300


def test_what_is_lifted_and_put_again_guards_again(database: Database) -> None:
    """Who must delete on purpose does it inside one transaction."""
    with database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.execute(text("DELETE FROM log_checkpoint"))
        log_guard.put(tx.connection)
    with pytest.raises(IntegrityError, match="only grows"):
        attempt(database, "DELETE FROM log_entry")


@pytest.mark.parametrize("role", ["nobody_here", "a b", ""])
def test_a_role_that_is_not_there_is_granted_nothing(database: Database, role: str, capsys) -> None:
    """SF105, on SQLite too, which has none."""
    assert cli.main(["audit", "grant", database._engine.url.render_as_string(), role]) == ExitCode.USAGE
    assert "SF105" in capsys.readouterr().err


def test_the_writers_role_does_a_servers_work(writer: Database) -> None:
    """Appending, checkpoints, and the tables of rounds: the owner is needed for none of it."""
    log = log_on(writer)
    assert log.append(sample(0)) == 300
    assert log.append_all([sample(1)] * 300) == 301
    log.checkpoint()
    with writer.transaction() as tx:
        pin_rows.set_pin_once(tx, "roster", b"1")
        tx.connection.execute(text("DELETE FROM pin"))
    assert verify_log(writer._engine.url.render_as_string(), key=KEY.public.encode()).size == 601


def test_the_writers_role_cannot_change_delete_or_unguard(writer: Database) -> None:
    """PostgreSQL itself says no, before any trigger is asked."""
    attempts = [
        *statements(truncate=True),
        "DELETE FROM log_head",
        "DROP TRIGGER log_entry_only_grows ON log_entry",
        "ALTER TABLE log_entry DISABLE TRIGGER ALL",
        "DROP TABLE log_entry",
        "CREATE OR REPLACE FUNCTION semfed_log_only_grows() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    ]
    for statement in attempts:
        with pytest.raises(IntegrityError, match=r"permission denied|must be owner|only grows") as caught:
            attempt(writer, statement)
        assert caught.value.code == "SF502", statement
    assert log_on(writer).append(sample(0)) == 300
