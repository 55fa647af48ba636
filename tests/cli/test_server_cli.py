"""``semfed server`` and ``semfed round``: a real process on loopback, killed, restarted, and none the worse for it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from semfed_secure.audit.verify import verify_log
from semfed_secure.cli import main
from semfed_secure.client.transport import HttpTransport
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import ConsensusError, ExitCode, PeerError
from semfed_secure.identity.member_files import load_member_record
from semfed_secure.ids import RoundId
from semfed_secure.wire.messages import (
    CONSENSUS_LIMITS,
    MANIFEST_LIMITS,
    Consensus,
    MessageType,
    parse_consensus,
    parse_manifest,
)
from tests.server.files import candidate_options, server_process, write_server
from tests.server.world import SITES, post, votes

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.wire.messages import RoundManifest

ROUND = RoundId("round-1")


@cache
def _template(base: Path) -> Path:
    """Sealing keys under Argon2id takes a second: once per run."""
    directory = base / "template"
    directory.mkdir()
    write_server(directory)
    return directory


@pytest.fixture
def config(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server file with everything beside it."""
    template = _template(tmp_path_factory.getbasetemp())
    shutil.copytree(template, tmp_path / "server")
    return tmp_path / "server" / "server.toml"


@pytest.fixture
def semfed(config: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command on this server; its JSON document."""

    def run(*words: str, exit_code: int = ExitCode.OK) -> dict[str, Any]:
        status = main([*words, "--config", str(config), "--json"])
        captured = capsys.readouterr()
        assert status == exit_code, captured.err
        document: dict[str, Any] = json.loads(captured.out)
        return document

    return run


def open_round(semfed: Any, config: Path, *more: str, closes_in: int = 600) -> dict[str, Any]:
    """Open the votes round of the tests."""
    prompts = str(config.parent / "votes.jsonl")
    words = ("round", "open", "--prompts", prompts, "--kind", "votes", "--id", ROUND, "--name", "triage")
    document: dict[str, Any] = semfed(*words, "--closes-in", str(closes_in), *candidate_options(), *more)
    return document


def server_key(config: Path) -> Any:
    """What the server's messages verify under."""
    return load_member_record(config.parent / "keys").signing_keys


def answer(name: str, manifest: RoundManifest, *indices: int) -> bytes:
    """A contribution body, sealed to the key of the round."""
    return post(name, manifest, votes(*indices))


def manifest_of(config: Path, transport: HttpTransport) -> RoundManifest:
    """The verified manifest."""
    data = transport.manifest(ROUND)
    return parse_manifest(verify(MessageType.MANIFEST, data, server_key(config), limits=MANIFEST_LIMITS).payload)


def wait_for_consensus(config: Path, transport: HttpTransport) -> Consensus:
    """The verified consensus, as soon as it is there."""
    deadline = time.monotonic() + 20
    while True:
        try:
            data = transport.consensus(ROUND)
        except ConsensusError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            verified = verify(MessageType.CONSENSUS, data, server_key(config), limits=CONSENSUS_LIMITS)
            return parse_consensus(verified.payload)


def events(config: Path) -> list[str]:
    """Types of all entries of the server's log, which must verify."""
    verdict = verify_log(config.parent / "state" / "server.db", key=load_member_record(config.parent / "keys").log_key)
    return [entry.event.type.value for entry in _entries(config, verdict)]


def _entries(config: Path, _verdict: object) -> list[Any]:
    from semfed_secure.audit.events import parse_entry
    from semfed_secure.storage import Database, log_rows

    database = Database.open_read_only(config.parent / "state" / "server.db")
    with database.snapshot() as tx:
        found = [parse_entry(row.body) for row in log_rows.walk_entries(tx)]
    database.close()
    return found


def test_a_running_server_takes_up_a_round_that_another_process_opens(config: Path, semfed: Any) -> None:
    """Open, contribute, close by hand, consensus, status: the operator's whole day."""
    with server_process(config) as (process, url), HttpTransport(url) as transport:
        opened = open_round(semfed, config)
        manifest = manifest_of(config, transport)
        assert opened["prompt_set_digest"] == f"sha256:{manifest.prompt_set_digest.hex()}"
        for name in SITES[:3]:
            transport.post(ROUND, answer(name, manifest))
        transport.post(ROUND, answer("moor", manifest, 9))
        assert semfed("round", "close", ROUND) == {"round_id": ROUND, "state": "closed"}
        assert wait_for_consensus(config, transport).admitted_count == 3
        status = semfed("round", "status", ROUND)
        assert (status["state"], status["admitted"]) == ("published", [*SITES[:3]])
        assert status["refused"] == [{"member": "moor", "code": "SF314"}]
        assert [client["influence"]["changed"] for client in status["report"]["groups"][0]["clients"]] == [6, 6, 6]
        assert semfed("round", "status") == {"rounds": [{"round_id": ROUND, "state": "published"}]}
        out = config.parent / "report"
        assert semfed("round", "report", ROUND, "--out", str(out))["files"] == sorted(
            [path.name for path in out.iterdir()], key=lambda name: (not name.startswith("report."), name)
        )
        assert json.loads((out / "report.json").read_text())["report"] == status["report"]
        assert all(f"]({path.name})" in (out / "report.md").read_text() for path in out.glob("*.svg"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert events(config)[-1] == "log.stopped"


def test_kill_9_in_the_middle_of_a_round_loses_nothing(config: Path, semfed: Any) -> None:
    """Killed between contributions and after the last: receipts, slots and the log survive, the round ends well."""
    open_round(semfed, config)
    with server_process(config) as (process, url), HttpTransport(url) as transport:
        manifest = manifest_of(config, transport)
        bodies = {name: answer(name, manifest) for name in SITES}
        receipts = {name: transport.post(ROUND, bodies[name]) for name in SITES[:2]}
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
    with server_process(config) as (process, url), HttpTransport(url) as transport:
        assert {name: transport.post(ROUND, bodies[name]) for name in SITES[:2]} == receipts
        changed = httpx.post(
            f"{url}/v1/rounds/{ROUND}/contributions",
            content=answer("bay", manifest, 1, 1, 1, 1, 1, 1),
            headers={"content-type": "application/cose"},
        )
        assert changed.status_code == 422, "what a member said before the crash is what it said"
        receipts |= {name: transport.post(ROUND, bodies[name]) for name in SITES[2:]}
        process.kill()  # the last contribution closes the round: this hits closing, forming or publishing
        process.wait(20)
    with server_process(config) as (_, url), HttpTransport(url) as transport:
        consensus = wait_for_consensus(config, transport)
        assert consensus.admitted_count == 5
        assert [result.label for result in consensus.results[0]] == ["heart", "lung", "skin", "eye", "heart", "lung"]
        assert {name: transport.post(ROUND, bodies[name]) for name in SITES} == receipts
    found = events(config)
    assert found.count("bundle.admitted") == 5
    assert found.count("bundle.rejected") == 1
    assert found.count("consensus.published") == 1
    assert found.count("log.started") == 3


def half_sent(url: str, body: bytes) -> socket.socket:
    """A connection on which a contribution is on its way, half of it sent."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST /v1/rounds/{ROUND}/contributions HTTP/1.1\r\nhost: x\r\ncontent-type: application/cose\r\n"
    raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
    return raw


def test_a_stopping_server_says_so_first_and_finishes_what_is_in_progress(config: Path, semfed: Any) -> None:
    """SIGTERM: /readyz is 503 while requests still come in; then nobody is accepted, and a half-sent post is judged."""
    config.write_text(config.read_text().replace("port = 0", "port = 0\nnotice_seconds = 2"))
    open_round(semfed, config)
    with server_process(config) as (process, url), HttpTransport(url) as transport:
        manifest = manifest_of(config, transport)
        body = answer("bay", manifest)
        with half_sent(url, body) as raw:
            assert httpx.get(f"{url}/readyz").status_code == 200
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 10
            while (ready := httpx.get(f"{url}/readyz")).status_code == 200:
                assert time.monotonic() < deadline
            assert (ready.status_code, ready.json()["code"]) == (503, "SF348")
            assert transport.post(ROUND, answer("hill", manifest)), "still accepted while it is said"
            while True:
                try:
                    httpx.get(f"{url}/healthz")
                except httpx.ConnectError:
                    break
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert process.poll() is None
            raw.sendall(body[len(body) // 2 :])
            assert raw.recv(4096).startswith(b"HTTP/1.1 201")
        assert process.wait(20) == 0
    assert events(config).count("bundle.admitted") == 2
    assert events(config)[-1] == "log.stopped"


def test_a_second_signal_does_not_wait(config: Path) -> None:
    """Whoever stops it twice means now."""
    config.write_text(config.read_text().replace("port = 0", "port = 0\nnotice_seconds = 300"))
    with server_process(config) as (process, _):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_round_that_ends_while_nobody_serves_is_published_at_the_next_start(config: Path, semfed: Any) -> None:
    """Killed, closed by the operator, started: the consensus is formed of what had come."""
    open_round(semfed, config)
    with server_process(config) as (process, url), HttpTransport(url) as transport:
        manifest = manifest_of(config, transport)
        for name in SITES[:3]:
            transport.post(ROUND, answer(name, manifest))
        process.kill()
        process.wait(20)
    semfed("round", "close", ROUND)
    with server_process(config) as (_, url), HttpTransport(url) as transport:
        assert wait_for_consensus(config, transport).admitted_count == 3
        with pytest.raises(PeerError, match="SF304"):
            transport.post(ROUND, answer("north", manifest))


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("round", "close", "none"), "SF304", ExitCode.TRUST),
        (("round", "status", "none"), "SF304", ExitCode.TRUST),
        (("round", "open", "--prompts", "none.jsonl", "--kind", "votes"), "SF102", ExitCode.USAGE),
        (("round", "open", "--prompts", "none.jsonl", "--kind", "text"), "SF101", ExitCode.USAGE),
        (
            ("round", "open", "--prompts", "none.jsonl", "--kind", "votes", "--closes-in", "99999999"),
            "SF105",
            ExitCode.USAGE,
        ),
    ],
    ids=["close-unknown", "status-unknown", "no-prompts", "text-without-embedder", "open-for-ever"],
)
def test_what_cannot_be_done_ends_with_its_code(semfed: Any, words: tuple[str, ...], code: str, exit_code: int) -> None:
    """One error object, its exit code."""
    assert semfed(*words, exit_code=exit_code)["error"]["code"] == code


def test_status_and_close_read_well_for_people(config: Path, semfed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables, not JSON, when nobody asks for JSON."""
    open_round(semfed, config)
    assert main(["round", "status", ROUND, "--config", str(config)]) == 0
    assert re.search(r"^expected +bay, hill, lake, moor, north$", capsys.readouterr().out, re.MULTILINE)
    assert main(["round", "abort", ROUND, "--config", str(config), "--reason", "a test"]) == 0
    assert capsys.readouterr().out == "round-1 is aborted\n"
    assert semfed("round", "status", ROUND)["reason"] == "SF403 a test"
    out = str(config.parent / "report")
    assert semfed("round", "report", ROUND, "--out", out, exit_code=ExitCode.NOT_READY)["error"]["code"] == "SF401"


def test_keys_of_another_member_do_not_serve(config: Path, semfed: Any) -> None:
    """The file says who the server is; the keys must be its."""
    config.write_text(config.read_text().replace('member = "hub"', 'member = "bay"'))
    assert semfed("round", "close", ROUND, exit_code=ExitCode.USAGE)["error"]["code"] == "SF101"


def test_the_status_needs_no_passphrase(config: Path, semfed: Any) -> None:
    """Whoever may read the database may watch; the keys stay sealed."""
    open_round(semfed, config)
    (config.parent / "passphrase").unlink()
    assert semfed("round", "status", ROUND)["state"] == "announced"
    assert semfed("round", "close", ROUND, exit_code=ExitCode.USAGE)["error"]["code"] == "SF102"
