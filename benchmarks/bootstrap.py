"""Paired bootstrap over measured phrases, shared by the benchmarks that compare stages of one site."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000

Hits = NDArray[np.bool_] | NDArray[np.float64] | Sequence[bool]


def gain(sites: Sequence[Sequence[Hits]], rng: np.random.Generator) -> list[float]:
    """By how many points a stage leads the best of its rivals: the mean over sites, and its 95 % interval.

    Each site gives, phrase by phrase, what the stage got right (or how often, of several tries) and then what each
    rival did. Phrases are drawn anew within every site, all stages of a site together, and the best rival is chosen
    again in every draw.
    """
    measured, draws = 0.0, np.zeros(DRAWS)
    for site in sites:
        # Drawing phrases with replacement is drawing how often each pattern of right and wrong occurs.
        patterns, counts = np.unique(np.asarray(site, dtype=float), axis=1, return_counts=True)
        total = counts.sum()
        drawn = rng.multinomial(total, counts / total, size=DRAWS)
        measured += float(_lead(counts @ patterns.T / total))
        draws += _lead(drawn @ patterns.T / total)
    found = (measured, *np.quantile(draws, [0.025, 0.975]))
    return [round(100 * float(value) / len(sites), 2) for value in found]


def _lead(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the first column leads the greatest of the others."""
    leads: NDArray[np.float64] = shares[..., 0] - shares[..., 1:].max(axis=-1)
    return leads
