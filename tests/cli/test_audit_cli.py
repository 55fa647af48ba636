"""`semfed audit` gives an auditor the log's verdict, its entries, a page and static files, and exits as promised."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from semfed_secure import cli
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ExitCode
from semfed_secure.storage import Database, log_guard

if TYPE_CHECKING:
    from pathlib import Path

KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
VKEY = KEY.public.encode()


def write_log(state: Path, *, days: int = 3, reason: str = "text is not granted") -> Path:
    """A log with one loaded policy and one denial a day, in a state directory."""
    state.mkdir()
    clock = FixedClock(datetime(2026, 3, 1, 8, tzinfo=UTC))
    with Database.open(state / "site.db", kind="client") as database:
        log = AuditLog(database, key=KEY, clock=clock, writer="north/client")
        for day in range(days):
            loaded = Event(type=EventType.POLICY_LOADED, outcome="success", actor="north", policy_id="north/patients")
            denied = Event(
                type=EventType.DECISION,
                outcome="denied",
                actor="north",
                round_id=f"round-{day}",
                codes=("SF201",),
                details={"action": "release", "reasons": [reason]},
            )
            log.append_all([loaded, denied])
            clock.advance(86_400)
        (state / "seen.txt").write_text(log.checkpoint())
    return state


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A whole log of three days."""
    return write_log(tmp_path / "state")


