"""``semfed server``: run the consensus server, and measure its embedder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure import __version__
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import replace_file
from semfed_secure.server.calibrations import calibrate_embedder
from semfed_secure.server.config import load_server_config
from semfed_secure.server.service import open_service

app = typer.Typer(
    help="Run the consensus server, and measure its embedder.", no_args_is_help=True, pretty_exceptions_enable=False
)

ConfigFile = Annotated[Path, typer.Option("--config", help="The server file (TOML).", show_default=False)]


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


@app.command()
def calibrate(
    embedder: Annotated[str, typer.Option(help="Directory or hub name of the embedder.")],
    pairs: Annotated[Path, typer.Option(help="JSON lines with `a`, `b` and `same`: public texts of your field.")],
    out: Annotated[Path, typer.Option(help="Where to write what `[embedder] calibration` names.")],
    max_false_join: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of different pairs that may be joined.")
    ] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Measure the least cosine at which two texts may be one answer, for this embedder and these pairs.

    Different pairs should be hard ones: of one topic, but not of one meaning.
    """
    found = calibrate_embedder(embedder, pairs, max_false_join_ppm=round(max_false_join * 1_000_000))
    replace_file(out, json.dumps(found.as_json(), indent=1).encode() + b"\n")
    rows = [
        (what, f"{rate.count} of {rate.of}", f"{rate.value:.2%}", f"{rate.low:.2%} to {rate.high:.2%}")
        for what, rate in (
            ("different pairs joined", found.false_join),
            ("the same without guards", found.unguarded_false_join),
            ("same pairs not joined", found.false_split),
        )
    ]
    head = f"{found.embedder}: similarity_ppm = {found.similarity_ppm}, written to {out}"
    text = table([head, "", "", "95 % interval"], rows)
    emit(found.as_json(), as_json=as_json, text=text)
