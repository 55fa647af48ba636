"""Scores of a model on public labelled prompts: for the validation check, and for the operator's eyes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.client.answers import answers_right
from semfed_secure.client.records import read_labelled
from semfed_secure.client.site import SCORES
from semfed_secure.identity.files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.client.site import Site
    from semfed_secure.llm.model import Model

BASE, LOCAL, CONSENSUS = "base", "local", "consensus"
"""Stages: untrained, or as a model that only answers is before the first round's labels; after private training; after
learning from a round."""


def evaluate(site: Site, model: Model, *, stage: str, round_id: str) -> float | None:
    """Score the active model on the site's public evaluation set, if it has one, and write the scores down.

    The scores decide nothing and never leave the site. ``right`` in the file says for each line of the set whether
    it was answered exactly right. A stage that was scored before is not scored again.
    """
    if site.config.evaluation is None:
        return None
    path = scores_file(site, stage=stage, round_id=round_id)
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["score"])
    right = answers_right(model, read_labelled(site.config.evaluation.file))
    score = sum(right) / max(1, len(right))
    document = {"round": round_id, "stage": stage, "score": score, "right": right}
    replace_file(path, json.dumps(document).encode())
    return score


def scores_file(site: Site, *, stage: str, round_id: str) -> Path:
    """Where the scores of one stage lie: ``base.json``, ``ROUND.local.json``, ``ROUND.consensus.json``."""
    name = f"{stage}.json" if stage == BASE else f"{round_id}.{stage}.json"
    return site.directory(SCORES) / name


def validation_score(site: Site, model: Model) -> float | None:
    """Share of the site's public validation prompts that the active model gets right; None without such a set."""
    if site.config.validation is None:
        return None
    right = answers_right(model, read_labelled(site.config.validation.file))
    return sum(right) / max(1, len(right))
