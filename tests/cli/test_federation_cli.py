"""From an empty directory to an enrolled member on the command line, and coded refusals on the way."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from semfed_secure import cli
from semfed_secure.cli import federation
from semfed_secure.clock import FixedClock, SystemClock
from semfed_secure.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("cheap_key_files")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A working directory with a passphrase file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    (tmp_path / "passphrase").chmod(0o600)
    return tmp_path


@pytest.fixture
def semfed(capsys):
    """Run ``semfed …`` and return its exit status, its JSON document if it printed one, and stderr."""

    def run(line: str) -> tuple[int, dict, str]:
        status = cli.main(line.split())
        out, err = capsys.readouterr()
        return status, json.loads(out) if out.startswith("{") else {"text": out}, err

    return run


WITH = "--passphrase-file passphrase"
MEMBER = f"keys create --federation hospitals --domain north.example --jurisdiction US-CA {WITH}"


def client(name: str) -> str:
    """As what a member is invited whose keys `MEMBER` makes."""
    return f"--role client --domain {name}.example --jurisdiction US-CA"


def found(semfed, more: str = "") -> dict:
    """Found the federation of the tests."""
    status, document, err = semfed(f"federation init root --id hospitals {more} {WITH} --json")
    assert (status, err) == (ExitCode.OK, "")
    return document


def test_a_federation_from_nothing_to_its_first_members(home, semfed) -> None:
    """init, keys create, add-member, roster: each prints one JSON document that the next step agrees with."""
    root = found(semfed, "--root-keys 3 --threshold 2")
    assert (root["federation"], root["threshold"], root["root_keys"], root["sequence"]) == ("hospitals", 2, 3, 1)
    _, north, _ = semfed(f"{MEMBER} --member north --role client --out north --json")
    _, hub, _ = semfed(f"{MEMBER} --member hub --role server --role auditor --out hub --json")
    assert north["roles"] == ["client"]
    assert north["sealing_key_id"] is None
    assert hub["roles"] == ["auditor", "server"]
    assert hub["sealing_key_id"].startswith("sha256:")
    for name in ("north", "hub"):
        status, added, _ = semfed(f"federation add-member --without-token root {name}/member.record {WITH} --json")
        assert (status, added["added"], added["root_digest"]) == (ExitCode.OK, [name], root["root_digest"])
    status, roster, _ = semfed("federation roster root --json")
    assert status == ExitCode.OK
    assert roster["sequence"] == 3
    assert {member["member"]: member["status"] for member in roster["members"]} == {"hub": "valid", "north": "valid"}
    assert roster["members"][1]["signing_key_ids"] == north["signing_key_ids"]
    assert roster["members"][1]["log_key"] == north["log_key"]
    assert (home / "root" / "roster").exists()


def test_several_members_join_in_one_roster_or_not_at_all(home, semfed) -> None:
    """Several records make one new roster; one that is refused keeps the others out."""
    found(semfed)
    for name in ("north", "south"):
        semfed(f"{MEMBER} --member {name} --role client --out {name}")
    both = "north/member.record south/member.record"
    for bad, code in (("root/federation.root", "SF331"), ("north/member.record", "SF331"), ("none", "SF102")):
        status, _, error = semfed(f"federation add-member --without-token root {both} {bad} {WITH}")
        assert status != ExitCode.OK
        assert code in error
    assert semfed("federation roster root --json")[1]["members"] == []
    status, added, _ = semfed(f"federation add-member --without-token root {both} {WITH} --json")
    assert (status, added["added"], added["sequence"]) == (ExitCode.OK, ["north", "south"], 2)


def test_two_people_sign_with_their_own_keys_and_passphrases(home, semfed) -> None:
    """Founded under two passphrases, the keys taken away; both are needed to add a member."""
    (home / "other").write_text("another horse, another battery\n")
    (home / "other").chmod(0o600)
    found(semfed, "--root-keys 2 --threshold 2 --passphrase-file other")
    for number in (1, 2):
        (home / "root" / f"root-{number}.key").rename(home / f"{number}.key")
    semfed(f"{MEMBER} --member north --role client --out north")
    add = "federation add-member --without-token root north/member.record --json --root-key 1.key --root-key 2.key"
    add += " --passphrase-file"
    status, document, _ = semfed(f"{add} other")
    assert (status, document["error"]["code"]) == (ExitCode.USAGE, "SF121")
    status, document, _ = semfed(f"{add} other {WITH}")
    assert (status, document["added"]) == (ExitCode.OK, ["north"])


def test_people_get_text(home, semfed) -> None:
    """The digest to compare when a federation is founded, a table of its members, a list of a member's keys."""
    status, founded, _ = semfed(f"federation init root --id hospitals {WITH}")
    assert status == ExitCode.OK
    assert "compare its digest over another channel:\nsha256:" in founded["text"]
    _, shown, _ = semfed(f"{MEMBER} --member north --role client --out north")
    assert shown["text"].startswith("federation       hospitals\nmember           north\n")
    _, added, _ = semfed(f"federation add-member --without-token root north/member.record {WITH}")
    assert added["text"].startswith("Added north (client, US-CA).\nRoster 2 is in force until ")
    _, roster, _ = semfed("federation roster root")
    assert roster["text"].splitlines()[4].split()[:4] == ["north", "client", "US-CA", "north.example"]


