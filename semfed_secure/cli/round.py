"""``semfed round``: open, watch and close rounds, on the server's database."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import ValidationError

from semfed_secure import __version__
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.cli.round_report import report
from semfed_secure.clock import SystemClock, from_ms, to_iso
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import write_private
from semfed_secure.ids import MemberId, RoundId, hex_digest, sha256
from semfed_secure.server.anchors import read_anchors
from semfed_secure.server.calibrations import calibrated_similarity_ppm
from semfed_secure.server.config import RoundsSection, ServerConfig, load_server_config
from semfed_secure.server.opening import RoundPlan
from semfed_secure.server.prompt_files import read_prompt_set
from semfed_secure.server.round import RoundState
from semfed_secure.server.service import open_overview, open_service
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import ConsensusRule, Embedder, Group, PrivacyFloor

if TYPE_CHECKING:
    from semfed_secure.server.coordinator import Coordinator
    from semfed_secure.wire.messages import RoundManifest
    from semfed_secure.wire.prompts import PromptSet

app = typer.Typer(help="Open, watch and close rounds.", no_args_is_help=True, pretty_exceptions_enable=False)

ConfigFile = Annotated[Path, typer.Option("--config", help="The server file (TOML).", show_default=False)]
RoundName = Annotated[str, typer.Argument(help="The round's id.", show_default=False)]
Share = Annotated[float | None, typer.Option(min=0, max=1, show_default=False)]


@app.command("open")
def open_(
    config: ConfigFile,
    kind: Annotated[OutputKind, typer.Option(help="What clients answer.")],
    prompts: Annotated[
        Path | None,
        typer.Option(help="JSON lines with `id`, `prompt`, perhaps `candidates` and `topic`.", show_default=False),
    ] = None,
    candidates_from: Annotated[
        str | None,
        typer.Option(metavar="ROUND", help="Vote on what this round proposed, on its prompts.", show_default=False),
    ] = None,
    proposals: Annotated[bool, typer.Option("--proposals", help="Of texts, form candidates to vote on.")] = False,
    round_id: Annotated[str | None, typer.Option("--id", help="The round's id; made of the time.")] = None,
    candidate: Annotated[list[str] | None, typer.Option(help="A label of all prompts; repeat it.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the prompt set; the file's name if left out.")] = None,
    opens_in: Annotated[int, typer.Option(min=0, help="Seconds until contributions begin.")] = 0,
    closes_in: Annotated[int | None, typer.Option(min=1, help="Seconds for which they are taken.")] = None,
    opening: Annotated[int | None, typer.Option(min=1, help="Seconds for which texts are then taken.")] = None,
    min_clients: Annotated[int | None, typer.Option(min=1, help="Fewest answers to a prompt.")] = None,
    min_support: Annotated[float | None, typer.Option(min=0, max=1, help="Least share behind a label.")] = None,
    min_margin: Annotated[float | None, typer.Option(min=0, max=1, help="Least lead over the next.")] = None,
    similarity: Annotated[float | None, typer.Option(min=0, max=1, help="Least cosine of like texts.")] = None,
    trim: Annotated[float | None, typer.Option(min=0, max=0.49, help="Share trimmed from like texts.")] = None,
    weights: Annotated[str | None, typer.Option(help="`equal`, `agreement` or `anchored`.")] = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Gold prompts: JSON lines with `id`, `answer`.", show_default=False)
    ] = None,
    by_group: Annotated[bool, typer.Option("--by-group", help="A consensus in each of `[rounds.groups]`.")] = False,
    max_candidates: Annotated[int | None, typer.Option(min=2, help="Most candidates of a prompt.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Length of generated answers.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Announce a round; the running server takes it up by itself. What is left out comes from the server file."""
    loaded = load_server_config(config)
    asked = {
        "closes_in_seconds": closes_in,
        "opening_seconds": opening,
        "min_clients": min_clients,
        "min_support_ppm": _ppm(min_support),
        "min_margin_ppm": _ppm(min_margin),
        "similarity_ppm": _ppm(similarity),
        "trim_ppm": _ppm(trim),
        "max_candidates": max_candidates,
        "weights": weights,
        "max_new_tokens": max_new_tokens,
    }
    terms = {key: value for key, value in asked.items() if value is not None}
    plan = _plan(loaded, kind, round_id, opens_in, terms, proposals=proposals)
    gold = {} if anchors is None else read_anchors(anchors)
    plan = replace(plan, gold=gold, groups=_groups(loaded) if by_group else ())
    if (prompts is None) == (candidates_from is None) or (prompts is None and (name or candidate)):
        raise ConfigurationError("SF101", "--prompts with its options, or --candidates-from without them, is expected")
    brought = None
    if prompts is not None:
        brought = read_prompt_set(prompts, name=name or prompts.stem, candidates=candidate or ())
    with open_service(loaded, environ=os.environ, version=__version__) as service:
        manifest = _announce(service.coordinator, plan, brought, RoundId(candidates_from or ""))
    document = _announced(manifest)
    emit(document, as_json=as_json, text=table(["round", manifest.round_id], list(document.items())[1:]))


