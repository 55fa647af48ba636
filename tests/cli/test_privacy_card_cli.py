"""`semfed privacy-card` prints a site's card, writes it down, and gives none of what does not verify."""

from __future__ import annotations

import hashlib
import json
import sqlite3

import pytest

from semfed_secure import cli
from semfed_secure.errors import ExitCode
from semfed_secure.identity.member_files import load_member_record
from tests.client.world import UNSAFE, World
from tests.tampering import disarm


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The directory of a site that has opened its log and its ledger."""
    world = World(tmp_path_factory.mktemp("federation"))
    world.client(mechanism=UNSAFE).close()
    yield world.federation.site("bay")
    world.federation.close()


@pytest.fixture
def run(capsys):
    """Exit code, stdout, stderr of one command."""

    def command(*arguments):
        code = cli.main(["privacy-card", *map(str, arguments)])
        return code, *capsys.readouterr()

    return command


def test_a_person_reads_markdown_and_a_machine_json(place, run):
    """Of a state directory; nothing changes."""
    before = (place / "state" / "site.db").read_bytes()
    code, text, _ = run("--state", place / "state")
    assert (code, text.splitlines()[0]) == (ExitCode.OK, "# Privacy card of `bay.example/test-federation/bay`")
    code, text, _ = run("--state", place / "state" / "site.db", "--json")
    card = json.loads(text)
    assert (code, card["format"], card["log"]["key_was_given"]) == (ExitCode.OK, "semfed/privacy-card/1", False)
    assert (place / "state" / "site.db").read_bytes() == before


def test_a_site_file_and_an_option_name_the_key_of_the_log(place, run):
    """The one of the member record; under another one there is no card."""
    own = load_member_record(place / "keys").log_key
    for arguments in (["--config", place / "site.toml"], ["--state", place / "state", "--key", own]):
        code, text, _ = run(*arguments, "--json")
        assert (code, json.loads(text)["log"]["key_was_given"]) == (ExitCode.OK, True)
    other = load_member_record(place.parent / "hill" / "keys").log_key
    code, text, error = run("--state", place / "state", "--key", other)
    assert (code, text) == (ExitCode.INTEGRITY, "")
    assert "SF503" in error


def test_a_card_that_is_written_down_is_in_the_log(place, run, tmp_path, capsys):
    """Two files; the digest of the entry is that of the JSON file."""
    code, _, error = run("--config", place / "site.toml", "--out", tmp_path / "card.md")
    assert code == ExitCode.OK
    assert "entered in the audit log" in error
    assert cli.main(["audit", "list", str(place / "state"), "--type", "report.created", "--json"]) == ExitCode.OK
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    body = (tmp_path / "card.json").read_bytes()
    assert entry["details"]["digest"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert (tmp_path / "card.md").read_text().startswith("# Privacy card")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "SF101"),
        (["--config", "a", "--state", "b"], "SF101"),
        (["--state", "a", "--out", "card.md"], "SF101"),
        (["--config", "a", "--out", "card.md", "--key", "k+1"], "SF101"),
        (["--state", "/nonexistent/place"], "SF102"),
    ],
)
def test_a_wrong_call_is_a_coded_refusal(arguments, code, run):
    """Exit 2, no traceback, no card."""
    status, text, error = run(*arguments)
    assert (status, text) == (ExitCode.USAGE, "")
    assert code in error


def test_a_damaged_log_has_no_card(place, run, tmp_path):
    """Exit 12 with the verifier's code, and no file."""
    copy = tmp_path / "site.db"
    with sqlite3.connect(place / "state" / "site.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
        disarm(target)
        target.execute("DELETE FROM log_entry WHERE position = 0")
    code, text, error = run("--state", copy)
    assert (code, text) == (ExitCode.INTEGRITY, "")
    assert "SF508" in error
