"""``semfed server``: run the consensus server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure import __version__
from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.errors import ConfigurationError
from semfed_secure.server.config import load_server_config
from semfed_secure.server.service import open_service

app = typer.Typer(help="Run the consensus server.", no_args_is_help=True, pretty_exceptions_enable=False)

ConfigFile = Annotated[Path, typer.Option("--config", help="The server file (TOML).", show_default=False)]


@app.callback()
def _server() -> None:
    """Keep ``run`` a word of its own."""


@app.command()
def run(config: ConfigFile, as_json: JsonOption = False) -> None:
    """Serve until interrupted; print the address once it is reachable.

    Interrupt or terminate it: /readyz says 503, requests in progress are finished, the last entry is written, and it
    stops. Killed in any other way it resumes at the next start where it stood.
    """
    try:
        import fastapi  # noqa: F401 - tells early, and by name, what is missing
        import uvicorn  # noqa: F401
    except ImportError:
        raise ConfigurationError("SF103", "install `semfed-secure[server]` to run a server") from None
    from semfed_secure.server.http.process import serve

    loaded = load_server_config(config)
    with open_service(loaded, environ=os.environ, version=__version__) as service:

        def ready(url: str) -> None:
            emit({"url": url, "member": service.context.member}, as_json=as_json, text=f"listening on {url}")

        serve(service, loaded, environ=os.environ, ready=ready)
