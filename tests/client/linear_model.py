"""A model of one weight per question and answer that is trained exactly as its plan says, or breaks it on purpose."""

from __future__ import annotations

import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.ids import Digest, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from semfed_secure.llm.model import Progress, Record, TrainingPlan

CELLS = 1 << 15
LENGTH = 20.0
"""Of one record's gradient: like a real one, far longer than it is clipped to."""
_FILE = "weights.npy"


class LinearModel:
    """Each step adds, for each entity, its records' cells, clipped, and noise everywhere: DP-SGD for all to see.

    ``breaking`` names what it does wrong: ``noise`` adds none, ``clipping`` clips nothing.
    """

    def __init__(self, breaking: str = "") -> None:
        """Start at zero."""
        self.breaking, self.weights = breaking, np.zeros(CELLS)
        self.weights_digest: Digest = sha256(b"linear")
        self.trained: list[Sequence[Record]] = []

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """Nothing: it only chooses."""
        del max_new_tokens
        return [None for _ in prompts]

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """The weights."""
        cells = [[_cell(prompt, candidate) for candidate in candidates] for prompt in prompts]
        return self.weights[np.array(cells)].astype(np.float32)

    def use_adapter(self, directory: Path | None) -> None:
        """Take these weights."""
        self.weights = np.zeros(CELLS) if directory is None else np.load(directory / _FILE)

    def fit_private(
        self,
        records: Sequence[Record],
        *,
        candidates: Sequence[str],
        plan: TrainingPlan,
        directory: Path,
        progress: Progress,
    ) -> None:
        """As the plan says; every entity is in every step."""
        del candidates
        self.trained.append(records)
        owned: defaultdict[str, list[int]] = defaultdict(list)
        for record in records:
            owned[record.entity_id].append(_cell(record.prompt, record.completion))
        total, rng = np.zeros(CELLS), np.random.default_rng()
        for cells in owned.values():
            norm = LENGTH * np.sqrt(sum(cells.count(cell) ** 2 for cell in set(cells)))
            scale = LENGTH * (1.0 if self.breaking == "clipping" else min(1.0, plan.clip_norm / norm))
            np.add.at(total, cells, scale)
        noise = 0.0 if self.breaking == "noise" else plan.noise_multiplier * plan.clip_norm
        self.weights = self.weights + plan.steps * total + noise * np.sqrt(plan.steps) * rng.standard_normal(CELLS)
        np.save(directory / _FILE, self.weights)
        progress(plan.steps, plan.steps)

    def fit_labels(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        *,
        candidates: Sequence[str],
        directory: Path,
        progress: Progress,
    ) -> None:
        """It learns from records only."""
        raise AssertionError("an audit trains on records only")


def _cell(prompt: str, answer: str) -> int:
    return zlib.crc32(f"{prompt}\0{answer}".encode()) % CELLS
