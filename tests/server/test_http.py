"""The HTTP layer on a real loopback socket: limits before parsing, problem details, and what everybody may read."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from semfed_secure.audit.merkle import leaf_hash, verify_consistency
from semfed_secure.audit.notes import verify_checkpoint
from semfed_secure.audit.tiles import split_bundle
from semfed_secure.client.transport import HttpTransport
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.identity.records import Role
from semfed_secure.ids import RoundId
from semfed_secure.server import bodies
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.http import COSE, PROBLEM, create_app
from semfed_secure.server.service import Service
from semfed_secure.wire.messages import contribution_limits
from tests.server.world import SITES, World, member, post, roster_file, votes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUND = RoundId("round-1")
HUB = member("hub", Role.SERVER).keys
POST = {"content-type": COSE}


@contextmanager
def serving(world: World, *, log_level: str = "critical") -> Iterator[httpx.Client]:
    """The world's server behind uvicorn, in a thread."""
    app = create_app(Service(world.context, version="0"), tick_seconds=0.02)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level=log_level, lifespan="on", ws="none")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)


def url(client: httpx.Client) -> str:
    """Where it listens."""
    return str(client.base_url).rstrip("/")


def test_a_whole_round_through_the_clients_own_transport(world: World) -> None:
    """Announce, read, post, replay, wait, collect: every endpoint a site uses, over HTTP, and no hand moves a round."""
    manifest = world.open()
    with serving(world) as client, HttpTransport(url(client)) as transport:
        assert transport.roster() == (world.directory / "roster").read_bytes()
        assert [(row.round_id, row.state) for row in transport.rounds()] == [(ROUND, "collecting")]
        assert transport.manifest(ROUND) == world.server.store.terms(ROUND).manifest_bytes
        assert transport.prompts(manifest.prompt_set_digest) == world.server.store.terms(ROUND).prompt_set_bytes
        with pytest.raises(ConsensusError, match="SF401"):
            transport.consensus(ROUND)
        sent = [post(name, manifest) for name in SITES]
        receipts = [transport.post(ROUND, body) for body in sent]
        assert [transport.post(ROUND, body) for body in sent] == receipts
        deadline = time.monotonic() + 10
        while client.get(f"/v1/rounds/{ROUND}/status").json()["state"] != "published":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert transport.consensus(ROUND)
        old = verify_checkpoint(manifest.log_checkpoint, HUB.log.public).checkpoint
        new = verify_checkpoint(transport.checkpoint(), HUB.log.public).checkpoint
        proof = transport.consistency(old.size, new.size)
        verify_consistency(old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof)


def test_a_new_roster_is_taken_up_without_a_restart(world: World) -> None:
    """The file changes, the next request sees it; a worse file changes nothing but a metric."""
    with serving(world) as client:
        newer = roster_file(SITES[:3], sequence=2)
        world.publish_roster(newer)
        assert client.get("/v1/roster").content == newer
        world.publish_roster(roster_file(sequence=1))
        assert client.get("/v1/roster").content == newer
        assert "semfed_roster_refused 1" in client.get("/metrics").text


def test_admitted_is_201_rejected_is_422_both_with_a_receipt(world: World) -> None:
    """After the signatures every answer is signed."""
    manifest = world.open()
    with serving(world) as client:
        good = client.post(f"/v1/rounds/{ROUND}/contributions", content=post("bay", manifest), headers=POST)
        bad = client.post(f"/v1/rounds/{ROUND}/contributions", content=post("hill", manifest, votes(9)), headers=POST)
    assert (good.status_code, good.headers["content-type"]) == (201, COSE)
    assert (bad.status_code, bad.headers["content-type"]) == (422, COSE)


@pytest.mark.parametrize(
    ("asset", "status", "code"),
    [("garbage", 400, "SF302"), ("stranger", 403, "SF306"), ("forged", 403, "SF307"), ("other-round", 404, "SF304")],
)
def test_refusals_before_the_signatures_are_problems_with_a_code_and_no_more(
    world: World, asset: str, status: int, code: str
) -> None:
    """RFC 9457, the code, its public title; no sentence, no field, no receipt, no log entry."""
    manifest = world.open()
    content = {
        "garbage": b"garbage",
        "stranger": post("stranger", manifest),
        "forged": post("bay", manifest, signer="hill"),
        "other-round": post("bay", manifest, round_id=RoundId("round-9")),
    }
    with serving(world) as client:
        answer = client.post(f"/v1/rounds/{ROUND}/contributions", content=content[asset], headers=POST)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
        assert set(answer.json()) == {"type", "title", "status", "code"}
        assert answer.json()["code"] == code
        assert "bundle.rejected" not in world.events()


def test_a_body_that_promises_too_much_is_refused_unread(world: World) -> None:
    """The header alone is enough: not one byte of the body is sent."""
    limit = contribution_limits(world.open().kind, 6).max_bytes
    with serving(world) as client, socket.create_connection((client.base_url.host, client.base_url.port)) as raw:
        request = f"POST /v1/rounds/{ROUND}/contributions HTTP/1.1\r\nhost: x\r\ncontent-type: {COSE}\r\n"
        raw.sendall(f"{request}content-length: {limit + 1}\r\n\r\n".encode())
        raw.settimeout(10)
        assert b" 413 " in raw.recv(64)


