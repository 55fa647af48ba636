"""Release vectors, clipped to the unit ball and noised in integers: the mechanism ``gaussian_vector``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian
from semfed_secure.privacy.grid import UNITS, GridSum, NoisyGridSum, clipped_sum
from semfed_secure.privacy.parameters import Number, refuse, valid_count, valid_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIAMETER = 2 * UNITS
"""In grid units, between two vectors of the unit ball: what replaces one vector may be its opposite."""
MAX_VALUES = 50_000_000
"""Of one release: about the most that 20 000 prompts and a wide embedder make."""


def release_vectors(vectors: NDArray[np.float32], *, noise_multiplier: Number) -> NoisyGridSum:
    """Noise each row of ``vectors``, ``(count, dimension)``; in units of ``1 / UNITS``, for `grid.values_of` at 1.

    Each release is zCDP with rho = 1 / (2 noise_multiplier^2), whatever changes in the data and however many entities
    change: rows are clipped to the unit ball here, and the noise is relative to its diameter. The cost is
    `mechanisms.gaussian_vector_cost` and must be reserved in the ledger before this call.

    Raises:
        ConfigurationError: SF141 for ``noise_multiplier`` or the shape.
    """
    noise = DiscreteGaussian.from_system(valid_noise(noise_multiplier) * DIAMETER)
    return noised(on_grid(vectors), noise)


def on_grid(vectors: NDArray[np.float32]) -> GridSum:
    """Each row clipped to the unit ball in grid units, int64; one that is not finite is zero.

    Raises:
        ConfigurationError: SF141 for a shape that is not (count, dimension) with at most `MAX_VALUES` values.
    """
    if vectors.ndim != 2:
        raise refuse("vectors", "an array of (count, dimension)", vectors)
    valid_count("values", vectors.size, MAX_VALUES)
    # INVARIANT: each row passes the one function that clips, alone.
    return np.stack([clipped_sum([row[None]], 1.0) for row in vectors.astype(np.float32, copy=False)])


def noised(rows: GridSum, noise: DiscreteGaussian) -> NoisyGridSum:
    """``rows`` and fresh noise on each of their numbers."""
    return NoisyGridSum(rows + noise.draw(rows.size).reshape(rows.shape))
