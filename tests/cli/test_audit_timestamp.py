"""`semfed audit timestamp` keeps what an authority outside signed, and a log that was written again does not fit it."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure import cli
from semfed_secure.crypto.timestamps import authority_certificates, request_timestamp, verify_timestamp
from semfed_secure.errors import ExitCode, IntegrityError
from tests.audit.authority import OPENSSL, Authority, answering, founded, openssl
from tests.cli.test_audit_cli import VKEY, write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    OPENSSL is None, reason="the openssl command is the authority here, and is not installed"
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that the tests share."""
    return founded(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Run ``semfed audit … --json``; its exit status and document."""

    def runner(*arguments: object) -> tuple[int, Any]:
        code = cli.main(["audit", *map(str, arguments), "--json"])
        told = capsys.readouterr()
        return code, json.loads(told.out or told.err)

    return runner


def stamp(
    run: Any, state: Path, out: Path, authority: Authority, answer: Callable[[bytes], bytes] | None = None
) -> Any:
    """Have the log in ``state`` stamped."""
    with answering(answer or authority.answer) as url:
        return run("timestamp", state, "--authority", url, "--authority-certificates", authority.root, "--out", out)


def verify(run: Any, state: Path, out: Path, root: Path) -> Any:
    """Hold a log against what was stamped."""
    return run("verify", state, "--key", VKEY, "--stamped", out, "--authority-certificates", root)


def test_a_log_is_stamped_and_still_fits_when_it_has_grown(run: Any, tmp_path: Path, authority: Authority) -> None:
    """The checkpoint and its timestamp lie side by side; `audit verify` and the openssl command read both."""
    state, out = write_log(tmp_path / "state"), tmp_path / "kept.checkpoint"
    code, stamped = stamp(run, state, out, authority)
    assert (code, stamped["size"]) == (0, 6)
    assert abs(datetime.fromisoformat(stamped["time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    longer = write_log(tmp_path / "longer", days=5)
    for place in (state, longer):
        code, verdict = verify(run, place, out, authority.root)
        assert (code, verdict["stamped"]) == (0, [{"size": 6, "time": stamped["time"]}])
    told = openssl("ts", "-verify", "-data", str(out), "-in", f"{out}.tsr", "-CAfile", str(authority.root))
    assert "Verification: OK" in told


def test_a_log_that_was_written_again_does_not_fit(run: Any, tmp_path: Path, authority: Authority) -> None:
    """Under its own key and whole in itself, but shorter than what was vouched for, or other than it: exit 12."""
    out = tmp_path / "kept.checkpoint"
    stamp(run, write_log(tmp_path / "state"), out, authority)
    shorter, other = write_log(tmp_path / "shorter", days=2), write_log(tmp_path / "other", reason="no reason")
    for state, told in ((shorter, "SF504"), (other, "SF505")):
        assert run("verify", state, "--key", VKEY)[0] == 0
        code, answer = verify(run, state, out, authority.root)
        assert (code, answer["error"]["code"]) == (ExitCode.INTEGRITY, told)


def test_a_timestamp_of_something_else_vouches_for_nothing(run: Any, tmp_path: Path, authority: Authority) -> None:
    """SF520: of another checkpoint, of another authority, with a byte changed, or no timestamp at all."""
    state, out = write_log(tmp_path / "state"), tmp_path / "kept.checkpoint"
    stamp(run, state, out, authority)
    evidence, other = out.with_name(f"{out.name}.tsr"), tmp_path / "other.checkpoint"
    whole = evidence.read_bytes()
    stamp(run, write_log(tmp_path / "longer", days=4), other, authority)
    strangers = founded(tmp_path / "strangers")
    assert verify(run, state, out, strangers.root)[1]["error"]["code"] == "SF520"
    for wrong in (other.with_name(f"{other.name}.tsr").read_bytes(), b"", whole[:-1]):
        evidence.write_bytes(wrong)
        code, told = verify(run, state, out, authority.root)
        assert (code, told["error"]["code"]) == (ExitCode.INTEGRITY, "SF520")


def test_no_flipped_byte_changes_what_is_vouched_for(authority: Authority) -> None:
    """SF520, or the same time: the numbers of versions and the name of the algorithm are under no signature."""
    roots, statement = authority_certificates(authority.root.read_bytes()), b"log\n6\nroot\n"
    whole = authority.answer(request_timestamp(statement).encoded)
    right, accepted = verify_timestamp(whole, statement, authority=roots), 0
    for place in range(len(whole)):
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        with contextlib.suppress(IntegrityError):
            assert verify_timestamp(flipped, statement, authority=roots) == right
            accepted += 1
    assert accepted < 20


def test_an_authority_that_answers_with_an_older_timestamp_is_refused(
    run: Any, tmp_path: Path, authority: Authority
) -> None:
    """The nonce is another one, and nothing is written; nor from a stranger, nor of garbage."""
    state, out, kept = write_log(tmp_path / "state"), tmp_path / "kept.checkpoint", []

    def remember(question: bytes) -> bytes:
        kept.append(authority.answer(question))
        return kept[0]

    assert stamp(run, state, tmp_path / "first", authority, remember)[0] == 0
    for answer in (remember, founded(tmp_path / "strangers").answer, lambda _question: b"hello"):
        code, told = stamp(run, state, out, authority, answer)
        assert (code, told["error"]["code"]) == (ExitCode.INTEGRITY, "SF520")
    assert not list(tmp_path.glob("kept*"))


def test_nobody_at_the_address_is_said(run: Any, tmp_path: Path, authority: Authority) -> None:
    """SF351 for a closed door, no address, a flood; SF105 for no certificates; SF123 before anybody is asked."""
    state, out = write_log(tmp_path / "state"), tmp_path / "kept.checkpoint"
    given = ("--authority-certificates", authority.root, "--out", out)
    for address in ("http://127.0.0.1:9", "nowhere", "http://"):
        assert run("timestamp", state, "--authority", address, *given)[1]["error"]["code"] == "SF351"
    assert stamp(run, state, out, authority, lambda _question: bytes(1 << 17))[1]["error"]["code"] == "SF351"
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    kept = tmp_path / "stamped"
    stamp(run, state, kept, authority)
    assert verify(run, state, kept, empty)[1]["error"]["code"] == "SF105"
    assert run("verify", state, "--stamped", out)[1]["error"]["code"] == "SF105"
    out.write_text("")
    assert stamp(run, state, out, authority)[1]["error"]["code"] == "SF123"


def test_only_a_log_that_verifies_is_stamped(run: Any, tmp_path: Path, authority: Authority) -> None:
    """Exit 12, and the authority is not asked."""
    state, asked = write_log(tmp_path / "state"), []
    data = (state / "site.db").read_bytes()
    (state / "site.db").write_bytes(data.replace(b"text is not granted", b"text is now granted"))
    code, _ = stamp(run, state, tmp_path / "kept", authority, lambda question: asked.append(question) or b"")
    assert (code, asked) == (ExitCode.INTEGRITY, [])


def test_without_the_extra_its_name_is_said(run: Any, tmp_path: Path, authority: Authority, monkeypatch: Any) -> None:
    """SF103 names `semfed-secure[timestamp]`."""
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    code, told = stamp(run, write_log(tmp_path / "state"), tmp_path / "kept", authority)
    assert (code, told["error"]["code"]) == (ExitCode.USAGE, "SF103")
    assert "semfed-secure[timestamp]" in told["error"]["message"]
