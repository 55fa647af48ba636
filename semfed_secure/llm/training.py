"""Adapter training: DP-SGD on private records, plain steps on public pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn
from torch.nn import functional

from semfed_secure.privacy.noise import GaussianNoise, PoissonBatches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.llm.adapter import LoraAdapter
    from semfed_secure.llm.model import Progress, TrainingPlan
    from semfed_secure.llm.split import SplitModel, States

_BETAS = (0.9, 0.99)
_AVERAGED = 0.5  # the last half of the steps: averaging is post-processing and halves the noise that is left
_ENTITIES_AT_A_TIME = 256  # per-entity gradients of 100 000 parameters: 100 MB


@dataclass(frozen=True, slots=True)
class Lesson:
    """Questions of one shape with their right answers.

    A closed question is decided among the tokens ``among`` at its one active token; an open one is answered token by
    token over the whole vocabulary.

    Attributes:
        states: What the frozen layers leave of the questions (and, for open ones, of the answers).
        targets: Right tokens, int64 ``(questions, active)``; for closed questions positions in ``among``. -1 beyond.
        among: Tokens to choose from; None for open questions.
        owners: Whose question it is, int64 ``(questions,)``.
    """

    states: States
    targets: Tensor
    among: Tensor | None
    owners: Tensor

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.owners)

    def take(self, rows: Tensor) -> Lesson:
        """Some of the questions."""
        return Lesson(self.states.take(rows), self.targets[rows], self.among, self.owners[rows])

    def losses(self, split: SplitModel) -> Tensor:
        """One loss per question, ``(questions,)``: the mean over its own answer's tokens, never over a batch's."""
        hidden = split.top(self.states)
        logits = hidden @ split.head.weight[self.among].T if self.among is not None else split.head(hidden)
        flat = functional.cross_entropy(logits.flatten(0, 1), self.targets.flatten(), reduction="none", ignore_index=-1)
        counted = (self.targets >= 0).sum(1)
        return flat.view_as(self.targets).sum(1) / counted


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
    Sensitivity: ``clip_norm``; the gradients of an entity's questions are summed, and that sum is clipped.
    Guarantee: as accounted for ``steps`` Gaussian releases with Poisson batches; a step whose batch is empty adds
    its noise all the same.
    Assumes: per-question gradients are those of Opacus' hooks, and no layer mixes questions of a batch.
    """
    parameters = adapter.parameters
    noise, batches = GaussianNoise.from_system(), PoissonBatches.from_system()
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=_BETAS)
    mean = [torch.zeros_like(parameter) for parameter in parameters]
    averaged = 0
    adapter.model.train()
    hooks = GradSampleHooks(adapter.model, loss_reduction="sum", strict=False)
    try:
        for step in range(plan.steps):
            chosen = torch.from_numpy(batches.draw(entities, plan.sample_rate))
            total = _clipped_sum(split, parameters, lessons, chosen, entities, plan.clip_norm)
            total += plan.noise_multiplier * plan.clip_norm * _draw(noise, len(total))
            _step(optimizer, parameters, total / plan.expected_entities, rate * min(1.0, 1.5 * (1 - step / plan.steps)))
            if step >= plan.steps * (1 - _AVERAGED):
                averaged += 1
                for kept, parameter in zip(mean, parameters, strict=True):
                    kept.lerp_(parameter.detach(), 1 / averaged)
            progress(step + 1, plan.steps)
    finally:
        hooks.cleanup()
        adapter.model.eval()
    with torch.no_grad():
        for kept, parameter in zip(mean, parameters, strict=True):
            parameter.copy_(kept)
    adapter.blank = False


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
    adapter.model.train()
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
            torch.autograd.backward(lesson.take(rows).losses(split).mean())
            optimizer.step()
            done += 1
            progress(done, steps)
    adapter.model.eval()
    adapter.blank = False


def _clipped_sum(
    split: SplitModel,
    parameters: Sequence[nn.Parameter],
    lessons: Sequence[Lesson],
    chosen: Tensor,
    entities: int,
    clip_norm: float,
) -> Tensor:
    """The sum of the chosen entities' clipped gradients, ``(parameters,)``; zero for nobody."""
    total = torch.zeros(sum(parameter.numel() for parameter in parameters))
    for group in torch.split(chosen, _ENTITIES_AT_A_TIME):
        place = torch.full((entities,), -1)
        place[group] = torch.arange(len(group))
        own = torch.zeros(len(group), len(total))
        for lesson in lessons:
            rows = torch.nonzero(place[lesson.owners] >= 0).flatten()
            if len(rows):
                here = lesson.take(rows)
                own.index_add_(0, place[here.owners], _per_question(split, parameters, here))
        norms = own.norm(dim=1)
        own[~norms.isfinite()] = 0  # an entity whose gradient overflows adds nothing, rather than everything
        # INVARIANT: no row of `own` counts with more than clip_norm, whatever a question holds.
        total += (clip_norm / norms.nan_to_num(nan=clip_norm, posinf=clip_norm).clamp(min=clip_norm)) @ own
    return total


def _per_question(split: SplitModel, parameters: Sequence[nn.Parameter], lesson: Lesson) -> Tensor:
    """Gradient of each question's own loss, ``(questions, parameters)``."""
    for parameter in parameters:
        parameter.grad = None
        parameter.grad_sample = None  # type: ignore[attr-defined] # Opacus keeps it on the parameter
    torch.autograd.backward(lesson.losses(split).sum())
    rows = [parameter.grad_sample.flatten(1) for parameter in parameters]  # type: ignore[attr-defined]
    for parameter in parameters:
        parameter.grad = None
        parameter.grad_sample = None  # type: ignore[attr-defined]
    return torch.cat(rows, 1)


def _step(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], gradient: Tensor, rate: float) -> None:
    pieces = torch.split(gradient, [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def _draw(noise: GaussianNoise, count: int) -> Tensor:
    return torch.from_numpy(noise.standard_normal(count)).float()
