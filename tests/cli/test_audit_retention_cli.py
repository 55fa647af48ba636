"""`semfed audit prune`, `hold` and `lift`: what the policy says decides, and every refusal has its status and code."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.client.pins import POLICY
from semfed_secure.clock import FixedClock
from semfed_secure.errors import ExitCode
from semfed_secure.policy.compose import load_policy
from semfed_secure.storage import Database, log_guard, pin_rows
from tests.audit.aged import DAY, month
from tests.cli.test_audit_cli import KEY, VKEY, run
from tests.cli.test_audit_export_cli import own as _own

if TYPE_CHECKING:
    from pathlib import Path

own = _own  # the options that name the log's private key
SIX_YEARS = """\
format: semfed/policy/1
id: north-patients
version: 1.0.0
title: North
domain: healthcare
owner: North
extends: [pack:healthcare/hipaa]
default: deny
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A log of three months of 2018."""
    clock = FixedClock(datetime(2018, 3, 1, 8, tzinfo=UTC))
    (tmp_path / "state").mkdir()
    with Database.open(tmp_path / "state" / "site.db", kind="client") as database:
        log = AuditLog(database, key=KEY, clock=clock, writer="north/client")
        for number in range(3):
            log.append_all(month(number))
            clock.advance(30 * DAY)
    return tmp_path / "state"


@pytest.fixture
def policy(state: Path) -> Path:
    """A policy under HIPAA, which is in force at the site."""
    file = state.parent / "policy.yaml"
    file.write_text(SIX_YEARS)
    with Database.open(state / "site.db", kind="client") as database, database.transaction() as tx:
        pin_rows.replace_pin(tx, POLICY, expected=None, value=load_policy(file).digest)
    return file


def test_a_server_says_itself_for_how_long_entries_are_kept(state: Path, own: list[object], capsys) -> None:
    """Without it nothing is removed; verify, list and show say what was."""
    code, _, error = run(capsys, "prune", state, "--before", "2018-05", *own)
    assert (code, "--keep-days" in error) == (ExitCode.USAGE, True)
    code, out, _ = run(capsys, "prune", state, "--before", "2018-05", "--keep-days", 365, *own, "--json")
    document = json.loads(out)
    assert (code, document["pruned"], document["entry"], document["gone"]) == (ExitCode.OK, 6, 15, True)
    code, out, _ = run(capsys, "verify", state, "--key", VKEY)
    assert (code, "of 6 entries only the hash is kept" in out) == (ExitCode.OK, True)
    code, out, _ = run(capsys, "show", state, 3)
    assert "the content of entry 3 was removed by entry 15: north removed the content of 6 entries of 0 to 14" in out
    assert run(capsys, "show", state, 99)[0] == ExitCode.USAGE
    entries = json.loads(run(capsys, "list", state, "--json")[1])["entries"]
    assert [entry["seq"] for entry in entries] == [0, 2, 4, 5, 7, 9, 10, 12, 14, 15]
    code, out, _ = run(capsys, "prune", state, "--before", "2018-05", "--keep-days", 365, *own)
    assert (code, "nothing was there to remove" in out) == (ExitCode.OK, True)


def test_an_entry_that_somebody_took_out_is_not_shown_as_pruned(state: Path, capsys) -> None:
    """There is none, neither content nor a hash."""
    with Database.open(state / "site.db", kind="client") as database, database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.exec_driver_sql("DELETE FROM log_entry WHERE position = 3")
    code, _, error = run(capsys, "show", state, 3)
    assert (code, "the log has no entry 3" in error) == (ExitCode.USAGE, True)


def test_a_site_keeps_what_its_policy_says_however_it_is_asked(
    state: Path, policy: Path, own: list[object], capsys
) -> None:
    """The pinned policy must be named; asking for fewer days does not help, and the refusal is entered."""
    asked = ("prune", state, "--before", "2025-01", "--keep-days", 1, *own)
    code, _, error = run(capsys, *asked)
    assert (code, "--policy" in error) == (ExitCode.USAGE, True)
    today = datetime.now(UTC).date()
    recent = ("prune", state, "--before", f"{today:%Y-%m}", "--keep-days", 1, "--policy", policy, *own)
    code, _, error = run(capsys, *recent)
    assert (code, "SF204" in error, "2192 days" in error) == (ExitCode.POLICY, True, True)
    denied = json.loads(run(capsys, "list", state, "--type", "log.pruned", "--json")[1])["entries"]
    assert [(entry["outcome"], entry["policy_id"], entry["codes"]) for entry in denied] == [
        ("denied", "north-patients", ["SF204"])
    ]
    assert run(capsys, "prune", state, "--before", "2018-05", "--policy", policy, *own)[0] == ExitCode.OK
    assert verify_log(state, key=VKEY).pruned == 6


def test_another_policy_than_the_pinned_one_does_not_count(
    state: Path, policy: Path, own: list[object], capsys
) -> None:
    """However similar it is."""
    policy.write_text(SIX_YEARS.replace("title: North", "title: South"))
    code, _, error = run(capsys, "prune", state, "--before", "2018-05", "--policy", policy, *own)
    assert (code, "SF522" in error) == (ExitCode.INTEGRITY, True)
    assert verify_log(state, key=VKEY).pruned == 0


def test_a_hold_stops_pruning_and_is_lifted_by_name(state: Path, own: list[object], capsys) -> None:
    """Both are entries of the log, and `verify` names the holds in force."""
    asked = ("prune", state, "--before", "2018-05-01", "--keep-days", 365, *own)
    held = ("--name", "inquiry", "--reference", "2 O 17/26", *own)
    code, out, _ = run(capsys, "hold", state, *held)
    assert (code, "the hold inquiry is in force: entry 15" in out) == (ExitCode.OK, True)
    assert run(capsys, "hold", state, *held)[0] == ExitCode.USAGE
    assert "under legal hold: inquiry" in run(capsys, "verify", state)[1]
    code, _, error = run(capsys, *asked)
    assert (code, "SF205" in error, "inquiry" in error) == (ExitCode.POLICY, True, True)
    assert json.loads(run(capsys, "lift", state, *held, "--json")[1]) == {"hold": "inquiry", "entry": 17}
    assert run(capsys, *asked)[0] == ExitCode.OK


def test_a_day_that_is_none_is_refused(state: Path, own: list[object], capsys) -> None:
    """Before anything is read."""
    for text in ("2018", "2018-13", "yesterday", "2018-05-01T08:00"):
        assert run(capsys, "prune", state, "--before", text, "--keep-days", 1, *own)[0] == ExitCode.USAGE


def test_the_hash_of_a_removed_entry_is_proven(state: Path, tmp_path: Path, own: list[object], capsys) -> None:
    """To whoever has it from elsewhere, with the log's key and without the log."""
    leaf = json.loads(run(capsys, "show", state, 1, "--json")[1])["leaf_hash"]
    run(capsys, "prune", state, "--before", "2018-05", "--keep-days", 365, *own)
    path = tmp_path / "1.tlog-proof"
    code, out, _ = run(capsys, "proof", state, 1, "--out", path)
    assert (code, "its content was removed" in out, leaf in out) == (ExitCode.OK, True, True)
    check = ("proof", "--check", path, "--key", VKEY)
    document = json.loads(run(capsys, *check, "--leaf-hash", leaf, "--json")[1])
    assert (document["entry"], document["leaf_hash"], document["sentence"]) == (1, leaf, None)
    assert run(capsys, *check)[0] == ExitCode.TRUST
    assert run(capsys, *check, "--leaf-hash", "00" * 32)[0] == ExitCode.TRUST
    assert run(capsys, *check, "--leaf-hash", "no digits")[0] == ExitCode.USAGE
