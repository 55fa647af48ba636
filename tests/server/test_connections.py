"""Connections without a request: closed in time, counted for each peer, and answered in the one form of refusals."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest

from semfed_secure.server.config import LimitsSection
from semfed_secure.server.http import PROBLEM, app, connections, gate
from semfed_secure.server.rates import Rates
from tests.server.serving import listening
from tests.server.world import World

if TYPE_CHECKING:
    from pathlib import Path


def dial(url: str, *, from_address: str = "127.0.0.1") -> socket.socket:
    """A connection that has said nothing yet."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10, source_address=(from_address, 0))


def heard(raw: socket.socket, said: bytes = b"") -> bytes:
    """What is answered; nothing on a connection that was closed."""
    try:
        raw.sendall(said)
        return raw.recv(4096)
    except (ConnectionResetError, BrokenPipeError):
        return b""


@pytest.mark.parametrize("head", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n"], ids=["silent", "half a head"])
@pytest.mark.parametrize("after", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["first", "second request"])
def test_a_request_that_does_not_come_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, head: bytes, after: bytes
) -> None:
    """Whoever holds a connection open without asking anything is cut off, also after a first request."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    with listening(world) as (_, url), dial(url) as raw:
        if after:
            raw.sendall(after)
            assert b"200 OK" in raw.recv(4096)
        raw.sendall(head)
        start = time.monotonic()
        while heard(raw):
            pass
        assert time.monotonic() - start < 8


def test_one_address_holds_no_more_than_its_connections(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed unheard; from elsewhere there is still room, and room again when one is closed."""
    monkeypatch.setattr(connections, "CONNECTIONS_OF_ONE_PEER", 3)
    with listening(world) as (_, url), ExitStack() as held:
        many = [held.enter_context(dial(url, from_address="127.0.0.2")) for _ in range(3)]
        with dial(url, from_address="127.0.0.2") as one_more:
            assert heard(one_more) == b""
        assert httpx.get(f"{url}/healthz").status_code == 200
        many[0].close()
        deadline = time.monotonic() + 10
        while True:
            with dial(url, from_address="127.0.0.2") as again:
                if b"200 OK" in heard(again, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"):
                    break
            assert time.monotonic() < deadline


def test_bytes_that_are_no_http_get_a_problem_document(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """The framework's own refusals have the same form, and leave no line in our log."""
    with listening(world) as (_, url), dial(url) as raw:
        raw.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
        head, _, body = raw.recv(4096).partition(b"\r\n\r\n")
        assert b" 400 " in head
        assert PROBLEM.encode() in head
        assert json.loads(body)["code"] == "SF302"
    assert capfd.readouterr().err == ""


def test_more_requests_than_there_is_room_for_are_told_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with a code and `Retry-After`; whoever watches over the process is answered all the same."""
    monkeypatch.setattr(gate, "MAX_REQUESTS", 0)
    with listening(world) as (_, url):
        answer = httpx.get(f"{url}/v1/roster")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "SF348", "1")
        assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.fixture
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no token drip in, however slow the machine is."""
    monkeypatch.setattr(app, "Rates", partial(Rates, now=lambda: 0.0))


@pytest.mark.usefixtures("_standing_clock")
def test_whoever_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    """429 with a code and `Retry-After`, counted; who asks from elsewhere is not held back."""
    world = World(tmp_path, limits=LimitsSection(address_rate=1, address_burst=3))
    with listening(world) as (_, url):
        answers = [httpx.get(f"{url}/v1/rounds") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert (answers[3].json()["code"], answers[3].headers["retry-after"]) == ("SF347", "1")
        assert answers[3].headers["content-type"] == PROBLEM
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.2")) as elsewhere:
            assert 'semfed_http_answers_total{status="429"} 1' in elsewhere.get(f"{url}/metrics").text


@pytest.mark.usefixtures("_standing_clock")
@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)], ids=["unknown", "trusted"])
def test_only_a_trusted_proxy_says_who_is_behind_it(tmp_path: Path, trusted: tuple[str, ...]) -> None:
    """Of anybody else `X-Forwarded-For` changes nothing: it would be a way around every limit."""
    world = World(tmp_path, limits=LimitsSection(address_rate=1, address_burst=1))
    with listening(world, trusted_proxies=trusted) as (_, url):
        names = ("192.0.2.1", "192.0.2.2")
        answers = [httpx.get(f"{url}/v1/rounds", headers={"x-forwarded-for": name}) for name in names]
    assert [answer.status_code for answer in answers] == ([200, 200] if trusted else [200, 429])
