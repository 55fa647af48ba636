"""``semfed demo``: a whole federation of institutions on this machine, and a report on it."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from semfed_secure.demo.plan import Scale, SiteRole
    from semfed_secure.demo.progress import Progress
    from semfed_secure.demo.workspace import Models

app = typer.Typer(help="Run a whole federation on this machine.", add_completion=False, pretty_exceptions_enable=False)

DEFAULT = "hospital"
EMBEDDER = "all-minilm-l6-v2"
NEEDED, TRAINING = ("fastapi", "matplotlib"), ("torch", "gguf")
"""One package of each part of the extra: what every run needs, and one that trains models."""


@app.command()
def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer sites and records, one model family.")] = False,
    example: Annotated[
        str | None, typer.Option(help="Which example: hospital (if nothing is said) or bank.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Your own data directory instead; see examples/hospital_coding/README.md.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out a misbehaving site: malicious, broken or late; repeat it.")
    ] = None,
    run_directory: Annotated[Path, typer.Option("--run", help="Where the federation lives; replaced.")] = Path(
        "demo-run"
    ),
    out: Annotated[Path, typer.Option(help="Where the report is written.")] = Path("demo-report"),
    seed: Annotated[int, typer.Option(help="Decides which text of the example goes where.")] = 1,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Prepare the models that the demo trains, and stop.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run a federation of institutions, each its own process, and write a report.

    Every process that it starts has ended when it ends, however it ends. With ``--json`` the report goes to stdout
    and the progress to the processes' logs only.
    """
    _require_extra(NEEDED)
    from rich.console import Console

    from semfed_secure.demo.data import FederationData
    from semfed_secure.demo.examples import EXAMPLES, build_example
    from semfed_secure.demo.plan import suit
    from semfed_secure.demo.progress import SilentProgress, progress_for
    from semfed_secure.demo.runner import lay_out, run_federation, write_report
    from semfed_secure.demo.scales import FAST, FULL
    from semfed_secure.demo.tables import summary

    scale = FAST if fast else FULL
    left_out, chosen = _left_out(without or []), _example(example, data)
    signal.signal(signal.SIGTERM, _leave)
    with SilentProgress() if json else progress_for(Console()) as progress:
        if prepare_only:
            _models(scale, progress)
            return
        # One's own data is read before an earlier run is removed.
        federation = None if data is None else FederationData(data)
        _empty(run_directory, spare=data)
        if federation is None:
            progress.say(f"building the data of the {chosen} example")
            build_example(EXAMPLES[chosen], run_directory / "data", seed=seed, small=fast)
            federation = FederationData(run_directory / "data")
        scale = suit(scale, federation.description)
        models = _models(scale, progress, black_boxes=federation.description.black_box is not None)
        workspace = lay_out(run_directory.resolve() / "federation", federation, scale, models, without=left_out)
        report = run_federation(workspace, progress)
        written = write_report(report, workspace, out)
    files = "\n".join(f"  {path}" for path in written)
    emit(report, as_json=json, text=lambda: f"\n{summary(report)}\nWritten:\n{files}")


def _models(scale: Scale, progress: Progress, *, black_boxes: bool = False) -> Models:
    """The prepared models of a run: each family, and the embedder if texts are exchanged; black boxes bring theirs."""
    from semfed_secure.demo.weights import prepare
    from semfed_secure.demo.workspace import Models

    if black_boxes:
        return Models({}, None)
    _require_extra(TRAINING)
    embedder = [EMBEDDER] if "text" in scale.kinds else []
    prepared = prepare([*scale.families, *embedder], report=progress.say)
    return Models({family: prepared[family] for family in scale.families}, prepared.get(EMBEDDER))


def _require_extra(needed: Sequence[str]) -> None:
    """Say early, and by name, what is missing; nothing is imported for it."""
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigurationError("SF103", f"install `semfed-secure[demo]`: `{missing[0]}` is missing")


def _example(name: str | None, data: Path | None) -> str:
    """The name of the example to run, where there is no data of one's own."""
    from semfed_secure.demo.examples import EXAMPLES

    if name is not None and name not in EXAMPLES:
        raise ConfigurationError("SF105", f"--example takes {' or '.join(EXAMPLES)}, not `{name}`")
    if name is not None and data is not None:
        raise ConfigurationError("SF105", "--example or --data is taken, not both")
    return name or DEFAULT


def _left_out(names: list[str]) -> set[SiteRole]:
    """The misbehaving roles of these names."""
    from semfed_secure.demo.plan import MISBEHAVING

    known = {str(role): role for role in MISBEHAVING}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigurationError("SF105", f"--without takes {', '.join(known)}, not `{unknown[0]}`")
    return {known[name] for name in names}


def _empty(directory: Path, *, spare: Path | None) -> None:
    """Make room for a new run; only a directory that an earlier run made is removed, and never with ``spare`` in it."""
    marker = directory / ".semfed-demo"
    if directory.is_file() or (directory.exists() and any(directory.iterdir()) and not marker.exists()):
        raise ConfigurationError("SF105", f"{directory} holds something else: give another --run", path=str(directory))
    if spare is not None and spare.resolve().is_relative_to(directory.resolve()):
        raise ConfigurationError("SF105", f"--data lies in --run, which is replaced: move {spare}", path=str(spare))
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    marker.touch()


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    """Turn a request to end into an exception, so that every child process is ended on the way out."""
    del frame
    sys.exit(128 + signum)
