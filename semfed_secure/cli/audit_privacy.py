"""``semfed audit-privacy``: attack a site's own private training with made-up entities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, note
from semfed_secure.client.attack_audit import CANARIES, audit_site, require_passed
from semfed_secure.client.attack_report import summary
from semfed_secure.client.config import load_site_config
from semfed_secure.client.records import iter_records
from semfed_secure.client.site import open_site
from semfed_secure.clock import SystemClock, SystemRandomness
from semfed_secure.server.prompt_files import read_prompt_set

app = typer.Typer(help="Attack a site's own private training.", add_completion=False, pretty_exceptions_enable=False)


@app.command()
def audit_privacy(
    config: Annotated[Path, typer.Option("--config", help="The site file.")],
    records: Annotated[Path, typer.Option("--records", help="The training set: JSON lines.")],
    prompts: Annotated[Path, typer.Option("--prompts", help="Public prompts: JSON lines, as of a round.")],
    out: Annotated[Path, typer.Option("--out", help="Directory of the report; keep it inside the site.")],
    candidate: Annotated[
        list[str] | None, typer.Option("--candidate", help="A label of all prompts; repeat it, as for the round.")
    ] = None,
    canaries: Annotated[int, typer.Option(min=20, max=20_000, help="Entities to make up.")] = CANARIES,
    as_json: JsonOption = False,
) -> None:
    """Train beside the production state, on records and canaries, and measure what the released answers give away.

    Nothing is charged and nothing leaves the site. Exit 12 if the attack found more than the site file claims, and
    exit 2 if it could not have found it; the report is written and signed into the audit log before that.
    """
    site = open_site(load_site_config(config), clock=SystemClock(), randomness=SystemRandomness())
    try:
        report = audit_site(
            site,
            records=iter_records(records),
            prompts=read_prompt_set(prompts, name=prompts.stem, candidates=candidate or ()),
            canaries=canaries,
            out=out,
            progress=note,
        )
    finally:
        site.close()
    note(f"the report lies in {out}")
    emit(require_passed(report), as_json=as_json, text=lambda: summary(report))
