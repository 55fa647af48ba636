"""``semfed prompts``: look at a prompt set before the site answers it, and decide on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, note, printable, table
from semfed_secure.client.config import load_site_config
from semfed_secure.client.records import numbered_records
from semfed_secure.client.review import read_canaries, review_prompts
from semfed_secure.client.review_report import REVIEWS, document_of, require_report, write_report
from semfed_secure.client.reviews import APPROVED, REFUSED, record_verdict
from semfed_secure.client.site import open_site
from semfed_secure.clock import SystemClock, SystemRandomness
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.files import read_bounded
from semfed_secure.ids import Digest, hex_digest, parse_digest
from semfed_secure.server.prompt_files import read_prompt_set
from semfed_secure.wire.prompts import PROMPT_SET_LIMITS, PromptSet, parse_prompt_set

if TYPE_CHECKING:
    from semfed_secure.client.config import SiteConfig
    from semfed_secure.client.review import Embeds, Review

app = typer.Typer(help="Review prompt sets.", no_args_is_help=True, pretty_exceptions_enable=False)

ConfigOption = Annotated[Path, typer.Option("--config", help="The site file.", show_default=False)]
_ENCODED = ".cbor"


@app.command()
def review(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="The prompt set: JSON lines, or the `.cbor` that a site fetched below `state/prompts`.",
            show_default=False,
        ),
    ],
    config: ConfigOption,
    name: Annotated[
        str | None, typer.Option(help="Name of the set, part of its digest; the file's name if left out.")
    ] = None,
    candidate: Annotated[list[str] | None, typer.Option(help="A label of all prompts; repeat it.")] = None,
    records: Annotated[
        Path | None,
        typer.Option(help="Private records; without it `data.records` of the site file.", show_default=False),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many prompts to print.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Compare a prompt set with the site's records, offline, and write a private report for a person.

    Prompts with a planted canary come first, then those with an identifier, then the others by how near a record they
    are. Nothing is sent, nothing is spent, and no text of a record is shown.
    """
    site_config = load_site_config(config)
    source = records if records is not None else site_config.data.records
    if source is None:
        raise ConfigurationError("SF101", "records are needed: --records, or data.records in the site file")
    prompt_set = _prompt_set(prompts, name, candidate or [])
    canaries = {} if site_config.review.canaries is None else read_canaries(site_config.review.canaries)
    embedder = _embedder(site_config)
    site = open_site(site_config, clock=SystemClock(), randomness=SystemRandomness())
    try:
        found = review_prompts(site, prompt_set, numbered_records(source), canaries=canaries, embedder=embedder)
        paths = write_report(site.directory(REVIEWS), found)
    finally:
        site.close()
    note(f"the report is in {printable(paths[1])}, for this site only")
    emit(document_of(found), as_json=as_json, text=lambda: _text(found, show))


@app.command()
def decide(
    digest: Annotated[str, typer.Argument(help="The prompt set's digest, as the report shows it.", show_default=False)],
    config: ConfigOption,
    role: Annotated[str, typer.Option(help="In which role, as the policy names it, such as `privacy_officer`.")],
    approve: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who approves the set.", show_default=False)
    ] = None,
    refuse: Annotated[str | None, typer.Option(metavar="NAME", help="Who refuses it.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Write into the site's audit log that somebody who read the report approves or refuses the prompt set.

    An approval counts where the policy asks for approvals to join a round; a refusal denies the set until the same
    person approves it. Peers see neither: a site that declines sends what one does that comes too late.
    """
    if (approve is None) == (refuse is None):
        raise ConfigurationError("SF101", "exactly one of --approve and --refuse is expected")
    person = approve if approve is not None else refuse
    assert person is not None  # one of the two was given
    wanted = _digest(digest)
    site = open_site(load_site_config(config), clock=SystemClock(), randomness=SystemRandomness())
    try:
        require_report(site.directory(REVIEWS), wanted)
        entry = record_verdict(site, wanted, person=person, role=role, approve=approve is not None)
        granted = hex_digest(wanted) in site.policy.grants.prompts
    finally:
        site.close()
    decision = APPROVED if approve is not None else REFUSED
    document = {
        "digest": hex_digest(wanted),
        "decision": decision,
        "by": person,
        "role": role,
        "entry": entry,
        "granted_by_policy": granted,
    }
    emit(document, as_json=as_json, text=lambda: _decided(document))


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except ValueError:
        raise ConfigurationError("SF105", "a digest is written as sha256: and 64 hex digits") from None


def _prompt_set(path: Path, name: str | None, candidates: list[str]) -> PromptSet:
    if path.suffix != _ENCODED:
        return read_prompt_set(path, name=name or path.stem, candidates=candidates)
    if name is not None or candidates:
        raise ConfigurationError("SF101", "--name and --candidate belong to JSON lines: a `.cbor` holds its own")
    try:
        return parse_prompt_set(read_bounded(path, PROMPT_SET_LIMITS.max_bytes))
    except PeerError as error:
        raise ConfigurationError("SF104", f"{path.name} is no prompt set: {error.message}") from error


def _embedder(config: SiteConfig) -> Embeds | None:
    if config.review.embedder is None:
        return None
    from semfed_secure.llm.embedding import load_embedder  # the model stack, only where the site names an embedder

    return load_embedder(config.review.embedder)


def _text(found: Review, show: int) -> str:
    marked = sum(bool(one.reasons) for one in found.ranked)
    head = (
        f"{printable(found.prompts.name)} {hex_digest(found.prompts.digest)}: {marked} of {len(found.ranked)} prompts "
        f"to look at, {found.records} records compared"
    )
    rows = [
        [str(rank), one.prompt.id, f"{one.nearness:.2f}", printable("; ".join(one.reasons) or "-")]
        for rank, one in enumerate(found.ranked[:show], 1)
    ]
    return head + (f"\n{table(['rank', 'id', 'nearness', 'why'], rows)}" if rows else "")


def _decided(document: dict[str, object]) -> str:
    line = f"{document['digest']}: {document['decision']} by {document['by']} as {document['role']}"
    if document["decision"] == APPROVED and not document["granted_by_policy"]:
        line += "\nThe policy does not grant it yet. Once its owner agrees, add it there:\n"
        line += f"  grants:\n    prompts:\n      - {document['digest']}"
    return line
