"""``semfed server``: run the consensus server."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure import __version__
from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.errors import ConfigurationError
from semfed_secure.server.config import ServerConfig, load_server_config
from semfed_secure.server.service import Service, open_service

if TYPE_CHECKING:
    from socket import socket

app = typer.Typer(help="Run the consensus server.", no_args_is_help=True, pretty_exceptions_enable=False)

MAX_CONNECTIONS = 256
"""Requests at once; more are told to try again (503)."""
DRAIN_SECONDS = 30
"""How long a stopping server waits for requests in progress."""

ConfigFile = Annotated[Path, typer.Option("--config", help="The server file (TOML).", show_default=False)]


@app.callback()
def _server() -> None:
    """Keep ``run`` a word of its own."""


@app.command()
def run(config: ConfigFile, as_json: JsonOption = False) -> None:
    """Serve until interrupted; print the address once it is reachable.

    Interrupt or terminate it: it finishes the requests in progress, writes its last entry and stops. Killed in any
    other way it resumes at the next start where it stood.
    """
    try:
        import fastapi  # noqa: F401 - tells early, and by name, what is missing
        import uvicorn  # noqa: F401
    except ImportError:
        raise ConfigurationError("SF103", "install `semfed-secure[server]` to run a server") from None
    loaded = load_server_config(config)
    with open_service(loaded, environ=os.environ, version=__version__) as service:
        _serve(service, loaded, as_json=as_json)


def _serve(service: Service, config: ServerConfig, *, as_json: bool) -> None:
    import uvicorn

    from semfed_secure.server.http import create_app

    class Announcing(uvicorn.Server):
        """Says where it listens once it does: with port 0 nobody knows before."""

        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                host, port = self.servers[0].sockets[0].getsockname()[:2]
                url = f"http://{host}:{port}"
                emit({"url": url, "member": service.context.member}, as_json=as_json, text=f"listening on {url}")

    server = Announcing(
        uvicorn.Config(
            create_app(service),
            host=config.server.host,
            port=config.server.port,
            log_level="warning",
            lifespan="on",
            ws="none",
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    # uvicorn raises again, after its shutdown, the signal that stopped it; by then there is nothing left to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.run()
