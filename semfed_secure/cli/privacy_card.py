"""``semfed privacy-card``: what a site's releases reveal about one entity, from its ledger, policy and audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.cli.audit_options import KeyOption, read_key
from semfed_secure.cli.budget import SiteOption, StateOption, require_one
from semfed_secure.cli.output import JsonOption, emit, note
from semfed_secure.client.card.document import card_of
from semfed_secure.client.card.evidence import read_evidence
from semfed_secure.client.card.markdown import markdown_of
from semfed_secure.client.card.writing import write_card
from semfed_secure.client.config import load_site_config
from semfed_secure.clock import SystemClock, SystemRandomness
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.member_files import load_member_record

app = typer.Typer(help="Say what was revealed.", add_completion=False, pretty_exceptions_enable=False)


@app.command()
def privacy_card(
    config: SiteOption = None,
    state: StateOption = None,
    key: KeyOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The Markdown file to write, with JSON beside it; takes --config and the keys.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a site's releases reveal about one entity, by which mechanism, over which lifetime, against whom.

    Exit 12, and no card, if the audit log does not verify, the ledger is not the one that it names, or the policy is
    not the pinned one. Printing changes nothing; a card that is written has an entry in the log with its digest.
    """
    require_one(config, state)
    if out is not None and (config is None or key is not None):
        raise ConfigurationError("SF101", "--out is for the site itself: it takes --config, and no --key")
    clock = SystemClock()
    if config is None:
        assert state is not None  # one of the two was given
        card = card_of(read_evidence(state, key=read_key(key)), clock.now())
    elif out is not None:
        card = write_card(load_site_config(config), out, clock=clock, randomness=SystemRandomness())
        note(f"semfed: {out} and {out.with_suffix('.json')} are written, and entered in the audit log")
    else:
        site = load_site_config(config)
        given = read_key(key) or load_member_record(site.identity.keys).log_key
        card = card_of(read_evidence(site.site.state, key=given, site=site), clock.now())
    emit(card, as_json=as_json, text=lambda: markdown_of(card))
