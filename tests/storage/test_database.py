"""One database per site or server: opened once, migrated, written by one sequencer, durable."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage import Database, pin_rows
from semfed_secure.storage.schema import metadata
from semfed_secure.storage.upgrade import HEAD, MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new client's database, once on SQLite and once on PostgreSQL."""
    with Database.open(database_url, kind="client") as opened:
        yield opened


def test_migrations_make_exactly_the_declared_tables(database: Database) -> None:
    """The migrated database does not differ from the schema that the row modules use."""
    with database.snapshot() as tx:
        assert compare_metadata(MigrationContext.configure(tx.connection), metadata) == []


def test_head_is_the_newest_migration() -> None:
    """The version that skips Alembic at start is the one that the scripts end with."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_current_database_opens_without_alembic(tmp_path: Path) -> None:
    """Only a database with missing migrations pays for Alembic's import."""
    path = tmp_path / "site.db"
    Database.open(path, kind="client").close()
    program = f"""
        import sys
        from pathlib import Path
        from semfed_secure.storage import Database
        Database.open(Path({str(path)!r}), kind="client")
        sys.exit("alembic" in sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_reopening_keeps_what_was_committed(database_url: str) -> None:
    """A committed transaction is there in the next session."""
    first = Database.open(database_url, kind="client")
    with first.transaction() as tx:
        pin_rows.set_pin_once(tx, "roster", b"digest")
    first.close()
    with Database.open(database_url, kind="client") as again, again.snapshot() as tx:
        assert pin_rows.read_pin(tx, "roster") == b"digest"


def test_an_exception_rolls_everything_back(database: Database) -> None:
    """Everything written through one transaction is committed together or not at all."""
    with suppress(ZeroDivisionError), database.transaction() as tx:
        pin_rows.set_pin_once(tx, "a", b"1")
        pytest.fail(f"{1 // 0}")
    with database.snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") is None


def test_a_second_transaction_in_one_thread_is_refused_at_once(database: Database) -> None:
    """A nested transaction would wait for itself, so it is an error in the caller."""
    with database.transaction(), pytest.raises(RuntimeError, match="open already"), database.transaction():
        pass


def test_a_snapshot_reads_beside_an_open_transaction(database: Database) -> None:
    """Readers see the last committed state and do not wait for a writer."""
    with database.transaction() as writing:
        pin_rows.set_pin_once(writing, "a", b"1")
        with database.snapshot() as tx:
            assert pin_rows.read_pin(tx, "a") is None
    with database.snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") == b"1"


def test_threads_write_one_after_the_other(database: Database) -> None:
    """Read-then-write of many threads loses no update."""

    def add() -> None:
        for _ in range(10):
            with database.transaction() as tx:
                before = pin_rows.read_pin(tx, "count")
                after = str(int(before or b"0") + 1).encode()
                assert pin_rows.replace_pin(tx, "count", expected=before, value=after)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.snapshot() as tx:
        assert pin_rows.read_pin(tx, "count") == b"60"


def test_processes_write_one_after_the_other(database_url: str) -> None:
    """Read-then-write of several processes loses no update, even when all of them create the database."""
    program = f"""
        from semfed_secure.storage import Database, pin_rows
        database = Database.open({database_url!r}, kind="server")
        for _ in range(20):
            with database.transaction() as tx:
                before = pin_rows.read_pin(tx, "count")
                after = str(int(before or b"0") + 1).encode()
                assert pin_rows.replace_pin(tx, "count", expected=before, value=after)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    children = [subprocess.Popen(command) for _ in range(3)]
    assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
    with Database.open(database_url, kind="server") as again, again.snapshot() as tx:
        assert pin_rows.read_pin(tx, "count") == b"60"


def test_a_forked_child_makes_its_own_connections(tmp_path: Path) -> None:
    """Work that forks (a pre-forking server, a task queue) does not share a connection with its parent."""
    program = f"""
        import os, sys
        from semfed_secure.storage import Database, pin_rows
        database = Database.open({str(tmp_path / "x.db")!r}, kind="client")
        with database.transaction() as tx:
            pin_rows.set_pin_once(tx, "parent", b"1")
        child = os.fork()
        with database.transaction() as tx:
            pin_rows.set_pin_once(tx, "child" if child == 0 else "after", b"1")
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with database.snapshot() as tx:
            assert all(pin_rows.read_pin(tx, name) for name in ("parent", "child", "after"))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_a_database_keeps_its_kind(database_url: str) -> None:
    """A client's database is refused for a server."""
    Database.open(database_url, kind="client").close()
    with pytest.raises(ConfigurationError, match="belongs to a client") as caught:
        Database.open(database_url, kind="server")
    assert caught.value.code == "SF151"


def test_a_newer_version_is_refused(database: Database, database_url: str) -> None:
    """Tables of a later release are not touched."""
    with database.transaction() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="version 9999") as caught:
        Database.open(database_url, kind="client")
    assert caught.value.code == "SF151"


@pytest.mark.parametrize("version", ["0000", "", "000q"])
def test_a_version_that_never_was_is_damage(database: Database, database_url: str, version: str) -> None:
    """No migration leads on from it: SF531, and no traceback."""
    with database.transaction() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    with pytest.raises(IntegrityError) as caught:
        Database.open(database_url, kind="client")
    assert caught.value.code == "SF531"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "://", "/no/such/dir/site.db"])
