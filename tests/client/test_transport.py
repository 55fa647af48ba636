"""The HTTP transport against a real server on this machine: what is repeated, what is refused, what is cut off."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from semfed_secure.client import transport as module
from semfed_secure.client.replies import parse_proof
from semfed_secure.client.transport import ATTEMPTS, HttpTransport, RoundSummary, parse_rounds
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.ids import Digest, RoundId

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUND = RoundId("round-1")
COSE = "application/cose"
PROBLEM = "application/problem+json"
HOSTILE = (b'{"code": ' + b"1" * 5000 + b"}", b"[" * 100_000, b'{"rounds": [' + b"9" * 5000 + b"]}")
"""JSON that Python's parser gives up on in other ways than by saying that it is none."""


class Script:
    """Answers in the order given, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, bytes]] = []
        self.retry_after: list[str] = []
        self.pauses: list[float] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.url = ""


@pytest.fixture
def script() -> Iterator[Script]:
    """A server on this machine that follows its script."""
    said = Script()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            said.seen.append((self.command, self.path, body))
            status, kind, answer = said.answers.pop(0)
            self.send_response(status)
            self.send_header("content-type", kind)
            if said.retry_after:
                self.send_header("retry-after", said.retry_after.pop(0))
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _serve  # noqa: N815 - the names that http.server calls

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        said.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield said
        server.shutdown()
        thread.join()


@pytest.fixture
def transport(script: Script) -> Iterator[HttpTransport]:
    """The transport that asks it, without waiting between attempts."""
    with HttpTransport(script.url, sleep=script.pauses.append) as client:
        yield client


def problem(code: str) -> bytes:
    """A problem document with ``code``."""
    return json.dumps({"type": "about:blank", "title": "no", "code": code}).encode()


def test_reads_bytes_as_they_are(script: Script, transport: HttpTransport) -> None:
    """Each read asks its path and gives back the very bytes."""
    script.answers = [(200, COSE, b"m"), (200, COSE, b"r"), (200, COSE, b"p"), (200, "text/plain", b"c\n")]
    assert transport.manifest(ROUND) == b"m"
    assert transport.roster() == b"r"
    assert transport.prompts(Digest(bytes(32))) == b"p"
    assert transport.checkpoint() == "c\n"
    assert [path for _, path, _ in script.seen] == [
        "/v1/rounds/round-1",
        "/v1/roster",
        f"/v1/prompts/{'00' * 32}",
        "/v1/log/checkpoint",
    ]


@pytest.mark.parametrize("status", [201, 422])
def test_admitted_and_rejected_both_give_a_receipt(script: Script, transport: HttpTransport, status: int) -> None:
    """A rejection after the signatures is a signed receipt too, not an error of the transport."""
    script.answers = [(status, COSE, b"receipt")]
    assert transport.post(ROUND, b"body") == b"receipt"
    assert script.seen == [("POST", "/v1/rounds/round-1/contributions", b"body")]


def test_a_cosignature_is_handed_in_as_text(script: Script, transport: HttpTransport) -> None:
    """Taken is 200; whatever else is a refusal, with the code that the server gave."""
    script.answers = [(200, "application/json", b'{"size":7}'), (400, PROBLEM, problem("SF328"))]
    transport.cosign("note\n")
    with pytest.raises(PeerError, match="SF342") as caught:
        transport.cosign("other\n")
    assert caught.value.fields["server_code"] == "SF328"
    assert script.seen == [("POST", "/v1/log/cosignatures", body) for body in (b"note\n", b"other\n")]


def test_a_post_is_repeated_with_the_same_bytes(script: Script, transport: HttpTransport) -> None:
    """A restarting server is met again, with the same body."""
    script.answers = [(503, PROBLEM, b""), (502, PROBLEM, b""), (201, COSE, b"receipt")]
    assert transport.post(ROUND, b"body") == b"receipt"
    assert {body for _, _, body in script.seen} == {b"body"}


def test_a_server_that_says_when_is_asked_again_then_and_not_before(script: Script, transport: HttpTransport) -> None:
    """`Retry-After` is the least pause, and such a server is waited for longer than one that does not answer."""
    script.answers = [(429, PROBLEM, problem("SF347"))] * 7 + [(201, COSE, b"receipt")]
    script.retry_after = ["7"] * 7
    assert transport.post(ROUND, b"body") == b"receipt"
    assert len(script.pauses) == 7 > ATTEMPTS
    assert all(pause >= 7 for pause in script.pauses)


@pytest.mark.parametrize("said", ["99999", "9" * 400, "-5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_no_server_makes_a_site_wait_for_long(script: Script, transport: HttpTransport, said: str) -> None:
    """Whatever it asks for, a pause and all pauses together have an end; the code it gave is in the message."""
    script.answers = [(503, PROBLEM, problem("SF348"))] * 50
    script.retry_after = [said] * 50
    with pytest.raises(PeerError, match="status 503 SF348") as caught:
        transport.roster()
    assert caught.value.code == "SF341"
    assert max(script.pauses) <= module.LONGEST_PAUSE_SECONDS * 1.5
    assert sum(script.pauses) <= module.PATIENCE_SECONDS + module.LONGEST_PAUSE_SECONDS * 1.5


def test_an_answer_that_trickles_is_given_up(
    script: Script, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However steadily its bytes come: a server holds no site for ever."""
    monkeypatch.setattr(module, "EXCHANGE_SECONDS", -1.0)
    script.answers = [(200, COSE, b"x")] * ATTEMPTS
    with pytest.raises(PeerError, match="SF341"):
        transport.roster()


