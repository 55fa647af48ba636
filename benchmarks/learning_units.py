"""The units of work of `learning.py`, each done once and kept as a file: what a site learns, and what it then answers.

A site is trained once and stands in every roster; what it learns from labels is known by the labels alone, so that
two arms that come to the same labels share it. Everything is decided by the seed but the noise of DP, which the product
draws from the system. This reads every site's records and is therefore no part of a federation.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from learning_tasks import BATCH, LITTLE, divide, noisy

from semfed_secure.llm.model import TrainingPlan
from semfed_secure.privacy.accountant import noise_multiplier_for
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from learning_models import Learner
    from learning_tasks import Ints, Task

Document = dict[str, Any]

EPSILON, DELTA, CLIP = "1", "1e-6", 1.0


@dataclass(frozen=True, slots=True)
class Steps:
    """How long models train: steps on own records, on labels, passes over pooled records, DP steps."""

    local: int
    labels: int
    pooled: int
    private: int


FULL, FAST = Steps(local=80, labels=66, pooled=2, private=20), Steps(local=3, labels=3, pooled=1, private=2)


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One institution with a model, and what makes it weak: ``little``, ``small``, ``noise``, ``noise-map``, ``dp``."""

    number: int
    family: str
    weakness: str = ""

    @property
    def name(self) -> str:
        """The same in every roster."""
        return f"{self.number}-{self.family}-{self.weakness or 'strong'}"


class Lab:
    """Everything that is done with one seed of a task."""

    def __init__(
        self, task: Task, seed: int, work: Path, learner: Callable[[str], Learner], steps: Steps = FULL
    ) -> None:
        self.task, self.seed, self.split, self._steps = task, seed, divide(task, seed), steps
        self.work = work / task.name / f"seed-{seed}"
        self.work.mkdir(parents=True, exist_ok=True)
        self._learner = learner

    def records(self, site: Site) -> tuple[Ints, Ints]:
        """The phrases that a site holds, and the labels that it believes."""
        rows = self.split.institutions[site.number].records
        if site.weakness == "little":
            rows = rows[: max(1, round(LITTLE * len(rows)))]
        labels = self.task.gold[rows]
        if site.weakness.startswith("noise"):
            rng = np.random.default_rng([self.seed, 3, site.number])
            shared = self.seed if site.weakness == "noise-map" else None
            labels = noisy(labels, len(self.task.labels), rng, shared)
        return rows, labels

    def base(self, family: str) -> Document:
        """The untrained model."""

        def make() -> Document:
            learner = self._fresh(family)
            return self._answers(learner)

        return self._once(f"base-{family}", make)

    def trained(self, site: Site) -> Document:
        """Local training."""

        def make() -> Document:
            learner, (rows, labels) = self._fresh(site.family), self.records(site)
            if site.weakness == "dp":
                learner.learn_privately(rows, labels, self._plan(len(rows)))
            else:
                learner.learn(rows, labels, passes=passes(self._steps.local, len(rows)))
            learner.save(self._adapter(site.name))
            return self._answers(learner)

        return self._once(site.name, make)

    def trained_on(self, site: Site) -> tuple[str, Document]:
        """As many more steps on the site's own records as others spend on labels; DP training may not go on."""
        if site.weakness == "dp":
            return site.name, self.trained(site)
        return self.learnt(site, *self.records(site))

    def learnt(self, site: Site, rows: Ints, labels: Ints, *, after: str = "", more: int = 0) -> tuple[str, Document]:
        """Learning ``labels`` from the adapter ``after``, or from the site's own; its name and what it then answers.

        ``more`` passes than the steps allow may be given.
        """
        start = after or site.name
        name = f"{site.name}-{_digest(start, rows.tolist(), labels.tolist(), *([more] if more else []))}"

        def make() -> Document:
            learner = self._learner(site.family)
            learner.use(self._adapter(start))
            if len(rows):
                learner.learn(rows, labels, passes=passes(self._steps.labels, len(rows)) + more)
            learner.save(self._adapter(name))
            return self._answers(learner)

        return name, self._once(name, make)

    def votes(self, site: Site, name: str = "", round_number: int = 0) -> Ints:
        """What a site answers to the public prompts of a round, with the adapter ``name`` or its own."""
        name = name or site.name

        def make() -> Document:
            learner = self._learner(site.family)
            learner.use(self._adapter(name))
            return {"votes": learner.votes(self.split.asked[round_number]).tolist()}

        return np.array(self._once(f"{name}-asked-{round_number}", make)["votes"])

    def averaged(self, family: str, names: Sequence[str], counts: Sequence[int]) -> tuple[str, Document]:
        """The weighted mean of adapters that started alike; its name and what it answers."""
        name = f"mean-{family}-{_digest(list(names), list(counts))}"

        def make() -> Document:
            learner = self._learner(family)
            learner.use(*map(self._adapter, names), weights=counts)
            learner.save(self._adapter(name))
            return self._answers(learner)

        return name, self._once(name, make)

    def pooled(self, family: str, sites: Sequence[Site]) -> Document:
        """One model that has all records of these sites, as its owners believe them."""
        held = [self.records(site) for site in sites]
        rows, labels = (np.concatenate(parts) for parts in zip(*held, strict=True))

        def make() -> Document:
            learner = self._fresh(family)
            learner.learn(rows, labels, passes=self._steps.pooled)
            return self._answers(learner)

        return self._once(f"pooled-{family}-{_digest(rows.tolist(), labels.tolist())}", make)

    def _fresh(self, family: str) -> Learner:
        learner = self._learner(family)
        learner.start(self.seed)
        return learner

    def _answers(self, learner: Learner) -> Document:
        split = self.split
        return {
            "validation": learner.votes(split.validation).tolist(),
            "heldout": learner.votes(split.heldout).tolist(),
        }

    def _plan(self, entities: int) -> TrainingPlan:
        return TrainingPlan(
            mechanism=Mechanism.DP_SGD,
            noise_multiplier=noise_multiplier_for(EPSILON, DELTA, 1.0, self._steps.private),
            sample_rate=1.0,
            steps=self._steps.private,
            clip_norm=CLIP,
            expected_entities=float(entities),
        )

    def _adapter(self, name: str) -> Path:
        return self.work / f"{name}.safetensors"

    def _once(self, name: str, make: Callable[[], Document]) -> Document:
        return once(self.work / f"{name}.json", make)


def passes(steps: int, rows: int) -> int:
    """How many whole passes over ``rows`` come nearest to ``steps``."""
    return max(1, round(steps / -(-rows // BATCH)))


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def once(path: Path, make: Callable[[], Document]) -> Document:
    """What ``make`` says, with the seconds it took; the file appears whole or not at all, and is read from then on."""
    if not path.exists():
        wall, cpu = time.monotonic(), time.process_time()
        made = make()
        seconds = [round(time.monotonic() - wall, 2), round(time.process_time() - cpu, 2)]
        beside = path.with_suffix(".json-part")
        beside.write_text(json.dumps(made | {"seconds": seconds}, separators=(",", ":")), encoding="utf-8")
        beside.replace(path)
    return _read(path)


@cache
def _read(path: Path) -> Document:
    """A unit of work, which never changes."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
