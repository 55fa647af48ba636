"""`semfed audit export` says where a log went, enters it in the log, and refuses what does not fit together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from semfed_secure import cli
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.exporters.formats import FORMATS, FormatName
from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.key_files import save_key
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ExitCode
from semfed_secure.storage import Database
from tests.audit.exporters.receivers import Certificates, receiving

if TYPE_CHECKING:
    from pathlib import Path

KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
VKEY = KEY.public.encode()
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A log of three entries in a state directory."""
    state = tmp_path / "state"
    state.mkdir()
    with Database.open(state / "site.db", kind="client") as database:
        log = AuditLog(database, key=KEY, clock=SystemClock(), writer="north/client")
        log.append_all([Event(type=EventType.KEY_LOADED, outcome="success", actor="north") for _ in range(3)])
        log.checkpoint()
    return state


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The options by which an export is entered; sealing a key takes its time."""
    directory = tmp_path_factory.mktemp("keys")
    save_key(directory / "log.key", KEY, PASSPHRASE)
    (directory / "passphrase").write_bytes(PASSPHRASE)
    (directory / "passphrase").chmod(0o600)
    return ["--log-key", directory / "log.key", "--passphrase-file", directory / "passphrase"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one export."""
    code = cli.main(["audit", "export", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_is_written(state: Path, tmp_path: Path, capsys, name: FormatName) -> None:
    """One document says what was written; without the log's key a note says that it is not entered."""
    out = tmp_path / "out"
    code, text, err = run(capsys, state, "--format", name, "--out", out, "--key", VKEY, "--json")
    assert code == ExitCode.OK
    document = {"out": str(out), "log": KEY.name, "entries": 3, "first": 0, "last": 2, "entered": False}
    assert json.loads(text) == document
    assert "this export is not entered in the log" in err
    assert f"{KEY.name}" in out.read_text()


def test_an_export_is_entered_by_the_logs_key(state: Path, own, tmp_path: Path, capsys) -> None:
    """The entry is exported too; a cursor then has nothing new, and nothing is entered again."""
    more = ["--format", "ocsf", "--cursor", tmp_path / "cursor", *own, "--json"]
    code, text, err = run(capsys, state, "--out", tmp_path / "1", *more)
    assert (code, err) == (ExitCode.OK, "")
    assert json.loads(text) | {"out": ""} == {
        "out": "", "log": KEY.name, "entries": 4, "first": 0, "last": 3, "entered": True,
    }  # fmt: skip
    assert json.loads((tmp_path / "1").read_text().splitlines()[3])["metadata"]["event_code"] == "log.exported"
    document = json.loads(run(capsys, state, "--out", tmp_path / "2", *more)[1])
    assert (document["entries"], document["entered"]) == (0, False)
    assert not (tmp_path / "2").exists()


def test_tiles_are_entered_too(state: Path, own, tmp_path: Path, capsys) -> None:
    """By the same option; the tiles hold the entry."""
    code, text, _ = run(capsys, state, "--out", tmp_path / "tiles", *own, "--json")
    assert code == ExitCode.OK
    assert json.loads(text) == {"out": str(tmp_path / "tiles"), "log": KEY.name, "entries": 4, "entered": True}
    capsys.readouterr()
    cli.main(["audit", "show", str(tmp_path / "tiles"), "3", "--json"])
    entry = json.loads(capsys.readouterr().out)["entry"]
    assert entry["details"] == {"format": "tiles", "destination": "directory", "first": 0, "last": 3}


@pytest.mark.parametrize("name", ["syslog", "cef"])
def test_a_receiver_gets_it_over_tls(state: Path, own, tmp_path: Path, capsys, name: str) -> None:
    """With this side's certificate, where one is demanded."""
    certificates = Certificates(tmp_path / "tls")
    certificate, key = certificates.issue("north.example")
    with receiving(certificates.issue("127.0.0.1"), clients=certificates.ca) as receiver:
        to = ["--to", receiver.address, "--ca", certificates.ca]
        mine = ["--certificate", certificate, "--certificate-key", key]
        code, text, _ = run(capsys, state, "--format", name, *to, *mine, *own, "--json")
    assert (code, json.loads(text)["to"]) == (ExitCode.OK, receiver.address)
    assert len(receiver.received) == 4
    assert (b" CEF:0|" in receiver.received[3]) is (name == "cef")


def test_a_receiver_that_is_not_the_one_that_was_named_gets_nothing(state: Path, own, tmp_path: Path, capsys) -> None:
    """Exit 13, and the log says nothing of an export."""
    certificates = Certificates(tmp_path / "tls")
    with receiving(certificates.issue("siem.example")) as receiver:
        to = ["--to", receiver.address, "--ca", certificates.ca]
        code, text, _ = run(capsys, state, "--format", "syslog", *to, *own, "--json")
    assert (code, json.loads(text)["error"]["code"]) == (ExitCode.TRUST, "SF350")
    assert receiver.received == []
    cli.main(["audit", "list", str(state), "--json"])
    assert json.loads(capsys.readouterr().out)["total"] == 3


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "ocsf"],
        ["--format", "ocsf", "--out", "out", "--to", "tls://127.0.0.1:1"],
        ["--format", "ocsf", "--to", "tls://127.0.0.1:1"],
        ["--to", "tls://127.0.0.1:1"],
        ["--format", "cef", "--to", "127.0.0.1:1"],
        ["--format", "cef", "--to", "tls://127.0.0.1:1", "--certificate", "a"],
        ["--format", "csv", "--out", "out", "--ca", "a"],
        ["--format", "csv", "--out", "out", "--cursor", "c", "--since", "2026-03-01"],
        ["--out", "out", "--cursor", "c"],
        ["--out", "out", "--until", "2026-03-01"],
        ["--format", "xml", "--out", "out"],
    ],
)
def test_what_does_not_fit_together_is_a_usage_error(state: Path, tmp_path: Path, capsys, options, monkeypatch) -> None:
    """Told before anything is read or written."""
    monkeypatch.chdir(tmp_path)
    assert run(capsys, state, *options)[0] == ExitCode.USAGE
    assert not (tmp_path / "out").exists()


def test_another_logs_key_enters_nothing(state: Path, own, tmp_path: Path, capsys) -> None:
    """Exit 12, and nothing leaves."""
    other = LogSigningKey(KEY.name, b"\x03" * 32, b"\x04" * 32)
    save_key(tmp_path / "other.key", other, PASSPHRASE)
    by = ["--log-key", tmp_path / "other.key", *own[2:]]
    assert run(capsys, state, "--format", "csv", "--out", tmp_path / "out", *by)[0] == ExitCode.INTEGRITY
    assert not (tmp_path / "out").exists()