def test_what_a_message_said_is_never_repeated(script: Script, transport: HttpTransport) -> None:
    """A refusal is final: one request, and the server's code."""
    script.answers = [(403, PROBLEM, problem("SF306"))]
    with pytest.raises(PeerError) as caught:
        transport.post(ROUND, b"body")
    assert (caught.value.code, caught.value.fields["server_code"]) == ("SF342", "SF306")
    assert len(script.seen) == 1


@pytest.mark.parametrize("code", ["SF401", "SF402", "SF403"])
def test_not_ready_and_aborted_are_round_states(script: Script, transport: HttpTransport, code: str) -> None:
    """What is only not ready is told apart from what is wrong."""
    script.answers = [(409, PROBLEM, problem(code))]
    with pytest.raises(ConsensusError) as caught:
        transport.consensus(ROUND)
    assert caught.value.code == code


@pytest.mark.parametrize("answer", [b"", b"<html>", problem("evil\x1b[2J"), b"[]", b"\xff", *HOSTILE])
def test_an_unknown_code_is_not_repeated_to_the_operator(
    script: Script, transport: HttpTransport, answer: bytes
) -> None:
    """Text of the server does not reach the terminal or the log."""
    script.answers = [(400, PROBLEM, answer)]
    with pytest.raises(PeerError, match="without a code") as caught:
        transport.roster()
    assert caught.value.code == "SF342"


def test_an_unreachable_server_is_retryable() -> None:
    """Nothing listens: SF341 after the fixed number of attempts, with growing pauses."""
    pauses: list[float] = []
    with HttpTransport("http://127.0.0.1:9", sleep=pauses.append) as client, pytest.raises(PeerError) as caught:
        client.roster()
    assert (caught.value.code, caught.value.retryable, caught.value.exit_code) == ("SF341", True, 20)
    assert len(pauses) == ATTEMPTS - 1
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("excess", [0, 1])
def test_an_answer_over_the_limit_is_cut_off(
    script: Script, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch, excess: int
) -> None:
    """At the limit an answer is read; one byte more is refused."""
    script.answers = [(200, COSE, bytes(module.MAX_RECEIPT_BYTES + excess))]
    if not excess:
        assert len(transport.post(ROUND, b"")) == module.MAX_RECEIPT_BYTES
        return
    with pytest.raises(PeerError) as caught:
        transport.post(ROUND, b"")
    assert caught.value.code == "SF301"


def test_rounds_are_listed(script: Script, transport: HttpTransport) -> None:
    """The list names round and state."""
    script.answers = [
        (200, "application/json", b'{"rounds": [{"round_id": "round-1", "state": "collecting", "x": 1}]}')
    ]
    assert transport.rounds() == (RoundSummary(ROUND, "collecting"),)


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"[]",
        b'{"rounds": 1}',
        b'{"rounds": [1]}',
        b'{"rounds": [{"round_id": "../x", "state": "a"}]}',
        b'{"rounds": [{"round_id": 1, "state": "a"}]}',
        b'{"rounds": [{"round_id": "a", "state": [[]]}]}',
        *HOSTILE,
    ],
)
def test_a_malformed_list_of_rounds_is_refused(data: bytes) -> None:
    """The list is unsigned, so at least it is well-formed: no path, no other type."""
    with pytest.raises(PeerError) as caught:
        parse_rounds(data)
    assert caught.value.code == "SF302"


def test_a_proof_is_hex(script: Script, transport: HttpTransport) -> None:
    """The consistency proof asks both sizes and decodes its nodes."""
    script.answers = [(200, "application/json", b'{"proof": ["00ff"]}')]
    assert transport.consistency(3, 7) == (b"\x00\xff",)
    assert script.seen[0][1] == "/v1/log/consistency?old=3&new=7"
    for data in (b'{"proof": [1]}', b'{"proof": ["zz"]}', *HOSTILE):
        with pytest.raises(PeerError):
            parse_proof(data)
