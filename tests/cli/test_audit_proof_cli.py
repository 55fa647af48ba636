"""`semfed audit proof` and `fsck`: one entry for an outsider, and what of a damaged log is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ExitCode
from semfed_secure.storage import Database, log_guard
from tests.cli.test_audit_cli import VKEY, run, tamper, write_log
from tests.cli.test_audit_export_cli import own as _own

if TYPE_CHECKING:
    from pathlib import Path

own = _own  # the options that name the log's private key


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A whole log of three days."""
    return write_log(tmp_path / "state")


def test_a_proof_is_written_and_checked_without_the_log(state: Path, tmp_path: Path, capsys) -> None:
    """The words of the entry, of whom, and under how many entries; text and JSON say the same."""
    path = tmp_path / "3.tlog-proof"
    code, out, _ = run(capsys, "proof", state, 3, "--out", path, "--key", VKEY)
    assert (code, "proves entry 3 of the first 6 of hospitals.example/north" in out) == (ExitCode.OK, True)
    (state / "site.db").rename(tmp_path / "gone.db")
    code, out, _ = run(capsys, "proof", "--check", path, "--key", VKEY)
    assert (code, "2026-03-02T08:00:00.000Z north/client: " in out) == (ExitCode.OK, True)
    document = json.loads(run(capsys, "proof", "--check", path, "--key", VKEY, "--json")[1])
    assert (document["entry"], document["entries"], document["witnesses"]) == (3, 6, [])


def test_a_proof_takes_the_place_of_no_file(state: Path, tmp_path: Path, capsys) -> None:
    """A file that is there already may be somebody's evidence."""
    path = tmp_path / "evidence"
    path.write_text("of something else")
    code, _, error = run(capsys, "proof", state, 3, "--out", path)
    assert (code, "SF123" in error, path.read_text()) == (ExitCode.USAGE, True, "of something else")


def test_a_bad_proof_ends_with_the_status_for_trust(state: Path, tmp_path: Path, capsys) -> None:
    """Changed, of another log, or without the witness that is asked for."""
    path = tmp_path / "3.tlog-proof"
    run(capsys, "proof", state, 3, "--out", path)
    other = LogSigningKey.generate("hospitals.example/north").public.encode()
    assert run(capsys, "proof", "--check", path, "--key", other)[0] == ExitCode.TRUST
    code, _, error = run(capsys, "proof", "--check", path, "--key", VKEY, "--witness", other)
    assert (code, "SF330" in error) == (ExitCode.TRUST, True)
    path.write_text(path.read_text().replace("index 3", "index 2"))
    code, _, error = run(capsys, "proof", "--check", path, "--key", VKEY)
    assert (code, "SF328" in error) == (ExitCode.TRUST, True)


@pytest.mark.parametrize(
    "arguments", [(), ("STATE",), ("STATE", 99), ("--check", "FILE"), ("STATE", 0, "--out", "STATE")]
)
def test_proof_says_what_it_lacks(state: Path, tmp_path: Path, capsys, arguments: tuple[object, ...]) -> None:
    """A usage error, and no file."""
    given = [state if word == "STATE" else tmp_path / "x" if word == "FILE" else word for word in arguments]
    assert run(capsys, "proof", *given)[0] == ExitCode.USAGE
    assert list(tmp_path.glob("*.tlog-proof")) == []


def test_verify_asks_for_the_witnesses_that_are_named(state: Path, tmp_path: Path, capsys) -> None:
    """None of them has cosigned: the log's own key alone is not enough then."""
    (tmp_path / "east").write_text(LogSigningKey.generate("hospitals.example/east").public.encode())
    code, _, error = run(capsys, "verify", state, "--witness", tmp_path / "east")
    assert (code, "SF515" in error) == (ExitCode.INTEGRITY, True)
    assert run(capsys, "verify", state, "--witness", "nonsense+")[0] == ExitCode.USAGE


def test_fsck_names_what_is_derived_and_repairs_it_when_asked(state: Path, own: list[object], capsys) -> None:
    """Exit 12 until it is repaired, which is entered in the log; a whole log is intact."""
    assert "the log is intact" in run(capsys, "fsck", state)[1]
    with Database.open(state / "site.db", kind="client") as database, database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.exec_driver_sql("DELETE FROM log_node WHERE level = 1 AND position = 1")
    code, out, error = run(capsys, "fsck", state)
    assert (code, "SF513" in error) == (ExitCode.INTEGRITY, True)
    assert "hashes of the tree" in out
    code, out, _ = run(capsys, "fsck", state, "--json")
    parts = {row["part"]: row["state"] for row in json.loads(out)["error"]["fields"]["parts"]}
    assert (code, parts["hashes of the tree"], parts["entries"]) == (ExitCode.INTEGRITY, "derived", "sound")
    code, _, error = run(capsys, "fsck", state, "--repair")
    assert (code, "--log-key" in error) == (ExitCode.USAGE, True)
    code, out, _ = run(capsys, "fsck", state, "--repair", *own)
    assert (code, "computed again" in out) == (ExitCode.OK, True)
    assert run(capsys, "verify", state, "--key", VKEY)[0] == ExitCode.OK
    entries = json.loads(run(capsys, "list", state, "--type", "log.repaired", "--json")[1])["entries"]
    assert [entry["details"] for entry in entries] == [{"parts": ["hashes of the tree"]}]


def test_fsck_repairs_nothing_where_something_is_lost(state: Path, capsys) -> None:
    """The lost entry is named, with where to look for it."""
    tamper(state)
    code, out, error = run(capsys, "fsck", state)
    assert (code, "SF501" in error, "look in a backup" in out) == (ExitCode.INTEGRITY, True, True)
    code, out, _ = run(capsys, "fsck", state, "--repair", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (ExitCode.INTEGRITY, "SF501")
