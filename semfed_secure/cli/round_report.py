"""``semfed round report``: what came out of a round and how, as data, text and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.errors import ConfigurationError, ConsensusError
from semfed_secure.identity.files import replace_file
from semfed_secure.ids import RoundId
from semfed_secure.server import report_pictures as pictures
from semfed_secure.server.config import load_server_config
from semfed_secure.server.report_words import findings, markdown
from semfed_secure.server.service import open_overview

EARLIER = 20
"""Rounds whose weights are drawn, the reported one included."""


def report(
    config: Annotated[Path, typer.Option("--config", help="The server file (TOML).", show_default=False)],
    round_id: Annotated[str, typer.Argument(help="The round's id.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="A directory; it is made if it is not there.")],
    as_json: JsonOption = False,
) -> None:
    """Write report.json, report.md and pictures (SVG) of a round: they name members, and are for the operator."""
    with open_overview(load_server_config(config)) as overview:
        status: dict[str, Any] = overview.status(RoundId(round_id))
        if status["report"] is None:
            raise ConsensusError("SF401", f"a round with a consensus was expected, {round_id} has none yet")
        heads = [head.round_id for head in overview.rounds() if head.state == "published" or head.round_id == round_id]
        names = heads[: heads.index(round_id) + 1][-EARLIER:]
        reports = {name: status if name == round_id else overview.status(RoundId(name)) for name in names}
    files = _files(status, {name: _weights(each) for name, each in reports.items()})
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            replace_file(out / name, content.encode())
    except OSError as error:
        raise ConfigurationError("SF102", f"{out} cannot be written: {error.strerror}") from error
    found = [
        f"{group['group']}: {sentence}" if group["group"] else sentence
        for group in status["report"]["groups"]
        for sentence in findings(group)
    ]
    text = "\n".join([f"{out}: {', '.join(files)}", *found])
    emit({"round_id": round_id, "out": str(out), "files": [*files], "findings": found}, as_json=as_json, text=text)


def _weights(status: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {row["member"]: row for group in status["report"]["groups"] for row in group["clients"]}


def _files(status: dict[str, Any], rounds: dict[str, dict[str, Any]]) -> dict[str, str]:
    drawn = [_drawn(group, rounds) for group in status["report"]["groups"]]
    text = markdown(status, [{words: file for words, (file, _) in group.items()} for group in drawn])
    pictures = sorted(picture for group in drawn for picture in group.values())
    return {"report.json": json.dumps(status, indent=1, sort_keys=True), "report.md": text} | dict(pictures)


def _drawn(own: dict[str, Any], rounds: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """The pictures of one group with their file names, which begin with the group's, by what they show."""
    members = [row["member"] for row in own["clients"]]
    drawn: dict[str, tuple[str, str]] = {
        "Support": ("support.svg", pictures.support_histogram(own["prompts"])),
        "Agreement of each two clients": ("agreement.svg", pictures.agreement_map(members, own["agreement_permille"])),
        "Trimmed answers": ("trimmed.svg", pictures.trimmed_shares(own["clients"])),
    }
    for name, file, words in (
        ("weight_ppm", "weights.svg", "Weight that counted, over rounds"),
        ("observed_weight_ppm", "weights-by-behaviour.svg", "Weight that behaviour would earn, over rounds"),
    ):
        lines = {
            member: [rows[member][name] if member in rows else None for rows in rounds.values()] for member in members
        }
        drawn[words] = file, pictures.weights_over_rounds([*rounds], lines, words)
    prefix = f"{own['group']}-" if own["group"] else ""
    return {words: (prefix + file, picture) for words, (file, picture) in drawn.items()}