def test_a_body_without_a_length_is_cut_off_while_it_streams(world: World) -> None:
    """However much is sent, no more than the limit is held; and a body at the limit is read."""
    limit = contribution_limits(world.open().kind, 6).max_bytes
    sent = 0

    def endless(total: int) -> Iterator[bytes]:
        nonlocal sent
        while sent < total:
            sent += 1_000
            yield bytes(min(1_000, total - sent + 1_000))

    with serving(world) as client:
        answer = client.post(f"/v1/rounds/{ROUND}/contributions", content=endless(limit), headers=POST)
        assert (answer.status_code, answer.json()["code"]) == (400, "SF302")
        sent = 0
        try:
            answer = client.post(f"/v1/rounds/{ROUND}/contributions", content=endless(50_000_000), headers=POST)
            assert (answer.status_code, answer.json()["code"]) == (413, "SF301")
        except httpx.WriteError:  # the server hung up while we were still sending
            pass
        assert sent < 50_000_000
        assert 'semfed_refusals_total{code="SF301"} 1' in client.get("/metrics").text


def test_the_servers_own_limit_holds_below_the_rounds(tmp_path: Path) -> None:
    """The lower of the two limits counts."""
    world = World(tmp_path, limits=LimitsSection(max_body_bytes=1_024))
    world.open()
    with serving(world) as client:
        answer = client.post(f"/v1/rounds/{ROUND}/contributions", content=bytes(1_025), headers=POST)
    assert answer.status_code == 413


def sender(client: httpx.Client, *, from_address: str = "127.0.0.1") -> socket.socket:
    """A connection that promised a body and has sent one byte of it."""
    address = (client.base_url.host, client.base_url.port)
    raw = socket.create_connection(address, source_address=(from_address, 0))
    request = f"POST /v1/rounds/{ROUND}/contributions HTTP/1.1\r\nhost: x\r\ncontent-type: {COSE}\r\n"
    raw.sendall(f"{request}content-length: 5000\r\n\r\nx".encode())
    raw.settimeout(10)
    return raw


@pytest.mark.parametrize("pause", [None, 0.02])
def test_a_body_that_makes_no_progress_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch, pause: float | None
) -> None:
    """A connection that sends nothing more, or a byte now and then, holds nothing for long."""
    monkeypatch.setattr(bodies, "STEP_SECONDS", 0.2)
    world.open()
    with serving(world) as client, sender(client) as raw:
        while pause and not select.select([raw], [], [], pause)[0]:
            raw.sendall(b"x")
        assert b" 408 " in raw.recv(64)


def test_slow_senders_keep_nobody_from_contributing(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """Many hold on, from one address and from others; members are answered at once, and no line is logged of it."""
    manifest = world.open()
    with serving(world, log_level="warning") as client, ExitStack() as held:
        many = [held.enter_context(sender(client)) for _ in range(bodies.BODIES_OF_ONE_PEER - 1)]
        many += [held.enter_context(sender(client, from_address=f"127.0.0.{n}")) for n in range(2, 40)]
        start = time.monotonic()
        answer = client.post(f"/v1/rounds/{ROUND}/contributions", content=post("bay", manifest), headers=POST)
        assert answer.status_code == 201
        assert time.monotonic() - start < bodies.STEP_SECONDS / 2
        for raw in many:
            raw.close()
        assert client.get("/healthz").status_code == 200
    assert capfd.readouterr().err == ""


def test_one_address_holds_no_more_than_its_places(world: World) -> None:
    """The next is told at once to come again, by a connection that ends; from elsewhere there is still room."""
    manifest = world.open()
    with serving(world) as client, ExitStack() as held:
        many = [
            held.enter_context(sender(client, from_address="127.0.0.2")) for _ in range(bodies.BODIES_OF_ONE_PEER + 1)
        ]
        answered = select.select(many, [], [], 10)[0]
        assert len(answered) == 1, "whichever the server read last"
        answer = answered[0].recv(4096).lower()
        assert b" 503 " in answer
        assert b"retry-after: 1" in answer
        assert b"connection: close" in answer
        good = client.post(f"/v1/rounds/{ROUND}/contributions", content=post("bay", manifest), headers=POST)
        assert good.status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/rounds/none", 404, "SF304"),
        ("GET", "/v1/rounds/none/consensus", 404, "SF304"),
        ("GET", "/v1/rounds/none/status", 404, "SF304"),
        ("POST", "/v1/rounds/none/contributions", 404, "SF304"),
        ("GET", "/v1/rounds/%2e%2e", 404, "SF304"),
        ("GET", f"/v1/prompts/{'00' * 32}", 404, "SF304"),
        ("GET", "/v1/prompts/zz", 404, None),
        ("GET", "/v1/log/consistency?old=5&new=2", 404, None),
        ("GET", "/v1/log/consistency?old=x&new=2", 400, "SF302"),
        ("GET", "/v1/log/consistency?old=0&new=99999999999999999999", 400, "SF302"),
        ("GET", "/v1/log/tile/0/999", 404, None),
        ("GET", "/v1/log/tile/../../etc/passwd", 404, None),
        ("GET", "/v1/log/tile/0/1", 400, "SF302"),
        ("DELETE", "/v1/rounds/round-1", 405, None),
        ("GET", "/nothing", 404, None),
        ("GET", "/docs", 404, None),
    ],
)
def test_whatever_is_asked_the_answer_is_a_problem_document(
    world: World, method: str, path: str, status: int, code: str | None
) -> None:
    """Unknown, ill-formed, forbidden: a status, perhaps a code, never a traceback or a page."""
    world.open()
    with serving(world) as client:
        answer = client.request(method, path, headers=POST)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert answer.json().get("code") == code


