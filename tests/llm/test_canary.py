"""One entity that may or may not be there: each step of training shows no more of it than was accounted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from scipy.stats import norm

from semfed_secure.llm import training
from semfed_secure.llm.lessons import Lesson, open_lesson
from semfed_secure.llm.model import TrainingPlan
from semfed_secure.llm.questions import Wording
from semfed_secure.llm.training import train_privately
from semfed_secure.privacy import grid
from semfed_secure.units import Mechanism
from tests.llm import tiny
from tests.llm.test_training import CLIP, World, _batch_averaged, _halved, _per_record, _unclipped, world

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from semfed_secure.llm.reading import Reading
    from semfed_secure.llm.split import States


def _shared_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step's noise is that of the first: whoever sees two steps takes it away."""
    kept: list[np.ndarray] = []
    draw = grid.DiscreteGaussian.draw

    def once(self, count):
        if not kept:
            kept.append(draw(self, count))
        return kept[0]

    monkeypatch.setattr(grid.DiscreteGaussian, "draw", once)


CANARY, CANARY_STEPS = 5, 200
CANARY_PLAN = TrainingPlan(Mechanism.DP_SGD, 0.5, 1.0, CANARY_STEPS, CLIP, 4.0)


@pytest.fixture(scope="module")
def canaries() -> tuple[World, World]:
    """A world without the canary, and with it: three times the same question, whose gradient is long and known."""
    without = world()
    rows = [("he", "car", owner) for owner in range(CANARY)]
    wording = Wording(tiny.tokenizer(), most=512)

    def lessons(rows: list[tuple[str, str, int]]) -> tuple[Lesson, ...]:
        def read(reading: Reading) -> States:
            with without.adapter.off():
                return without.split.states(reading.tokens, reading.active)

        return (open_lesson(wording, rows, read),)

    long = "a rather long answer that has more tokens than all the others"
    quiet = replace(without, lessons=lessons(rows))
    return quiet, replace(without, lessons=lessons([*rows, *[("the chest", long, CANARY)] * 3]))


def check_canary(canaries: tuple[World, World]) -> None:
    """Fail unless steps with and without the canary are told apart no better than the noise multiplier allows.

    Each step releases one total. Along the line between what is released with and without the canary, in units of what
    is added, the two lie at most 1 / noise_multiplier apart. One run in a million fails by chance; a canary at the
    clipping norm lies nearly that far away, so that the check can fail.
    """
    quiet, loud = (_released_with(here) for here in canaries)
    clean = [_released_with(here, noise=False)[0] for here in canaries]
    direction = (clean[1] - clean[0]) / (clean[1] - clean[0]).norm()
    out, within = quiet @ direction, loud @ direction
    spread = float(torch.cat([out - out.mean(), within - within.mean()]).square().sum()) / (2 * CANARY_STEPS - 2)
    apart = float(within.mean() - out.mean()) / math.sqrt(spread) if spread > 0 else math.inf
    error = math.sqrt(2 / CANARY_STEPS + apart**2 / (4 * CANARY_STEPS)) if math.isfinite(apart) else 0.0
    allowed = 1 / CANARY_PLAN.noise_multiplier
    assert apart - norm.ppf(1 - 1e-6) * error <= allowed
    assert apart + norm.ppf(1 - 1e-6) * error >= 0.99 * allowed


def _released_with(here: World, *, noise: bool = True) -> torch.Tensor:
    plan = CANARY_PLAN if noise else replace(CANARY_PLAN, mechanism=Mechanism.UNSAFE_NO_NOISE, noise_multiplier=0.0)
    plan = plan if noise else replace(plan, steps=1)
    seen: list[torch.Tensor] = []
    sums, kept = training.clipped_sum, []

    def once(*given):
        """The adapter stands still and everybody is drawn: the sum is the same at every step."""
        if not kept:
            kept.append(sums(*given))
        return kept[0].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_step", lambda _o, _p, gradient, _r: seen.append(gradient * plan.expected_entities))
        patch.setattr(training, "clipped_sum", once)
        train_privately(
            here.split,
            here.adapter,
            here.lessons,
            entities=CANARY + 1,
            plan=plan,
            rate=0.1,
            progress=lambda done, total: None,
        )
    return torch.stack(seen)


def test_a_canary_shows_no_more_than_the_noise_allows(canaries: tuple[World, World]) -> None:
    """Step by step, whoever knows everything but whether one entity is there learns what was accounted, no more."""
    check_canary(canaries)


@pytest.mark.parametrize("broken", [_halved, _unclipped, _batch_averaged, _per_record, _shared_draws])
def test_a_canary_shows_more_in_broken_training(
    broken: Callable[..., None], canaries: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise halved, no clipping, batch-averaged loss, record instead of entity, noise used again: each is noticed."""
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        check_canary(canaries)
