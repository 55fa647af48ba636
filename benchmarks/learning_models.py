"""The models of `learning.py`: parts of the product, put together so that a phrase is read once for all sites.

Frozen layers, adapter, questions and training are `semfed_secure.llm`'s own. What differs from `LocalModel`: phrases
are numbers into states that are kept for the whole task, a model may be cut, and tensors may lie on an accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from learning_tasks import BATCH
from safetensors.torch import load_file, save_file

from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.lessons import Lesson
from semfed_secure.llm.loading import load_causal_model
from semfed_secure.llm.questions import Fork, Wording
from semfed_secure.llm.reading import Reading, StateReader
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.llm.split import SplitModel, States, verify_split
from semfed_secure.llm.training import train_on_labels, train_privately

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from learning_tasks import Ints, Task

    from semfed_secure.llm.model import TrainingPlan


@dataclass(frozen=True, slots=True)
class Family:
    """A model: its weights, how much of it is left, how it learns."""

    name: str
    source: str
    settings: LocalSettings
    layers: int | None = None
    """Only the first so many layers are kept: the smaller model."""


FAMILIES = {
    "smollm": Family("smollm", "smollm2-135m", LocalSettings(layers=4, private_rate=0.03)),
    "gemma": Family("gemma", "gemma-3-270m", LocalSettings(layers=4, private_rate=0.015)),
    "small": Family("small", "smollm2-135m", LocalSettings(layers=4, private_rate=0.03), layers=8),
}
FAST_FAMILIES = {
    name: Family(name, "smollm2-135m", LocalSettings(layers=1), layers=depth)
    for name, depth in (("smollm", 3), ("gemma", 3), ("small", 2))
}
RATE = 0.004


class Learner:
    """One family on one task."""

    def __init__(self, family: Family, source: Path, task: Task, *, states: Path, device: str = "cpu") -> None:
        self.family, self.source, self.task = family, source, task
        self._device = torch.device(device)
        torch.set_default_device(self._device)  # the parts of the product make their tensors where this says
        torch.set_num_threads(1)
        loaded = load_causal_model(source)
        model = loaded.model.to(self._device)
        if family.layers is not None:
            model.model.layers = model.model.layers[: family.layers]
            model.config.num_hidden_layers = family.layers
        split = SplitModel(model, layers=family.settings.layers)
        self._split = split if family.layers is not None else verify_split(split, model)
        self.adapter = LoraAdapter(model, family.settings)
        self._wording = Wording(loaded.tokenizer, most=family.settings.max_tokens)
        self._reader = StateReader(self._split, self.adapter, digest=loaded.digest, batch=64, share=states)

    @cached_property
    def _read(self) -> list[tuple[Fork, States]]:
        """What the frozen layers leave of every phrase, at every place where the labels part."""
        prompts = [tuple(self._wording.prompt(text)) for text in self.task.questions]
        found = []
        for fork in self._wording.forks(self.task.labels):
            rows, active = tuple((*prompt, *fork.shared) for prompt in prompts), 1 + len(fork.shared)
            states = self._reader.public(Reading(rows, (active,) * len(rows)))
            found.append((fork, States(**{n: getattr(states, n).to(self._device) for n in States.__slots__})))
        return found

    def start(self, seed: int) -> None:
        """A fresh adapter, the same for everybody who starts from ``seed``."""
        torch.manual_seed(seed)
        self.adapter.reset()

    def save(self, path: Path) -> None:
        """Write the adapter; it appears whole or not at all."""
        beside = path.with_suffix(".part")
        save_file({name: value.detach().cpu().contiguous() for name, value in self._trained()}, beside)
        beside.replace(path)

    def use(self, *paths: Path, weights: Sequence[float] = (1.0,)) -> None:
        """Go on from a saved adapter, or from the weighted mean of several: federated averaging."""
        shares = np.array(weights, dtype=float) / sum(weights)
        saved = [load_file(path) for path in paths]
        with torch.no_grad():
            for name, value in self._trained():
                value.copy_(sum(share * one[name].to(self._device) for share, one in zip(shares, saved, strict=True)))

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, value) for name, value in self.adapter.model.named_parameters() if value.requires_grad]

    @torch.inference_mode()
    def votes(self, rows: Ints) -> Ints:
        """The label that the model prefers for each phrase."""
        scores = torch.zeros(len(rows), len(self.task.labels))
        order = torch.from_numpy(rows)
        for fork, states in self._read:
            branches, tokens = torch.tensor(fork.branch), torch.tensor(fork.tokens)
            passing, done = branches >= 0, 0
            for some in states.runs(order, floats=len(tokens)):
                last = self._split.top(states.take(some))[:, -1]
                chosen = self._split.logits(last, tokens).log_softmax(1)
                scores[done : done + len(some), passing] += chosen[:, branches[passing]]
                done += len(some)
        return scores.argmax(1).cpu().numpy()

    def learn(self, rows: Ints, labels: Ints, *, passes: int) -> None:
        """Learn these labels from the adapter in use."""
        lessons = self._lessons(rows, labels)
        train_on_labels(
            self._split, self.adapter, lessons, rate=RATE, epochs=passes, batch=BATCH, progress=lambda *_: None
        )

    def learn_privately(self, rows: Ints, labels: Ints, plan: TrainingPlan) -> None:
        """The product's DP training; every record is somebody's only one."""
        train_privately(
            self._split,
            self.adapter,
            self._lessons(rows, labels),
            entities=len(rows),
            plan=plan,
            rate=self.family.settings.private_rate,
            progress=lambda *_: None,
        )

    def _lessons(self, rows: Ints, labels: Ints) -> list[Lesson]:
        """One lesson per place where the labels part."""
        lessons = []
        for fork, states in self._read:
            way = np.array(fork.branch)[labels]
            passing = np.flatnonzero(way >= 0)
            if not len(passing):
                continue
            targets = torch.full((len(passing), 1 + len(fork.shared)), -1)
            targets[:, -1] = torch.tensor(way[passing])
            chosen, owners = states.take(torch.from_numpy(rows[passing])), torch.from_numpy(passing)
            lessons.append(Lesson(chosen, targets, torch.tensor(fork.tokens), owners))
        return lessons
