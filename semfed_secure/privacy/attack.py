"""How well an attacker told members from others: AUC, true positives at few false ones, and how sure that is.

Pure counting: nothing here knows a model or a record. Scores that tie count against the attacker where a rate is
reported, so a reported rate was really reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CONFIDENCE = 0.95
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its Clopper-Pearson interval: ``count`` of ``of``, between ``low`` and ``high``."""

    count: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself; 0 of nothing is 0."""
        return self.count / self.of if self.of else 0.0


def auc(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
    """Probability that a random member scores above a random other, ties counting half; 1/2 is guessing.

    Without a member, or without another, there is nothing to tell apart: 1/2.
    """
    inside, outside = np.sort(scores[members]), np.sort(scores[~members])
    if not len(inside) or not len(outside):
        return 0.5
    below = np.searchsorted(outside, inside, side="left") + np.searchsorted(outside, inside, side="right")
    return float(below.sum() / (2 * len(inside) * len(outside)))


def true_positives_at(fpr: float, scores: NDArray[np.float64], members: NDArray[np.bool_]) -> Rate:
    """The share of members above the lowest threshold at which at most ``fpr`` of the others are.

    The interval covers the draw of the members above that threshold, not the choice of the threshold.
    """
    outside = np.sort(scores[~members])[::-1]
    allowed = int(fpr * len(outside) + 1e-9)
    threshold = outside[allowed] if allowed < len(outside) else -np.inf
    inside = scores[members]
    return rate(int((inside > threshold).sum()), len(inside))


def rate(count: int, of: int, *, confidence: float = CONFIDENCE) -> Rate:
    """``count`` of ``of`` with the exact (Clopper-Pearson) interval, both sides together at ``confidence``."""
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else crossing(lambda p: binomial_tail(count, of, p) >= tail, 0.0, 1.0)
    high = 1.0 if count == of else crossing(lambda p: binomial_tail(count + 1, of, p) >= 1 - tail, 0.0, 1.0)
    return Rate(count, of, low, high)


def binomial_tail(least: int, of: int, chance: float) -> float:
    """P(at least ``least`` of ``of`` independent trials succeed), each with probability ``chance``."""
    if least <= 0:
        return 1.0
    return float(min(1.0, binomial_chances(of, chance)[least:].sum()))


def binomial_chances(of: int, chance: float) -> NDArray[np.float64]:
    """P(exactly k of ``of``) for k from 0 to ``of``."""
    if chance <= 0 or chance >= 1:
        certain = np.zeros(of + 1)
        certain[of if chance >= 1 else 0] = 1.0
        return certain
    k = np.arange(of + 1)
    logs = log_choose(of) + k * math.log(chance) + (of - k) * math.log1p(-chance)
    return np.asarray(np.exp(logs))


def log_choose(of: int) -> NDArray[np.float64]:
    """Logarithm of "``of`` choose k" for k from 0 to ``of``."""
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, of + 1)))))
    return np.asarray(factorials[of] - factorials - factorials[::-1])


def crossing(reached: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that fails at ``low`` and holds at ``high`` begins to hold, from below."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return low
