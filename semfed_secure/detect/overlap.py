"""How much of a public prompt stands in private texts: shared runs of words and of letters, rare ones first.

Texts are compared as a reader sees them (`normalise`), without case and punctuation. What is rare is told from the
prompts alone, so that an opening which half of a prompt set shares ("What are the symptoms of") counts little.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from semfed_secure.detect.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

WORDS = (2, 3)
"""Words in one run: a single word says little, a run of four misses a text in which every fourth was changed."""
LETTERS = 5
"""Letters in one run: survives inflection and misspelling."""


def plain_words(text: str) -> tuple[str, ...]:
    """The words of ``text`` as a reader sees them, without case and punctuation."""
    folded = normalise(text).text.casefold()
    return tuple("".join(char if char.isalnum() else " " for char in folded).split())


def word_runs(text: str) -> frozenset[str]:
    """Every run of two and three words; of a single word, that word."""
    words = plain_words(text)
    runs = {" ".join(words[at : at + size]) for size in WORDS for at in range(len(words) - size + 1)}
    return frozenset(runs or words)


def letter_runs(text: str) -> frozenset[str]:
    """Every run of five letters, blanks between words counting as one; of a shorter text, that text."""
    line = f" {' '.join(plain_words(text))} "
    return frozenset(line[at : at + LETTERS] for at in range(max(1, len(line) - LETTERS + 1)))


@dataclass(frozen=True, slots=True)
class Overlap:
    """Finds how much of each of ``prompts`` stands in other texts, by the runs that ``runs_of`` cuts.

    The share is 1 exactly where every run of the prompt stands in the text, and 0 where none does; what else the text
    holds changes nothing.
    """

    runs_of: Callable[[str], frozenset[str]]
    places: dict[str, int]
    weights: csr_matrix

    @classmethod
    def with_prompts(cls, prompts: Sequence[str], runs_of: Callable[[str], frozenset[str]]) -> Overlap:
        """Index the prompts."""
        bags = [sorted(runs_of(prompt)) for prompt in prompts]
        found_in = Counter(run for bag in bags for run in bag)
        places = {run: place for place, run in enumerate(sorted(found_in))}
        rarity = {run: log((1 + len(bags)) / count) for run, count in found_in.items()}
        values: list[float] = []
        for bag in bags:
            whole = sum(rarity[run] for run in bag)
            values += [rarity[run] / whole for run in bag]
        return cls(runs_of, places, _matrix([[places[run] for run in bag] for bag in bags], len(places), values))

    def shares(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Of every prompt the share that stands in every text, ``(prompts, texts)``."""
        # The words too: a prompt of one word has no longer run.
        runs = [self.runs_of(text) | set(plain_words(text)) for text in texts]
        rows = [sorted(self.places[run] for run in found if run in self.places) for found in runs]
        shares: NDArray[np.float64] = (self.weights @ _matrix(rows, len(self.places)).T).toarray()
        return shares


def _matrix(rows: Sequence[Sequence[int]], width: int, values: Sequence[float] | None = None) -> csr_matrix:
    starts = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter((place for row in rows for place in row), np.int64, count=int(starts[-1]))
    data = np.ones(len(columns)) if values is None else np.asarray(values)
    return csr_matrix((data, columns, starts), shape=(len(rows), width))
