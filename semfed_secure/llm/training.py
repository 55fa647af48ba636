"""Adapter training: DP-SGD on private records, plain steps on public pseudo-labels."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn
from torch.nn import functional

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.noise import GaussianNoise, PoissonBatches
from semfed_secure.privacy.parameters import valid_count, valid_noise, valid_sensitivity
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from semfed_secure.llm.adapter import LoraAdapter
    from semfed_secure.llm.model import Progress, TrainingPlan
    from semfed_secure.llm.split import SplitModel, States

_BETAS = (0.9, 0.99)
_ENTITIES, _FLOATS = 128, 1 << 25  # per-entity gradients at a time: at most 134 MB


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
        states = self.states.take(rows)
        return Lesson(states, self.targets[rows, : states.hidden.shape[1]], self.among, self.owners[rows])

    def pieces(self, split: SplitModel, rows: Tensor, *, floats: int = 0) -> Iterator[Lesson]:
        """``rows`` in pieces small enough for one pass, each question needing ``floats`` beside its logits."""
        choices = split.head.out_features if self.among is None else len(self.among)
        for run in self.states.runs(rows, floats=floats + self.targets.shape[1] * choices):
            yield self.take(run)

    def losses(self, split: SplitModel) -> Tensor:
        """One loss per question, ``(questions,)``: the mean over its own answer's tokens, never over a batch's."""
        hidden = split.top(self.states)
        counted = self.targets >= 0
        each = functional.cross_entropy(
            split.logits(hidden[counted], self.among), self.targets[counted], reduction="none"
        )
        sums = torch.zeros(len(self)).index_add(0, counted.nonzero()[:, 0], each)
        return sums / counted.sum(1)


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
    Assumes: per-question gradients are those of Opacus' hooks, and no layer mixes questions of a batch; both hold up
    to rounding.

    Raises:
        ConfigurationError: SF141 if the plan is not one that can be accounted; SF132 if a layer mixes questions.
    """
    scale = _noise_scale(plan)
    parameters = adapter.parameters
    noise, batches = GaussianNoise.from_system(), PoissonBatches.from_system()
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=_BETAS)
    mean = [torch.zeros_like(parameter) for parameter in parameters]
    averaged = 0
    with _recording(adapter):
        for step in range(plan.steps):
            chosen = torch.from_numpy(batches.draw(entities, plan.sample_rate))
            total = _clipped_sum(split, parameters, lessons, chosen, entities, plan.clip_norm)
            total += scale * torch.from_numpy(noise.standard_normal(len(total))).float()
            _step(optimizer, parameters, total / plan.expected_entities, rate * min(1.0, 1.5 * (1 - step / plan.steps)))
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


def _noise_scale(plan: TrainingPlan) -> float:
    """Standard deviation of each step's noise; zero only under the mechanism that says so."""
    clip_norm = valid_sensitivity(plan.clip_norm)
    valid_count("steps", plan.steps)
    if plan.mechanism is not Mechanism.UNSAFE_NO_NOISE:
        return valid_noise(plan.noise_multiplier) * clip_norm
    if plan.noise_multiplier:
        raise ConfigurationError("SF141", "noise was not expected under unsafe_no_noise")
    return 0.0


@contextmanager
def _recording(adapter: LoraAdapter) -> Iterator[None]:
    """Let Opacus keep each question's gradient; all but the adapter's own maps stays as it answers, without dropout."""
    hooks = GradSampleHooks(adapter.model, loss_reduction="sum", strict=False)
    for module in adapter.model.modules():
        module.training = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    try:
        with warnings.catch_warnings():
            # Nothing below the lowest adapter learns, so the first map's input asks for no gradient; as it should be.
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            yield
    finally:
        hooks.cleanup()
        adapter.model.eval()


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
    groups = torch.split(chosen, max(1, min(_ENTITIES, _FLOATS // len(total))))
    room = torch.empty(len(groups[0]), len(total))  # once: fresh memory for each group costs more than the arithmetic
    for group in groups:
        place = torch.full((entities,), -1)
        place[group] = torch.arange(len(group))
        own = room[: len(group)].zero_()
        for lesson in lessons:
            rows = torch.nonzero(place[lesson.owners] >= 0).flatten()
            for piece in lesson.pieces(split, rows, floats=len(total)) if len(rows) else ():
                _add_gradients(own, place[piece.owners], split, parameters, piece)
        norms = own.norm(dim=1)
        if not norms.isfinite().all():
            own[~norms.isfinite()] = 0  # an entity whose gradient overflows adds nothing, rather than everything
        # INVARIANT: no row of `own` counts with more than clip_norm, whatever a question holds.
        total += (clip_norm / norms.nan_to_num(nan=clip_norm, posinf=clip_norm).clamp(min=clip_norm)) @ own
    return total


def _add_gradients(
    own: Tensor, places: Tensor, split: SplitModel, parameters: Sequence[nn.Parameter], lesson: Lesson
) -> None:
    """Add the gradient of each question's own loss to its row of ``own``."""
    torch.autograd.backward(lesson.losses(split).sum())
    at = 0
    for parameter in parameters:
        each: Tensor = parameter.grad_sample  # type: ignore[attr-defined] # Opacus keeps it on the parameter
        if each.shape != (len(lesson), *parameter.shape):
            raise ConfigurationError("SF132", "a layer of this model mixes the questions of a batch")
        own[:, at : at + parameter.numel()].index_add_(0, places, each.flatten(1))
        at += parameter.numel()
        parameter.grad = parameter.grad_sample = None  # type: ignore[attr-defined]


def _step(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], gradient: Tensor, rate: float) -> None:
    pieces = torch.split(gradient, [parameter.numel() for parameter in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