def test_keys_show_needs_no_passphrase_and_agrees_with_create(home, semfed) -> None:
    """The same document, from the record alone."""
    _, created, _ = semfed(f"{MEMBER} --member north --role client --out north --json")
    (home / "passphrase").unlink()
    status, shown, _ = semfed("keys show north --json")
    assert (status, shown) == (ExitCode.OK, created)


def test_no_output_shows_a_secret(home, semfed) -> None:
    """Neither passphrase nor seed, in text or JSON."""
    from semfed_secure.identity.member_files import load_member_keys

    _, created, err = semfed(f"{MEMBER} --member hub --role server --out hub --json")
    keys = load_member_keys(home / "hub", b"correct horse battery staple")
    shown = json.dumps(created) + err
    for key in (keys.signing, keys.opening, keys.log):
        assert key.export_secret().hex()[:16] not in shown
    assert "correct" not in shown


def test_the_passphrase_may_come_from_the_environment(home, semfed, monkeypatch) -> None:
    """SEMFED_PASSPHRASE, and without it or a file a coded refusal."""
    line = "federation init root --id hospitals --json"
    status, document, _ = semfed(line)
    assert (status, document["error"]["code"]) == (ExitCode.USAGE, "SF102")
    monkeypatch.setenv("SEMFED_PASSPHRASE", "correct horse battery staple")
    assert semfed(line)[0] == ExitCode.OK


def test_a_readable_passphrase_file_is_refused(home, semfed) -> None:
    """SF122: it would be as good as none."""
    (home / "passphrase").chmod(0o644)
    status, document, _ = semfed(f"federation init root --id hospitals {WITH} --json")
    assert (status, document["error"]["code"]) == (ExitCode.USAGE, "SF122")


REFUSED = {
    "founded_twice": (f"federation init root --id hospitals {WITH}", ExitCode.USAGE, "SF123"),
    "threshold_above_keys": (f"federation init other --id x --threshold 2 {WITH}", ExitCode.USAGE, "SF105"),
    "name_with_capitals": (f"federation init other --id Hospitals {WITH}", ExitCode.USAGE, "SF105"),
    "keys_twice": (f"{MEMBER} --member north --role client --out north", ExitCode.USAGE, "SF123"),
    "record_missing": (f"federation add-member --without-token root none {WITH}", ExitCode.USAGE, "SF102"),
    "record_is_a_root": (
        f"federation add-member --without-token root root/federation.root {WITH}",
        ExitCode.TRUST,
        "SF331",
    ),
    "record_of_another_federation": (
        f"federation add-member --without-token root bank/member.record {WITH}",
        ExitCode.TRUST,
        "SF331",
    ),
    "no_federation_here": ("federation roster north", ExitCode.USAGE, "SF102"),
    "no_keys_here": ("keys show root", ExitCode.USAGE, "SF102"),
    "record_of_new_keys_without_a_sequence": (
        f"federation add-member --without-token root again/member.record {WITH}",
        ExitCode.TRUST,
        "SF331",
    ),
}


