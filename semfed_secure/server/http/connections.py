"""Connections before there is a request: what a stranger may hold of them, and what its TLS certificate names."""

from __future__ import annotations

import json
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from semfed_secure.errors import CATALOGUE
from semfed_secure.identity.tls import names_of
from semfed_secure.server.bodies import network_of
from semfed_secure.server.http.callers import CERTIFICATE_NAMES
from semfed_secure.server.http.problems import PROBLEM

if TYPE_CHECKING:
    import asyncio
    import ssl

MAX_CONNECTIONS = 768
"""Connections at once; more are closed unheard. Below the 1024 open files that many systems allow a process."""
CONNECTIONS_OF_ONE_PEER = 384
"""Connections of one address: the sites of a small federation may share a way out."""
HEADER_SECONDS = 10.0
"""How long the head of a request may take to arrive."""


class Connection(H11Protocol):
    """One connection: closed if it brings no request in time, or if its peer has too many."""

    _waiting: asyncio.TimerHandle | None = None
    _held: Counter[str] | None = None
    _peer = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it in, or close it."""
        super().connection_made(transport)
        held = _held_by(self.server_state)
        self._peer = network_of(self.client[0]) if self.client else ""
        if len(self.connections) > MAX_CONNECTIONS or held[self._peer] >= CONNECTIONS_OF_ONE_PEER:
            transport.abort()
            return
        self._held = held
        held[self._peer] += 1
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None and secured.getpeercert():
            self.app_state = {**self.app_state, CERTIFICATE_NAMES: names_of(secured)}
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self._stop_waiting()
        if self._held is not None:
            self._held -= Counter({self._peer: 1})  # what is zero is dropped: no address is remembered
            self._held = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Between two requests the head of the next one must come in time."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """The answer to bytes that are no HTTP; what exactly was wrong with them is theirs to find out."""
        del msg
        status = HTTPStatus.BAD_REQUEST
        document = {"type": "about:blank", "title": CATALOGUE["SF302"].title, "status": status.value, "code": "SF302"}
        body = json.dumps(document).encode()
        headers = [("content-type", PROBLEM), ("content-length", str(len(body))), ("connection", "close")]
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            head = h11.Response(status_code=status.value, headers=headers, reason=status.phrase.encode())
            parts = (self.conn.send(event) for event in (head, h11.Data(data=body), h11.EndOfMessage()))
            self.transport.write(b"".join(part or b"" for part in parts))
        self.transport.close()

    def _wait_for_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        self.transport.abort()


def _held_by(server_state: Any) -> Counter[str]:
    """How many connections each peer has, on this server."""
    held: Counter[str] = server_state.__dict__.setdefault("held_by_peer", Counter())
    return held
