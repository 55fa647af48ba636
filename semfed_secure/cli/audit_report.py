"""``semfed audit report``: one page, or a PDF, for a period of a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.gather import PAPER_ROWS, gather
from semfed_secure.audit.report import render
from semfed_secure.cli.audit_options import (
    KeyOption,
    Place,
    SinceOption,
    UntilOption,
    first_instant,
    last_instant,
    read_key,
)
from semfed_secure.cli.audit_trust import QuorumOption, WitnessOption, witnesses_of
from semfed_secure.cli.output import JsonOption, emit, note
from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from semfed_secure.audit.gather import Gathered

PDF = ".pdf"


def report(
    place: Place,
    out: Annotated[Path, typer.Option("--out", help="The file to write: HTML, or a PDF if it is called .pdf.")],
    since: SinceOption = None,
    until: UntilOption = None,
    key: KeyOption = None,
    witness: WitnessOption = None,
    quorum: QuorumOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained page for a period; exit 12, with the page written, if the log is not intact."""
    period = {"since": first_instant(since), "until": last_instant(until)}
    gathered = gather(place, **period, key=read_key(key), witnesses=witnesses_of(witness, quorum))
    data = _bytes(gathered, out)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ConfigurationError("SF102", f"{out} cannot be written: {error.strerror}") from error
    if gathered.failure is not None:
        note(f"semfed: the report is written to {out}, and says that the log is not intact")
        raise gathered.failure
    entries, releases = gathered.timeline.total, gathered.releases.total
    emit(
        {"out": str(out), "entries": entries, "releases": releases, "verified": True},
        as_json=as_json,
        text=f"{out}: {entries} entries, {releases} releases; the log is intact",
    )


def _bytes(gathered: Gathered, out: Path) -> bytes:
    if out.suffix.lower() != PDF:
        return render(gathered).encode()
    from semfed_secure.audit.report_pdf import render_pdf  # the typesetter, only for a PDF

    gathered.shorten(PAPER_ROWS)
    return render_pdf(render(gathered))