def tamper(state: Path) -> None:
    """Change one entry behind the log's back."""
    with Database.open(state / "site.db", kind="client") as database, database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.exec_driver_sql("UPDATE log_entry SET body = leaf_hash WHERE position = 3")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command."""
    code = cli.main(["audit", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_verify_prints_one_document(state: Path, capsys) -> None:
    """Entries, root, key and what else was found, as JSON for machines."""
    code, out, err = run(capsys, "verify", state, "--key", VKEY, "--json")
    verdict = verify_log(state, key=VKEY)
    document = json.loads(out)
    assert (code, err) == (ExitCode.OK, "")
    assert document["verified"] is True
    assert (document["log"], document["entries"], document["root"]) == (verdict.origin, 6, verdict.root)
    assert document["key_was_given"] is True
    assert document["cosigned_entries"] == 6
    assert document["writers"] == ["north/client"]


def test_verify_says_in_words_what_a_missing_key_is_worth(state: Path, capsys) -> None:
    """A person reads that the log is intact, and that nobody vouched for its key."""
    code, out, _ = run(capsys, "verify", state)
    assert code == ExitCode.OK
    assert out.startswith("intact: hospitals.example/north, 6 entries")
    assert "give --key to be sure whose log it is" in out
    assert "give --key" not in run(capsys, "verify", state, "--key", VKEY)[1]


def test_verify_takes_the_key_from_a_file(state: Path, tmp_path: Path, capsys) -> None:
    """A key of two kilobytes is easier to keep in a file."""
    (tmp_path / "key.txt").write_text(VKEY + "\n")
    assert run(capsys, "verify", state, "--key", tmp_path / "key.txt")[0] == ExitCode.OK
    assert run(capsys, "verify", state, "--key", tmp_path / "none.txt")[0] == ExitCode.USAGE
    assert run(capsys, "verify", state, "--key", "non+sense")[0] == ExitCode.USAGE


def test_verify_exits_12_and_names_the_entry(state: Path, capsys) -> None:
    """A changed entry is one sentence on stderr, and the same as a JSON object."""
    tamper(state)
    code, out, err = run(capsys, "verify", state, "--json")
    assert code == ExitCode.INTEGRITY == 12
    assert json.loads(out)["error"]["code"] == "SF501"
    assert json.loads(out)["error"]["fields"] == {"index": 3}
    assert "entry 3 was changed: its content does not match the fingerprint stored with it" in err


def test_verify_compares_with_a_known_checkpoint(state: Path, tmp_path: Path, capsys) -> None:
    """A log that was set back verifies alone, but not against what somebody else has kept."""
    shorter = write_log(tmp_path / "restored", days=2)
    assert run(capsys, "verify", state, "--known", state / "seen.txt")[0] == ExitCode.OK
    assert "extends all 1 checkpoints" in run(capsys, "verify", state, "--known", state / "seen.txt")[1]
    assert run(capsys, "verify", shorter)[0] == ExitCode.OK
    code, out, _ = run(capsys, "verify", shorter, "--known", state / "seen.txt", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (ExitCode.INTEGRITY, "SF504")


def test_verify_of_nothing_is_a_usage_error(tmp_path: Path, capsys) -> None:
    """A wrong path is not a damaged log."""
    code, _, err = run(capsys, "verify", tmp_path)
    assert code == ExitCode.USAGE
    assert "one log was expected" in err


def test_list_refuses_an_outcome_that_there_is_not(state: Path, capsys) -> None:
    """A slip of the pen is not read as a clean log; the three that there are list between them every entry."""
    code, out, err = run(capsys, "list", state, "--outcome", "refused")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "success" in err
    totals = [
        json.loads(run(capsys, "list", state, "--outcome", outcome, "--json")[1])["total"]
        for outcome in ("success", "denied", "failed")
    ]
    assert sum(totals) == 6


def test_list_shows_every_entry_in_words(state: Path, capsys) -> None:
    """JSON has each entry as it stands in the log; text has a line for each."""
    document = json.loads(run(capsys, "list", state, "--json")[1])
    assert document["total"] == 6
    assert [entry["seq"] for entry in document["entries"]] == list(range(6))
    assert document["entries"][1]["type"] == "decision"
    code, out, _ = run(capsys, "list", state)
    assert code == ExitCode.OK
    assert "north was not permitted by policy to release outputs in round-2" in out


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--type", "decision"], [1, 3, 5]),
        (["--outcome", "denied"], [1, 3, 5]),
        (["--round", "round-1"], [3]),
        (["--since", "2026-03-02"], [2, 3, 4, 5]),
        (["--until", "2026-03-02"], [0, 1, 2, 3]),
        (["--since", "2026-03-02T08:00:01Z"], [4, 5]),
        (["--until", "2026-03-02T09:00+02:00"], [0, 1]),
        (["--limit", "2"], [4, 5]),
        (["--round", "none"], []),
    ],
)
def test_list_filters(state: Path, capsys, options: list[str], numbers: list[int]) -> None:
    """By type, outcome, round and period; a last day belongs to the period as a whole."""
    document = json.loads(run(capsys, "list", state, *options, "--json")[1])
    assert [entry["seq"] for entry in document["entries"]] == numbers


def test_list_of_nothing_and_of_nonsense(state: Path, capsys) -> None:
    """No entry is an answer; an impossible day is a usage error."""
    assert run(capsys, "list", state, "--round", "none")[1] == "no entries\n"
    assert run(capsys, "list", state, "--since", "yesterday")[0] == ExitCode.USAGE
    assert run(capsys, "list", state, "--type", "invented")[0] == ExitCode.USAGE


def test_show_prints_one_entry(state: Path, capsys) -> None:
    """The sentence, every field and the hash; an entry that is not there is a usage error."""
    document = json.loads(run(capsys, "show", state, "1", "--json")[1])
    assert document["entry"]["details"]["reasons"] == ["text is not granted"]
    assert document["sentence"] == "north was not permitted by policy to release outputs in round-0"
    assert len(document["leaf_hash"]) == 64
    assert "text is not granted" in run(capsys, "show", state, "1")[1]
    assert run(capsys, "show", state, "6")[0] == ExitCode.USAGE


def test_show_of_a_replaced_entry_is_an_integrity_error(state: Path, capsys) -> None:
    """What is not an entry is not shown as one; the others still are."""
    tamper(state)
    assert run(capsys, "show", state, "2")[0] == ExitCode.OK
    code, _, err = run(capsys, "show", state, "3")
    assert code == ExitCode.INTEGRITY
    assert "entry 3 is not one that this software writes" in err


def test_report_writes_a_page(state: Path, tmp_path: Path, capsys) -> None:
    """One HTML file for the period, with the verdict."""
    out = tmp_path / "report.html"
    code, text, _ = run(capsys, "report", state, "--out", out, "--since", "2026-03-02", "--key", VKEY, "--json")
    assert code == ExitCode.OK
    assert json.loads(text) == {"out": str(out), "entries": 4, "releases": 0, "verified": True}
    page = out.read_text()
    assert "This log is intact." in page
    assert "from 2026-03-02 00:00:00 until the end of the log" in page


def test_report_of_a_damaged_log_is_written_and_exits_12(state: Path, tmp_path: Path, capsys) -> None:
    """The officer gets the page that says so, and a pipeline the exit status."""
    tamper(state)
    out = tmp_path / "report.html"
    code, text, err = run(capsys, "report", state, "--out", out, "--json")
    assert code == ExitCode.INTEGRITY
    assert json.loads(text)["error"]["code"] == "SF501"
    assert "says that the log is not intact" in err
    assert "This log is not intact." in out.read_text()


def test_report_needs_a_place_to_write(state: Path, tmp_path: Path, capsys) -> None:
    """A directory that is not there is told."""
    assert run(capsys, "report", state, "--out", tmp_path / "none" / "report.html")[0] == ExitCode.USAGE


def test_export_writes_files_that_verify(state: Path, tmp_path: Path, capsys) -> None:
    """The directory verifies, lists and reports like the database."""
    out = tmp_path / "export"
    code, text, _ = run(capsys, "export", state, "--out", out, "--json")
    assert code == ExitCode.OK
    assert json.loads(text) == {
        "out": str(out), "log": "hospitals.example/north", "entries": 6, "entered": False,
    }  # fmt: skip
    roots = {json.loads(run(capsys, "verify", place, "--key", VKEY, "--json")[1])["root"] for place in (state, out)}
    assert len(roots) == 1
    assert json.loads(run(capsys, "list", out, "--json")[1])["total"] == 6
    assert json.loads(run(capsys, "show", out, "5", "--json")[1])["entry"]["seq"] == 5
    assert run(capsys, "report", out, "--out", tmp_path / "report.html")[0] == ExitCode.OK
    assert run(capsys, "export", state, "--out", out)[0] == ExitCode.USAGE


def test_export_refuses_a_damaged_log(state: Path, tmp_path: Path, capsys) -> None:
    """Nothing that does not verify is handed on as if it did."""
    tamper(state)
    assert run(capsys, "export", state, "--out", tmp_path / "export")[0] == ExitCode.INTEGRITY
    assert not (tmp_path / "export").exists()


def test_verify_needs_none_of_the_heavy_parts(state: Path) -> None:
    """An auditor's machine without models, servers or samplers verifies the log."""
    program = (
        "import sys; from semfed_secure import cli; code = cli.main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'fastapi', 'jinja2', 'scipy', 'opendp', 'alembic', 'numpy'}; "
        "sys.exit(f'{code} {heavy & sys.modules.keys()}' if code or heavy & sys.modules.keys() else 0)"
    )
    command = [sys.executable, "-c", program, "audit", "verify", str(state), "--key", VKEY]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
