"""Adapter training: DP-SGD on private records, plain steps on public pseudo-labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.clipping import clipped_sum
from semfed_secure.privacy.batches import PoissonBatches
from semfed_secure.privacy.grid import GridNoise, values_of
from semfed_secure.privacy.parameters import valid_count, valid_expected_entities
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from semfed_secure.llm.adapter import LoraAdapter
    from semfed_secure.llm.lessons import Lesson
    from semfed_secure.llm.model import Progress, TrainingPlan
    from semfed_secure.llm.split import SplitModel

_BETAS = (0.9, 0.99)


def train_privately(
    split: SplitModel,
    adapter: LoraAdapter,
    lessons: Sequence[Lesson],
    *,
    entities: int,
    plan: TrainingPlan,
    rate: float,
    progress: Progress,
) -> None:
    """DP-SGD: train ``adapter`` exactly as ``plan`` says.

    Privacy unit: one entity with all its questions.
    Sensitivity: ``clip_norm``; the gradients of an entity's questions are summed, and that sum is clipped to integers.
    Guarantee: as accounted for ``steps`` Gaussian releases with Poisson batches, by exact discrete Gaussian noise on
    integers; a step whose batch is empty adds its noise all the same.
    Assumes: no layer mixes questions of a batch, so that nobody's gradient depends on who else was drawn; this holds
    up to rounding, for which clipping leaves room.

    Raises:
        ConfigurationError: SF141 if the plan is not one that can be accounted; SF132 if a layer mixes questions.
    """
    valid_count("steps", plan.steps)
    expected = valid_expected_entities(plan.expected_entities)
    noise, batches = _noise(plan), PoissonBatches.from_system()
    parameters = adapter.parameters
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=_BETAS)
    mean = [torch.zeros_like(parameter) for parameter in parameters]
    averaged = 0
    for step in range(plan.steps):
        chosen = torch.from_numpy(batches.draw(entities, plan.sample_rate))
        total = clipped_sum(split, adapter.maps, lessons, chosen, plan.clip_norm)
        noisy = total if noise is None else noise.add_to(total)  # private before, released after
        mean_gradient = torch.from_numpy(values_of(noisy, plan.clip_norm) / expected).float()
        _step(optimizer, parameters, mean_gradient, rate * min(1.0, 1.5 * (1 - step / plan.steps)))
        if step >= plan.steps // 2:  # averaging is post-processing, and halves the noise that is left
            averaged += 1
            for kept, parameter in zip(mean, parameters, strict=True):
                kept.lerp_(parameter.detach(), 1 / averaged)
        progress(step + 1, plan.steps)
    with torch.no_grad():
        for kept, parameter in zip(mean, parameters, strict=True):
            parameter.copy_(kept)


def train_on_labels(
    split: SplitModel,
    adapter: LoraAdapter,
    lessons: Sequence[Lesson],
    *,
    rate: float,
    epochs: int,
    batch: int,
    progress: Progress,
) -> None:
    """Train ``adapter`` on public questions; no private record is near, so nothing is clipped, noised or spent."""
    parameters = adapter.parameters
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    shuffle = np.random.default_rng(0)
    steps = epochs * sum(-(-len(lesson) // batch) for lesson in lessons)
    done = 0
    for _ in range(epochs):
        batches = [
            (lesson, rows)
            for lesson in lessons
            for rows in torch.split(torch.from_numpy(shuffle.permutation(len(lesson))), batch)
        ]
        for place in shuffle.permutation(len(batches)):
            lesson, rows = batches[place]
            optimizer.param_groups[0]["lr"] = rate * (1 - done / steps)
            optimizer.zero_grad()
            for piece in lesson.pieces(split, rows):
                torch.autograd.backward(piece.losses(split).sum() / len(rows))
            optimizer.step()
            done += 1
            progress(done, steps)


def _noise(plan: TrainingPlan) -> GridNoise | None:
    """What each step adds; nothing only under the mechanism that says so."""
    if plan.mechanism is not Mechanism.UNSAFE_NO_NOISE:
        return GridNoise(plan.noise_multiplier)
    if plan.noise_multiplier:
        raise ConfigurationError("SF141", "noise was not expected under unsafe_no_noise")
    return None


def _step(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], gradient: Tensor, rate: float) -> None:
    pieces = torch.split(gradient, [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
