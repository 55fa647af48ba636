"""What the experiments of `learning.py` say, from plain arrays: differences with intervals, regret, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

DRAWS = 10_000
WITHIN = 1.0
"""Points that the bars of the plan allow."""


def lead(seeds: Sequence[Floats]) -> list[float]:
    """By how many points the first row leads the greatest of the others: the mean over seeds, its 95 % interval.

    Each seed is ``(stages, items)``. Seeds are drawn with replacement, then items within each drawn seed, all stages of
    an item together; the greatest is chosen in every seed, and again in every draw.
    """
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, len(seeds), (DRAWS, len(seeds)))
    totals = np.zeros(DRAWS)
    measured = 0.0
    for number, stages in enumerate(seeds):
        # Drawing items with replacement is drawing how often each column occurs.
        patterns, counts = np.unique(np.round(stages, 9), axis=1, return_counts=True)
        items, shares = counts.sum(), counts / counts.sum()
        measured += float(_lead(shares @ patterns.T))
        times = (drawn == number).sum(axis=1)
        for time in range(int(times.max())):
            chosen = np.flatnonzero(times > time)
            totals[chosen] += _lead(rng.multinomial(items, shares, size=len(chosen)) @ patterns.T / items)
    found = (measured / len(seeds), *np.quantile(totals / len(seeds), [0.025, 0.975]))
    return [round(100 * float(value), 2) for value in found]


def _lead(scores: Floats) -> Floats:
    """How far the first of the last axis leads the greatest of the others."""
    leads: Floats = scores[..., 0] - scores[..., 1:].max(axis=-1)
    return leads


def mean_hits(hits: Bools, among: Bools) -> Floats:
    """Per item what it adds to the mean over sites of the share of right answers ``among`` each site's items.

    The mean of the result is that mean of shares; both arguments are ``(sites, items)``.
    """
    shares: Floats = (hits * among / np.maximum(among.sum(axis=1, keepdims=True), 1)).mean(axis=0) * hits.shape[1]
    return shares


def parts_of(known: Bools) -> dict[str, Bools]:
    """The three sets of items on which a site is scored."""
    return {"all": np.ones_like(known), "known": known, "missing": ~known}


def overwritten(votes: Ints, gold: Ints, labels: Ints) -> float:
    """Share of the sites' right answers that an agreed label contradicts, the mean over sites."""
    right = votes == gold
    lost = right & (labels >= 0) & (labels != gold)
    return float((lost.sum(axis=1) / np.maximum(right.sum(axis=1), 1)).mean())


def calibration(support_ppm: Ints, right: Bools) -> dict[str, object]:
    """Whether support tells right labels from wrong ones: expected error, area under the curve, right per support."""
    share = support_ppm / 1e6
    values = np.unique(support_ppm)
    each = [
        (float(share[support_ppm == v][0]), float(right[support_ppm == v].mean()), int((support_ppm == v).sum()))
        for v in values
    ]
    error = sum(abs(said - seen) * count for said, seen, count in each) / max(len(right), 1)
    return {
        "expected_error": round(error, 4),
        "auroc": auroc(share[right], share[~right]),
        "by_support": [[round(said, 3), round(seen, 4), count] for said, seen, count in each],
    }


def auroc(higher: Floats, lower: Floats) -> float | None:
    """How often one of ``higher`` exceeds one of ``lower``, ties counting half; None where one of them is empty."""
    if not len(higher) or not len(lower):
        return None
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return round(float(below.mean()) / (2 * len(lower)), 4)


def judge(non_inferiority: Sequence[float], regret: Sequence[float], gain: Sequence[float]) -> dict[str, bool]:
    """The plan's bars, each by the lower end of its interval."""
    return {
        "non_inferior": non_inferiority[1] > -WITHIN,
        "regret": regret[1] >= -WITHIN,
        "gain": gain[1] > 0,
    }
