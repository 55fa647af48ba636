"""The exact-answer tasks of `learning.py`: where phrases come from, and which institution holds which of them.

A seed decides everything here: which phrase is asked, held out or private, which labels an institution lacks, and
whose labels are wrong. Phrases are numbers, so that the models read every phrase once for all seeds.
"""

from __future__ import annotations

import json
import runpy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.demo.examples import BANK, HOSPITAL, examples_root
from semfed_secure.demo.layout import distinct

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

INSTITUTIONS = 7
LACKING = 2
"""Labels that an institution has no record of."""
BATCH = 32
NOISE = 0.4
LITTLE = 0.1

INTENTS = {  # of BANKING77, under names that begin differently
    "card_arrival": "arrival of a card",
    "lost_or_stolen_card": "lost card",
    "change_pin": "PIN change",
    "exchange_rate": "exchange rate",
    "balance_not_updated_after_bank_transfer": "balance not updated",
    "cash_withdrawal_not_recognised": "unknown withdrawal",
    "top_up_failed": "failed top-up",
    "transfer_not_received_by_recipient": "transfer not received",
    "verify_my_identity": "identity check",
    "refund_not_showing_up": "missing refund",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many phrases a seed asks in each round, checks, holds out, and gives each institution."""

    rounds: int
    asked: int
    validation: int
    heldout: int
    records: int


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Every phrase of a task as a question, and its right label."""

    name: str
    questions: tuple[str, ...]
    gold: Ints
    labels: tuple[str, ...]
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Institution:
    """One site: the phrases that it holds, in an order that a smaller share keeps, and the labels that it lacks."""

    records: Ints
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """What one seed makes of a task."""

    asked: tuple[Ints, ...]
    validation: Ints
    heldout: Ints
    institutions: tuple[Institution, ...]


SIZES = {
    "icd": Sizes(rounds=3, asked=500, validation=200, heldout=1040, records=600),
    "merchants": Sizes(rounds=1, asked=250, validation=80, heldout=250, records=300),
    "intents": Sizes(rounds=1, asked=300, validation=100, heldout=400, records=300),
}
TASKS = tuple(SIZES)
FAST = Sizes(rounds=2, asked=90, validation=30, heldout=60, records=40)


@cache
def load_task(name: str, shared: Path | None, sizes: Sizes | None = None) -> Task:
    """A task; ``shared`` holds BANKING77 as `../shared/data` does, and only ``intents`` needs it."""
    if name == "intents":
        assert shared is not None, "intents need --shared"
        rows = _intents(shared)
        template, labels = "Message: {text}\nTopic:", tuple(INTENTS.values())
    else:
        example = HOSPITAL if name == "icd" else BANK
        parts = runpy.run_path(str(examples_root() / example / "build.py"), run_name="example")
        found = parts["phrases" if name == "icd" else "descriptions"]()
        rows = [(row.text, row.label) for row in distinct(found, parts["normalised"])]
        labels = tuple(parts["DEPARTMENTS"].values()) if name == "icd" else parts["LABELS"]
        template = "Diagnosis: {text}\nDepartment:" if name == "icd" else "Merchant: {text}\nCategory:"
    rows.sort()
    gold = np.array([labels.index(label) for _, label in rows])
    return Task(name, tuple(template.replace("{text}", text) for text, _ in rows), gold, labels, sizes or SIZES[name])


def _intents(shared: Path) -> list[tuple[str, str]]:
    files = (shared / "bank" / f"{part}.jsonl" for part in ("train", "test"))
    lines = (json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return sorted({(row["text"], INTENTS[row["intent"]]) for row in lines if row["intent"] in INTENTS})


def divide(task: Task, seed: int) -> Split:
    """Public phrases first, then the private ones: even over the labels that an institution has.

    Two institutions may hold the same phrase; no phrase is public and private.
    """
    rng, sizes = np.random.default_rng([seed, 1]), task.sizes
    shuffled = rng.permutation(_balanced(task, rng))
    cuts = np.cumsum([sizes.asked] * sizes.rounds + [sizes.validation, sizes.heldout])
    *asked, validation, heldout, rest = np.split(shuffled, cuts)
    order = rng.permutation(len(task.labels))
    by_label = {label: rest[task.gold[rest] == label] for label in range(len(task.labels))}
    institutions = []
    for number in range(INSTITUTIONS):
        missing = tuple(sorted(int(order[(LACKING * number + k) % len(order)]) for k in range(LACKING)))
        has = [label for label in by_label if label not in missing]
        chosen = []
        for place, label in enumerate(has):
            share = (sizes.records - sum(map(len, chosen))) // (len(has) - place)
            chosen.append(rng.permutation(by_label[label])[:share])
        institutions.append(Institution(rng.permutation(np.concatenate(chosen)), missing))
    return Split(tuple(asked), validation, heldout, tuple(institutions))


def _balanced(task: Task, rng: np.random.Generator, most: int = 850) -> Ints:
    """At most ``most`` phrases of one label, so that none drowns the rest."""
    return np.concatenate([rng.permutation(np.flatnonzero(task.gold == k))[:most] for k in range(len(task.labels))])


def noisy(gold: Ints, labels: int, rng: np.random.Generator, map_seed: int | None) -> Ints:
    """``NOISE`` of the labels wrong: each by chance, or every label always by the same other one of ``map_seed``."""
    wrong = rng.random(len(gold)) < NOISE
    shift = rng.integers(1, labels, len(gold))
    if map_seed is not None:
        shift = np.random.default_rng([map_seed, 2]).integers(1, labels, labels)[gold]
    return np.where(wrong, (gold + shift) % labels, gold)
