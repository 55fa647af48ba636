"""The process that serves: listening, TLS, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from semfed_secure.clock import SystemClock
from semfed_secure.identity.tls import OwnCertificate, server_context
from semfed_secure.server.http.app import create_app
from semfed_secure.server.http.connections import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket
    from ssl import SSLContext

    from semfed_secure.server.config import ServerConfig
    from semfed_secure.server.service import Service

DRAIN_SECONDS = 65
"""How long a stopping server waits for requests in progress: longer than a body may take to arrive."""
HANDSHAKE_SECONDS = 10.0
"""How long a caller may take to agree on TLS."""


def serve(service: Service, config: ServerConfig, *, environ: Mapping[str, str], ready: Callable[[str], None]) -> None:
    """Serve until a signal says to stop; ``ready`` is told the address once it can be reached.

    SIGTERM or SIGINT: ``/readyz`` says 503 at once; after ``notice_seconds`` nobody is accepted any more, what is in
    progress is finished, and the last entry is written. A second signal does not wait for the notice.

    Raises:
        ConfigurationError: a TLS file is missing or does not fit; the message names it.
    """
    tls = tls_context(config, environ)
    server = Listener(service, config, tls, ready)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    server.run()


def tls_context(config: ServerConfig, environ: Mapping[str, str]) -> SSLContext | None:
    """How ``config`` says that TLS is spoken; None without a section ``[tls]``.

    Raises:
        ConfigurationError: as `server_context`.
    """
    section = config.tls
    if section is None:
        return None
    return server_context(
        OwnCertificate(section.certificate, section.key, section.passphrase_file),
        client_ca=section.client_ca,
        required=section.require_client_certificates,
        environ=environ,
        now=SystemClock().now(),
    )


class Listener(uvicorn.Server):
    """Says where it listens once it does (with port 0 nobody knows before), and stops in two steps."""

    def __init__(
        self, service: Service, config: ServerConfig, tls: SSLContext | None, ready: Callable[[str], None]
    ) -> None:
        """Serve ``service`` as `serve` says."""
        app = create_app(service)
        settings = uvicorn.Config(
            app,
            host=config.server.host,
            port=config.server.port,
            loop="asyncio",  # what tells callers why their handshake failed was made for its TLS
            http=Connection,
            ws="none",
            lifespan="on",
            log_level="error",  # whatever bytes a stranger sends, it writes no line of our log
            access_log=False,
            server_header=False,
            proxy_headers=bool(config.server.trusted_proxies),
            forwarded_allow_ips=list(config.server.trusted_proxies),
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        settings.load()
        settings.ssl = tls
        super().__init__(settings)
        self._app, self._notice, self._ready = app, config.server.notice_seconds, ready
        self._scheme = "https" if tls else "http"

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen, and say where."""
        if self.config.ssl is not None:
            # uvicorn has no setting for it, and asyncio's own would let a stranger hold a connection for a minute.
            loop = asyncio.get_running_loop()
            limited = partial(loop.create_server, ssl_handshake_timeout=HANDSHAKE_SECONDS)
            loop.create_server = limited  # type: ignore[method-assign]
        await super().startup(sockets=sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: Any) -> None:
        """What uvicorn calls on a signal while it serves; it would raise the signal again after its shutdown."""
        self.stop(sig, frame)

    def stop(self, *_signal: object) -> None:
        """Say that we are stopping; then stop, at once if that was said before."""
        if self._app.state.draining or not self._notice:
            self.should_exit = True
        else:
            timer = threading.Timer(self._notice, lambda: setattr(self, "should_exit", True))
            timer.daemon = True
            timer.start()
        self._app.state.draining = True