def test_another_content_type_is_not_read(world: World) -> None:
    """A browser form cannot post a contribution."""
    world.open()
    with serving(world) as client:
        assert client.post(f"/v1/rounds/{ROUND}/contributions", data={"a": "b"}).status_code == 415


def test_consensus_is_409_until_published_and_410_if_it_never_will_be(world: World) -> None:
    """Clients know whether to wait."""
    world.open()
    with serving(world) as client:
        early = client.get(f"/v1/rounds/{ROUND}/consensus")
        assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (409, "SF401", "1")
        world.server.abort_round(ROUND, "a test")
        late = client.get(f"/v1/rounds/{ROUND}/consensus")
        assert (late.status_code, late.json()["code"]) == (410, "SF403")
        assert client.get(f"/v1/rounds/{ROUND}/status").json()["code"] == "SF403"


def test_the_public_status_names_nobody(world: World) -> None:
    """Counts and states only."""
    manifest = world.open()
    world.server.receive(ROUND, post("bay", manifest))
    with serving(world) as client:
        status = client.get(f"/v1/rounds/{ROUND}/status")
    assert status.json()["admitted"] == 1
    assert "bay" not in status.text


def test_log_tiles_hold_the_entries_that_the_checkpoint_covers(world: World) -> None:
    """An outside monitor reads the log without us."""
    world.open()
    with serving(world) as client:
        size = verify_checkpoint(client.get("/v1/log/checkpoint").text, HUB.log.public).checkpoint.size
        entries = split_bundle(client.get(f"/v1/log/tile/entries/000.p/{size}").content)
        hashes = client.get(f"/v1/log/tile/0/000.p/{size}").content
    types = [json.loads(entry)["type"] for entry in entries]
    assert len(types) == size
    assert [kind for kind in types if not kind.startswith("key.")][-1] == "log.started"
    assert hashes == b"".join(leaf_hash(entry) for entry in entries)


def test_openapi_describes_the_protocol_and_metrics_count(world: World) -> None:
    """Machine-readable description and figures, without content."""
    manifest = world.open()
    with serving(world) as client:
        document = client.get("/v1/openapi.json").json()
        client.post(f"/v1/rounds/{ROUND}/contributions", content=b"garbage", headers=POST)
        client.post(f"/v1/rounds/{ROUND}/contributions", content=post("bay", manifest), headers=POST)
        metrics = client.get("/metrics").text
    assert document["openapi"].startswith("3.1")
    assert {"/v1/rounds/{round_id}/contributions", "/v1/log/checkpoint", "/v1/roster"} <= set(document["paths"])
    assert 'semfed_refusals_total{code="SF302"} 1' in metrics
    assert 'semfed_rounds{state="collecting"} 1' in metrics
    assert 'semfed_http_answers_total{status="201"} 1' in metrics


def test_health_readiness_and_the_end_in_the_log(world: World) -> None:
    """A server that stops on purpose says so in its log, after what it had counted."""
    with serving(world) as client:
        assert client.get("/healthz").text == "ok\n"
        ready = client.get("/readyz")
        assert (ready.status_code, ready.headers["x-content-type-options"]) == (200, "nosniff")
        client.post("/v1/rounds/none/contributions", content=b"x", headers=POST)
    assert world.events() == ["log.started", "peer.refused", "log.stopped"]


def test_a_server_without_a_roster_in_force_is_not_ready(world: World) -> None:
    """It says so by code, and goes on answering."""
    with serving(world) as client:
        world.clock.advance(200 * 86_400)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "SF322")
        assert client.get("/healthz").status_code == 200


def test_a_server_that_refused_the_present_roster_file_is_not_ready(world: World) -> None:
    """The file may revoke somebody: whoever watches the server hears of it, and of the file that mends it."""
    with serving(world) as client:
        world.publish_roster(b"not a roster")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "SF322")
        world.publish_roster(roster_file(sequence=2))
        assert client.get("/readyz").status_code == 200


def test_a_turn_that_fails_is_followed_by_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on ticking whatever one turn raises."""
    world.open()
    calls: list[int] = []

    def failing(_coordinator: Any) -> Any:
        calls.append(1)
        raise RuntimeError("a defect") if len(calls) % 2 else PeerError("SF322", "expired")

    monkeypatch.setattr("semfed_secure.server.coordinator.Coordinator.advance", failing)
    with serving(world):
        deadline = time.monotonic() + 10
        while len(calls) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