@app.command()
def status(
    config: ConfigFile,
    round_id: Annotated[str | None, typer.Argument(help="The round's id; all rounds if left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a round stands: who was admitted, who was refused and why, what each client changed."""
    with open_overview(load_server_config(config)) as overview:
        if round_id is None:
            rounds = [(row, RoundState.stored(row.state)) for row in overview.rounds()]
            rows = [(row.round_id, state, to_iso(from_ms(row.closes_at_ms)), row.reason or "") for row, state in rounds]
            headers = ["round", "state", "closes at", "reason"]
            document: dict[str, Any] = {"rounds": [{"round_id": row[0], "state": row[1]} for row in rows]}
            emit(document, as_json=as_json, text=lambda: table(headers, rows))
            return
        document = overview.status(RoundId(round_id))
    emit(document, as_json=as_json, text=lambda: _status_text(document))


app.command()(report)


@app.command()
def close(
    config: ConfigFile,
    round_id: RoundName,
    as_json: JsonOption = False,
) -> None:
    """Take no more contributions; of texts, no more commitments, and once more for the texts themselves.

    The running server forms and publishes the consensus.
    """
    with open_service(load_server_config(config), environ=os.environ, version=__version__) as service:
        state = service.coordinator.close_round(RoundId(round_id))
    emit({"round_id": round_id, "state": str(state)}, as_json=as_json, text=f"{round_id} is {state}")


@app.command()
def abort(
    config: ConfigFile,
    round_id: RoundName,
    reason: Annotated[str, typer.Option(help="Why, in one sentence, for the log; clients learn the code SF403.")],
    as_json: JsonOption = False,
) -> None:
    """End a round without a consensus; what members spent on it stays spent."""
    with open_service(load_server_config(config), environ=os.environ, version=__version__) as service:
        state = service.coordinator.abort_round(RoundId(round_id), reason)
    emit({"round_id": round_id, "state": str(state)}, as_json=as_json, text=f"{round_id} is {state}")


@app.command()
def gold(
    config: ConfigFile,
    round_id: RoundName,
    out: Annotated[Path, typer.Option(help="The file to write; its SHA-256 is what the log states.")],
    as_json: JsonOption = False,
) -> None:
    """Show an auditor the gold prompts of a round; who has seen them cannot be weighed by them any more."""
    with open_service(load_server_config(config), environ=os.environ, version=__version__) as service:
        text = service.coordinator.gold(RoundId(round_id))
    if text is None:
        raise ConfigurationError("SF105", f"a round with gold prompts was expected, {round_id} has none")
    write_private(out, text)
    digest = hex_digest(sha256(text))
    emit({"round_id": round_id, "anchors_digest": digest}, as_json=as_json, text=f"{out}: {digest}")


@app.command("reset-standing")
def reset_standing(
    config: ConfigFile,
    member: Annotated[str, typer.Argument(help="The client's id.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, in one sentence, for the log.")],
    as_json: JsonOption = False,
) -> None:
    """Forget how a client fared in earlier rounds, for instance because it has mended its model."""
    with open_service(load_server_config(config), environ=os.environ, version=__version__) as service:
        entry = service.coordinator.reset_standing(MemberId(member), reason)
    emit({"member": member, "log_entry": entry}, as_json=as_json, text=f"{member} starts anew, log entry {entry}")


def _announce(
    coordinator: Coordinator, plan: RoundPlan, brought: PromptSet | None, proposals: RoundId
) -> RoundManifest:
    if brought is not None:
        return coordinator.open_round(plan, brought)
    prompt_set, source = coordinator.to_vote_on(proposals)
    return coordinator.open_round(replace(plan, candidates_from=source), prompt_set)


def _announced(manifest: RoundManifest) -> dict[str, Any]:
    return {
        "round_id": manifest.round_id,
        "kind": manifest.kind.value,
        "prompts": manifest.prompt_count,
        "prompt_set_digest": hex_digest(manifest.prompt_set_digest),
        "manifest_digest": hex_digest(manifest.digest),
        "opens_at": to_iso(from_ms(manifest.opens_at_ms)),
        "closes_at": to_iso(from_ms(manifest.closes_at_ms)),
        "ends_at": to_iso(from_ms(manifest.ends_at_ms)),
    }


def _plan(
    config: ServerConfig,
    kind: OutputKind,
    round_id: str | None,
    opens_in: int,
    asked: dict[str, Any],
    *,
    proposals: bool,
) -> RoundPlan:
    text = kind is OutputKind.TEXT
    embedder = _embedder(config) if text else None
    try:
        rounds = config.rounds.model_validate(config.rounds.model_dump() | _calibrated(config, embedder) | asked)
    except ValidationError as error:
        problems = "; ".join(f"{row['loc'][0]}: {row['msg']}" for row in error.errors())
        raise ConfigurationError("SF105", problems) from None
    now = SystemClock().now()
    closes_at = now + timedelta(seconds=opens_in + rounds.closes_in_seconds)
    floor = rounds.floor
    return RoundPlan(
        round_id=RoundId(round_id or f"round-{now:%Y%m%d-%H%M%S}"),
        kind=kind,
        rule=_rule(rounds, kind, asked, proposals=proposals),
        dp_floor=PrivacyFloor(
            max_epsilon=f"{floor.max_epsilon:f}",
            max_delta=f"{floor.max_delta:f}",
            unit=floor.unit,
            relation=floor.relation,
            mechanisms=floor.mechanisms,
        ),
        max_new_tokens=rounds.max_new_tokens,
        opens_at=now + timedelta(seconds=opens_in),
        closes_at=closes_at,
        opening_ends_at=closes_at + timedelta(seconds=rounds.opening_seconds) if text else None,
        embedder=embedder,
    )


def _groups(config: ServerConfig) -> tuple[Group, ...]:
    named = config.rounds.groups
    if not named:
        raise ConfigurationError("SF101", "--by-group needs [rounds.groups] in the server file")
    return tuple(Group(name, tuple(map(MemberId, sorted(named[name])))) for name in sorted(named))


def _rule(rounds: RoundsSection, kind: OutputKind, asked: dict[str, Any], *, proposals: bool) -> ConsensusRule:
    """Candidates need no majority: support is asked of them only where the command line does."""
    text = kind is OutputKind.TEXT
    labels: Literal["semantic_group", "weighted_plurality"] = "semantic_group" if text else "weighted_plurality"
    return ConsensusRule(
        name="proposals" if proposals else labels,
        min_clients=rounds.min_clients,
        min_support_ppm=asked.get("min_support_ppm", 0) if proposals else rounds.min_support_ppm,
        min_margin_ppm=0 if proposals else rounds.min_margin_ppm,
        similarity_ppm=rounds.similarity_ppm if text else 0,
        trim_ppm=rounds.trim_ppm if text else 0,
        weights=rounds.weights,
        max_candidates=rounds.max_candidates if proposals else 0,
    )


def _embedder(config: ServerConfig) -> Embedder:
    if config.embedder is None:
        raise ConfigurationError("SF101", "a text round needs [embedder] in the server file")
    from semfed_secure.llm.embedding import describe_embedder

    model = describe_embedder(config.embedder.source)
    return Embedder(model.name, model.weights_digest, model.dimension)


def _calibrated(config: ServerConfig, embedder: Embedder | None) -> dict[str, int]:
    """What the calibration says, if there is one and the round compares texts."""
    if embedder is None or config.embedder is None or config.embedder.calibration is None:
        return {}
    return {"similarity_ppm": calibrated_similarity_ppm(config.embedder.calibration, embedder.weights_digest)}


def _ppm(share: float | None) -> int | None:
    return None if share is None else round(share * 1_000_000)


def _status_text(document: dict[str, Any]) -> str:
    refused = [f"{row['member']} ({row['code']})" for row in document["refused"]]
    rows = [
        ("state", document["state"]),
        ("reason", document["reason"] or ""),
        ("kind", document["kind"]),
        ("prompts", document["prompts"]),
        ("closes at", document["closes_at"]),
        ("ends at", document["opening_ends_at"] or document["closes_at"]),
        *((f"group {name}", ", ".join(members)) for name, members in document["groups"].items()),
        ("expected", ", ".join(document["expected"])),
        ("committed", ", ".join(document["committed"])),
        ("admitted", ", ".join(document["admitted"])),
        ("refused", ", ".join(refused)),
    ]
    head = table(["round", document["round_id"]], rows)
    if document["report"] is None:
        return head
    return "\n\n".join([head, *map(_group_text, document["report"]["groups"])])


def _group_text(report: dict[str, Any]) -> str:
    group = f"group {report['group']}: " if report["group"] else ""
    counts = f"agreed {report['agreed']}, contested {report['contested']}, too few {report['too_few']}"
    headers = ["client", "answered", "weight", "agreement", "trimmed", "changed", "agreed only with"]
    clients = [
        (
            client["member"],
            client["answered"],
            client["weight_ppm"] / 1e6,
            client["agreement_ppm"] / 1e6,
            client["trimmed_ppm"] / 1e6,
            client["influence"]["changed"],
            client["influence"]["agreed_only_with"],
        )
        for client in report["clients"]
    ]
    others = [
        f"weights `{other['weights']}` would change {other['changed']} prompts and agree on {other['agreed']}"
        for other in report["other_weights"]
    ]
    reasons = [f"{client['member']}: {client['why']}" for client in report["clients"]]
    weighed = "\n".join([f"weights `{report['weights']}`", *others, *reasons])
    return f"{group}{counts}\n\n{table(headers, clients)}\n\n{weighed}"
