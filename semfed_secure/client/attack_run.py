"""One attacked training run: train on records and canaries, release as in a round, note what was given away.

Training and answering are those of a round (`TrainableModel.fit_private`, `vote_on`, `write_on`). Nothing here knows a
site: no budget, no log, no adapter store; what was trained lies in a directory that is gone afterwards.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.client.answers import vote_on, write_on
from semfed_secure.client.attack_canaries import Canary, answers_of, worst_case_prompts
from semfed_secure.client.ballots import NearestPrompts
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.messages import ABSTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from semfed_secure.llm.model import Record, TrainableModel, TrainingPlan
    from semfed_secure.wire.prompts import PromptSet

WRITTEN_TOKENS = 8
"""Tokens of a written answer: enough for the label that it may begin with."""
WRITING_CANARIES = 10
"""Canaries whose questions are also answered in writing: writing takes far longer than choosing."""
_UNCLIPPED = 100.0  # times the clipping norm: more than any entity's gradient


class Variant(StrEnum):
    """What is trained: the production configuration, or one that breaks a named promise of it."""

    PRODUCTION = "production"
    NO_NOISE = "no_noise"
    NO_CLIPPING = "no_clipping"
    RECORD_INSTEAD_OF_ENTITY = "record_instead_of_entity"


class Asked(StrEnum):
    """Which prompts were answered."""

    PRODUCTION = "production prompts"
    WORST_CASE = "worst-case prompts"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one kind of release gave away about each of some canaries.

    Attributes:
        asked: Which prompts were answered.
        kind: How.
        members: Which canaries were trained on, ``(canaries,)``.
        matches: Whether the answer next to each of their questions was their own, ``(canaries, records)``.
        scores: The attacker's order of the canaries, the surest members highest, ``(canaries,)``.
        answers: How many answers a canary's could have been.
    """

    asked: Asked
    kind: OutputKind
    members: NDArray[np.bool_]
    matches: NDArray[np.bool_]
    scores: NDArray[np.float64]
    answers: int


def broken_variants(*, records_each: int) -> tuple[Variant, ...]:
    """What can be broken: with one record each, records are entities."""
    every = (Variant.NO_NOISE, Variant.NO_CLIPPING, Variant.RECORD_INSTEAD_OF_ENTITY)
    return every if records_each > 1 else every[:-1]


def plan_of(variant: Variant, plan: TrainingPlan) -> TrainingPlan:
    """The production plan, or the same noise (or none) with a promise broken."""
    match variant:
        case Variant.NO_NOISE:
            return replace(plan, mechanism=Mechanism.UNSAFE_NO_NOISE, noise_multiplier=0.0)
        case Variant.NO_CLIPPING:  # the noise stays what it was
            noise = plan.noise_multiplier / _UNCLIPPED
            return replace(plan, clip_norm=plan.clip_norm * _UNCLIPPED, noise_multiplier=noise)
        case _:
            return plan


def attack(
    model: TrainableModel,
    variant: Variant,
    *,
    plan: TrainingPlan,
    records: Sequence[Record],
    canaries: Sequence[Canary],
    prompts: PromptSet,
) -> tuple[Evidence, ...]:
    """Train one variant from the untrained model on ``records`` and the canaries that are in; say what it gives away.

    The model is left untrained, and nothing of the trained adapter is kept.
    """
    trained = [*records, *(record for canary in canaries if canary.member for record in canary.records())]
    if variant is Variant.RECORD_INSTEAD_OF_ENTITY:
        trained = [replace(record, entity_id=f"{record.entity_id}#{n}") for n, record in enumerate(trained)]
    with TemporaryDirectory(prefix="semfed-audit-") as directory:
        model.use_adapter(None)
        try:
            model.fit_private(
                trained,
                candidates=prompts.all_candidates,
                plan=plan_of(variant, plan),
                directory=Path(directory),
                progress=_silently,
            )
            return tuple(_released(model, canaries, prompts))
        finally:
            model.use_adapter(None)


def _released(model: TrainableModel, canaries: Sequence[Canary], prompts: PromptSet) -> list[Evidence]:
    near = NearestPrompts(prompts)
    nearest = [[next(iter(near.of(question)), None) for question in canary.questions] for canary in canaries]
    found = []
    for kind in (OutputKind.VOTES, OutputKind.TEXT) if prompts.all_candidates else (OutputKind.TEXT,):
        said = answers_to(model, prompts, kind)
        next_to = [[None if place is None else said[place] for place in places] for places in nearest]
        found.append(evidence(Asked.PRODUCTION, kind, canaries, next_to, answers=answers_of(prompts)))
        asked = canaries if kind is OutputKind.VOTES else canaries[:WRITING_CANARIES]
        own = iter(answers_to(model, worst_case_prompts(asked, prompts), kind))
        next_to = [[next(own) for _ in canary.questions] for canary in asked]
        found.append(evidence(Asked.WORST_CASE, kind, asked, next_to, answers=answers_of(prompts)))
    return found


def answers_to(model: TrainableModel, prompts: PromptSet, kind: OutputKind) -> list[str | None]:
    """What a site would release on ``prompts``, each as the answer it amounts to; None where it is none of them.

    A text amounts to the longest answer that it begins with.
    """
    if kind is OutputKind.VOTES:
        votes = vote_on(model, prompts)
        choices = [prompts.candidates_of(prompt) for prompt in prompts.prompts]
        return [None if vote == ABSTAIN else own[vote] for vote, own in zip(votes, choices, strict=True)]
    longest = sorted(answers_of(prompts), key=len, reverse=True)
    texts = write_on(model, prompts, max_new_tokens=WRITTEN_TOKENS)
    return [
        next((answer for answer in longest if (text or "").casefold().startswith(answer.casefold())), None)
        for text in texts
    ]


def evidence(
    asked: Asked,
    kind: OutputKind,
    canaries: Sequence[Canary],
    said: Sequence[Sequence[str | None]],
    *,
    answers: Sequence[str],
) -> Evidence:
    """What the answers next to each canary's questions say about it: a match counts more, the rarer its answer is."""
    heard = Counter(answer for row in said for answer in row if answer is not None)
    surprise = {answer: math.log((1 + heard.total()) / count) for answer, count in heard.items()}
    matches = np.array(
        [
            [answer == own for answer, own in zip(row, canary.answers, strict=True)]
            for row, canary in zip(said, canaries, strict=True)
        ]
    )
    weights = np.array([[surprise.get(own, 0.0) for own in canary.answers] for canary in canaries])
    return Evidence(
        asked=asked,
        kind=kind,
        members=np.array([canary.member for canary in canaries]),
        matches=matches,
        scores=np.asarray((matches * weights).sum(axis=1), dtype=np.float64),
        answers=len(answers),
    )


def _silently(done: int, total: int) -> None:
    """Progress is shown variant by variant."""
