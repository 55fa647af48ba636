"""``semfed audit people`` and ``semfed audit erase``: whom the commitments in a site's log mean, and forgetting it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.people import erase as erase_person
from semfed_secure.audit.people import named
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.clock import SystemClock, SystemRandomness

if TYPE_CHECKING:
    from semfed_secure.client.site import Site

ConfigOption = Annotated[Path, typer.Option("--config", help="The site file.")]


def people(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Show whom the commitments in the site's log mean; that somebody asked is an entry of the log."""
    site = _opened(config)
    try:
        found = named(site.database, site.audit, actor=site.member_id)
    finally:
        site.close()
    rows = [{"commitment": commitment, "name": name} for commitment, name in found.items()]
    text = table(["in the log", "name"], [[row["commitment"], row["name"]] for row in rows]) if rows else "nobody"
    emit({"people": rows}, as_json=as_json, text=text)


def erase(
    config: ConfigOption,
    who: Annotated[str, typer.Argument(metavar="WHO", help="A name, or its commitment in the log.")],
    as_json: JsonOption = False,
) -> None:
    """Forget for ever whom the site's log means by a commitment; the log itself stays as it is, and verifies."""
    site = _opened(config)
    try:
        erased = erase_person(site.database, site.audit, who, actor=site.member_id)
    finally:
        site.close()
    emit({"erased": erased}, as_json=as_json, text=f"{erased} stands for nobody any more; renew your backups")


def _opened(config: Path) -> Site:
    from semfed_secure.client.config import load_site_config  # only these commands of the group need a site
    from semfed_secure.client.site import open_site

    return open_site(load_site_config(config), clock=SystemClock(), randomness=SystemRandomness())