@pytest.mark.parametrize("defect", REFUSED)
def test_a_mistake_is_a_coded_refusal(home, semfed, defect) -> None:
    """The exit code of the catalogue, one line on stderr, the code in the JSON document, no traceback."""
    found(semfed)
    semfed(f"{MEMBER} --member north --role client --out north")
    semfed(f"federation add-member --without-token root north/member.record {WITH}")
    semfed(f"{MEMBER} --member north --role client --out again")
    semfed(f"{MEMBER.replace('hospitals', 'banks')} --member north --role client --out bank")
    line, exit_code, code = REFUSED[defect]
    status, document, err = semfed(f"{line} --json")
    assert (status, document["error"]["code"]) == (exit_code, code)
    assert err.startswith(f"semfed: [{code}] ")
    assert err.count("\n") == 1


def test_a_tampered_roster_is_refused(home, semfed) -> None:
    """One flipped byte: exit 13, SF322."""
    found(semfed)
    newest = home / "root" / "rosters" / "0000001"
    data = bytearray(newest.read_bytes())
    data[-10] ^= 1
    newest.write_bytes(data)
    status, document, _ = semfed("federation roster root --json")
    assert (status, document["error"]["code"]) == (ExitCode.TRUST, "SF322")


def test_rotated_keys_replace_the_old_ones(home, semfed) -> None:
    """A new directory, a higher sequence, the same member."""
    found(semfed)
    for out, sequence in (("old", 1), ("new", 2)):
        semfed(f"{MEMBER} --member north --role client --out {out} --sequence {sequence}")
        assert semfed(f"federation add-member --without-token root {out}/member.record {WITH}")[0] == ExitCode.OK
    _, roster, _ = semfed("federation roster root --json")
    _, new, _ = semfed("keys show new --json")
    assert [member["sequence"] for member in roster["members"]] == [2]
    assert roster["members"][0]["signing_key_ids"] == new["signing_key_ids"]


def invited(semfed, name: str, directory: str, more: str = "") -> str:
    """Invite a member, make its keys, and return the path of its request."""
    assert semfed(f"federation invite root {name} {client(name)} --out {directory}.token {WITH}")[0] == ExitCode.OK
    create = MEMBER.replace("north.example", f"{name}.example")
    semfed(f"{create} --member {name} --role client --out {directory} {more}")
    status, document, _ = semfed(f"keys enrol {directory} --token-file {directory}.token --json")
    assert (status, document["member"]) == (ExitCode.OK, name)
    return str(document["request_file"])


def test_a_member_is_invited_enrolled_rotated_and_revoked(home, semfed) -> None:
    """Each command's document agrees with the next, and the root's log verifies and names every step."""
    found(semfed)
    request = invited(semfed, "north", "north")
    assert (home / "north.token").stat().st_mode & 0o777 == 0o600
    assert semfed(f"federation add-member root {request} {WITH} --json")[1]["added"] == ["north"]
    again = semfed(f"federation add-member root {request} {WITH} --json")[1]
    assert again["error"]["code"] == "SF334"
    _, rotated, _ = semfed(f"keys rotate north --out new --overlap-days 7 {WITH} --json")
    assert (rotated["sequence"], len(rotated["signing_key_ids"])) == (2, 2)
    assert rotated["overlap_until"] is not None
    assert semfed(f"federation add-member root new/member.record {WITH}")[0] == ExitCode.OK
    _, revoked, _ = semfed(f"federation revoke root north --reason left {WITH} --json")
    assert (revoked["revoked"], revoked["number"], revoked["record_sequence"]) == ("north", 1, 2)
    _, roster, _ = semfed("federation roster root --json")
    assert [(row["number"], row["member"], row["reason"]) for row in roster["revocations"]] == [(1, "north", "left")]
    assert roster["members"][0]["status"] == "revoked"
    assert "revocation 1: north" in semfed("federation roster root")[1]["text"]
    assert semfed("audit verify root --json")[0] == ExitCode.OK
    _, log, _ = semfed("audit list root --json")
    assert [entry["type"] for entry in log["entries"]] == [
        "key.created",
        "roster.signed",
        "member.invited",
        "member.added",
        "roster.signed",
        "member.refused",
        "member.rotated",
        "roster.signed",
        "member.revoked",
        "roster.signed",
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("federation add-member root north/member.record", "SF335"),
        ("federation revoke root south --reason left", "SF306"),
        (f"federation invite root North {client('north')} --out token", "SF105"),
        (f"federation invite root north {client('north')} --out nowhere/token", "SF102"),
        (f"federation invite root north {client('north')} --out passphrase", "SF123"),
        (f"federation invite nowhere north {client('north')} --out token", "SF102"),
    ],
)
def test_a_refused_change_of_members_has_its_code_and_changes_nothing(home, semfed, line, code) -> None:
    """No roster, no token."""
    found(semfed)
    semfed(f"{MEMBER} --member north --role client --out north")
    assert semfed(f"{line} {WITH} --json")[1]["error"]["code"] == code
    assert semfed("federation roster root --json")[1]["sequence"] == 1
    assert not (home / "token").exists()