def test_what_cannot_be_opened_is_refused(url: str) -> None:
    """Memory, unknown kinds, nonsense and missing directories get the same code."""
    with pytest.raises(ConfigurationError) as caught:
        Database.open(url, kind="client")
    assert caught.value.code == "SF151"


def test_a_password_never_reaches_a_message() -> None:
    """The URL in an error hides its password."""
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigurationError) as caught:
        Database.open("postgresql://someone:hunter2@127.0.0.1:1/none", kind="client")
    assert caught.value.code == "SF151"
    assert "hunter2" not in str(caught.value)


def test_postgresql_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing driver is told as the install command that is missing."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"semfed-secure\[postgres\]") as caught:
        Database.open("postgresql://127.0.0.1/none", kind="client")
    assert caught.value.code == "SF103"


def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    """Foreign bytes are told as damage, not as a traceback."""
    path = tmp_path / "site.db"
    path.write_bytes(b"not a database at all, but long enough to look like one" * 20)
    with pytest.raises(IntegrityError) as caught:
        Database.open(path, kind="client")
    assert caught.value.code == "SF531"


def test_a_damaged_description_is_damage(tmp_path: Path) -> None:
    """A table that lost its name, or whose definition is not text, is told as damage."""
    path = tmp_path / "site.db"
    Database.open(path, kind="client").close()
    whole = path.read_bytes()
    for damaged in (whole.replace(b"CREATE TABLE pin", b"CREATE TABLE\xff\xfein"), whole.replace(b"pin", b"pan")):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError) as caught, Database.open_read_only(path) as again, again.snapshot() as tx:
            pin_rows.read_pin(tx, "a")
        assert caught.value.code == "SF531"


def test_a_read_only_database_refuses_to_write(tmp_path: Path) -> None:
    """A database that cannot be written says so with the code for it, and is unchanged."""
    path = tmp_path / "site.db"
    Database.open(path, kind="client").close()
    reader = Database.open(f"sqlite:///file:{path}?mode=ro&uri=true", kind="client")
    with pytest.raises(IntegrityError, match="cannot be written") as caught, reader.transaction() as tx:
        pin_rows.set_pin_once(tx, "a", b"1")
    assert caught.value.code == "SF502"
    with Database.open(path, kind="client") as again, again.snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") is None


def test_a_full_disk_refuses_to_write(tmp_path: Path) -> None:
    """A write that finds no room is told with its code, and leaves nothing behind."""
    database = Database.open(tmp_path / "site.db", kind="client")
    with database.transaction() as tx:
        tx.connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes it as: no page more than now
    with pytest.raises(IntegrityError, match="full") as caught, database.transaction() as tx:
        pin_rows.set_pin_once(tx, "a", b"x" * 1_000_000)
    assert caught.value.code == "SF502"
    with database.snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") is None


def test_open_read_only_changes_nothing(tmp_path: Path) -> None:
    """Reading for an auditor leaves the directory as it was, byte for byte."""
    path = tmp_path / "site.db"
    Database.open(path, kind="client").close()
    before = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
    reader = Database.open_read_only(path)
    with reader.snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") is None
    with pytest.raises(IntegrityError), reader.transaction() as tx:
        pin_rows.set_pin_once(tx, "a", b"1")
    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == before


def test_open_read_only_sees_what_a_running_writer_committed(tmp_path: Path) -> None:
    """A live site can be audited while it works."""
    path = tmp_path / "site.db"
    writer = Database.open(path, kind="client")
    with writer.transaction() as tx:
        pin_rows.set_pin_once(tx, "a", b"1")
    with Database.open_read_only(path).snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") == b"1"


def test_open_read_only_needs_a_file_of_ours(tmp_path: Path) -> None:
    """A missing file is not created, and a foreign SQLite file is refused."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        Database.open_read_only(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "empty.db").touch()
    with pytest.raises(ConfigurationError, match="another version"):
        Database.open_read_only(tmp_path / "empty.db")


def test_what_is_deleted_stands_in_no_file_any_more(tmp_path: Path) -> None:
    """Written over in the database, and gone from the write-ahead log as soon as nobody reads it."""
    path, secret = tmp_path / "server.db", b"what somebody sent" * 1000

    def found() -> bool:
        return any(b"what somebody sent" in file.read_bytes() for file in tmp_path.iterdir())

    with Database.open(path, kind="server") as database:
        with database.transaction() as tx:
            pin_rows.set_pin_once(tx, "a", secret)
        assert database.forget()
        assert b"what somebody sent" in path.read_bytes()
        with database.snapshot() as reader:
            pin_rows.read_pin(reader, "a")
            with database.transaction() as tx:
                pin_rows.replace_pin(tx, "a", expected=secret, value=b"")
            assert not database.forget()
            assert found()
        assert database.forget()
        assert not found()


def test_forgetting_leaves_everything_else_as_it_was(database: Database) -> None:
    """On PostgreSQL it does nothing; on SQLite the same connection goes on to write in transactions."""
    with database.transaction() as tx:
        pin_rows.set_pin_once(tx, "a", b"kept")
    assert database.forget()
    with suppress(RuntimeError), database.transaction() as tx:
        pin_rows.replace_pin(tx, "a", expected=b"kept", value=b"rolled back")
        raise RuntimeError
    with database.snapshot() as tx:
        assert pin_rows.read_pin(tx, "a") == b"kept"
