"""Models of a few lines: they take part like any other, and protect nobody."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.ids import Digest, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from semfed_secure.llm.model import Progress, Record, TrainingPlan

_FILE = "table.json"


class TableModel:
    """Answers what it was told most often for a prompt, and abstains elsewhere; its adapter is that table.

    It ignores the noise of its plan: use it with made-up records only.
    """

    def __init__(self, table: Mapping[str, str] | None = None) -> None:
        """Know ``table`` (prompt to answer) before any training."""
        self._own = dict(table or {})
        self._learned: dict[str, str] = {}
        self.weights_digest: Digest = sha256(json.dumps(self._own, sort_keys=True).encode())
        """What the client pins."""

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """The known answer of each prompt, cut to ``max_new_tokens`` words."""
        known = self._own | self._learned
        return [" ".join(known[text].split()[:max_new_tokens]) if text in known else None for text in prompts]

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """0 for the known answer, ``-inf`` elsewhere."""
        known = self._own | self._learned
        rows = [[0.0 if known.get(text) == candidate else -np.inf for candidate in candidates] for text in prompts]
        return np.asarray(rows, dtype=np.float32).reshape(len(prompts), len(candidates))

    def use_adapter(self, directory: Path | None) -> None:
        """Know what the table in ``directory`` says."""
        self._learned = {} if directory is None else json.loads((directory / _FILE).read_text(encoding="utf-8"))

    def fit_private(
        self,
        records: Sequence[Record],
        *,
        candidates: Sequence[str],
        plan: TrainingPlan,
        directory: Path,
        progress: Progress,
    ) -> None:
        """Remember the most frequent completion of each prompt."""
        del candidates  # a table needs no candidates to look an answer up
        self._fit([(record.prompt, record.completion) for record in records], directory, progress, plan.steps)

    def fit_labels(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        *,
        candidates: Sequence[str],
        directory: Path,
        progress: Progress,
    ) -> None:
        """Remember the labels."""
        del candidates
        self._fit(list(zip(prompts, labels, strict=True)), directory, progress, 1)

    def _fit(self, pairs: Sequence[tuple[str, str]], directory: Path, progress: Progress, steps: int) -> None:
        said: dict[str, Counter[str]] = defaultdict(Counter)
        for prompt, answer in pairs:
            said[prompt][answer] += 1
        table = self._learned | {prompt: answers.most_common(1)[0][0] for prompt, answers in said.items()}
        (directory / _FILE).write_text(json.dumps(table, sort_keys=True), encoding="utf-8")
        progress(steps, steps)


class OneAnswerModel:
    """A liar: whatever it is asked, it gives the same answer."""

    def __init__(self, answer: str) -> None:
        """Say ``answer`` to everything."""
        self._answer = answer

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """The same text for each prompt."""
        del max_new_tokens
        return [self._answer for _ in prompts]

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """0 for the one answer, -1 for all others."""
        row = [0.0 if candidate == self._answer else -1.0 for candidate in candidates]
        return np.asarray([row for _ in prompts], dtype=np.float32).reshape(len(prompts), len(candidates))