@pytest.mark.parametrize(
    ("content", "mode", "code"), [("no token", 0o600, "SF104"), ("A" * 43, 0o644, "SF122"), ("", 0o600, "SF104")]
)
def test_a_token_file_that_is_none_or_open_to_others_is_refused(home, semfed, content, mode, code) -> None:
    """Before a request is written."""
    semfed(f"{MEMBER} --member north --role client --out north")
    (home / "token").write_text(content)
    (home / "token").chmod(mode)
    assert semfed("keys enrol north --token-file token --json")[1]["error"]["code"] == code
    assert not (home / "north/enrolment.request").exists()


def test_a_second_token_makes_a_second_request(home, semfed) -> None:
    """The first token expired: the request is made anew, in its place."""
    found(semfed)
    request = invited(semfed, "north", "north")
    first = (home / request).read_bytes()
    semfed(f"federation invite root north {client('north')} --out second.token {WITH}")
    status, document, _ = semfed("keys enrol north --token-file second.token --json")
    assert (status, document["request_file"]) == (ExitCode.OK, request)
    assert (home / request).read_bytes() != first
    assert semfed(f"federation add-member root {request} {WITH} --json")[1]["added"] == ["north"]


def test_an_expired_roster_is_shown_and_renewed(home, semfed, monkeypatch) -> None:
    """The root sees what expired, in text and JSON, and renews it by one command."""
    found(semfed)
    semfed(f"federation add-member root {invited(semfed, 'north', 'north')} {WITH}")
    assert semfed("federation roster root --json")[1]["expired"] is False
    later = FixedClock(SystemClock().now() + timedelta(days=100))
    monkeypatch.setattr(federation, "SystemClock", lambda: later)
    status, roster, _ = semfed("federation roster root --json")
    assert (status, roster["expired"], roster["members"][0]["member"]) == (ExitCode.OK, True, "north")
    assert ", EXPIRED" in semfed("federation roster root")[1]["text"]
    status, renewed, _ = semfed(f"federation renew root {WITH} --json")
    assert (status, renewed["sequence"], renewed["expired"]) == (ExitCode.OK, 3, False)
    assert semfed("federation roster root --json")[1]["members"][0]["member"] == "north"


def test_what_changes_is_shown_before_it_is_signed(home, semfed, monkeypatch) -> None:
    """The new record's facts beside the standing one's; whoever says no at a terminal signs nothing."""
    found(semfed)
    add = f"federation add-member root {invited(semfed, 'north', 'north')} {WITH}"
    monkeypatch.setattr(federation, "_interactive", lambda: True)
    monkeypatch.setattr(sys, "stdin", StringIO("n\n"))
    status, _, shown = semfed(add)
    assert status == ExitCode.INTERRUPTED
    assert "north: not a member before" in shown
    assert all(f"{name}: {value}" in shown for name, value in (("roles", "client"), ("domain", "north.example")))
    assert semfed("federation roster root --json")[1]["sequence"] == 1
    assert semfed(f"{add} --yes")[0] == ExitCode.OK
    new = f"{MEMBER} --member north --role client --role auditor --out new --sequence 2".replace("US-CA", "DE")
    semfed(new)
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))
    status, _, shown = semfed(f"federation add-member root new/member.record --without-token {WITH}")
    assert status == ExitCode.OK
    assert "roles: auditor, client (before: client)" in shown
    assert "jurisdiction: DE (before: US-CA)" in shown
    assert "domain: north.example\n" in shown


def test_a_root_that_replaces_another_begins_above_its_rosters(home, semfed) -> None:
    """Whoever saw the old root's newest roster takes the new one's first."""
    assert found(semfed, "--sequence 100")["sequence"] == 100
    semfed(f"{MEMBER} --member north --role client --out north")
    _, added, _ = semfed(f"federation add-member root north/member.record --without-token {WITH} --json")
    assert added["sequence"] == 101
