"""Sums of clipped vectors as integers, and the noise that hides one vector in them.

Each vector is clipped and rounded to a grid of `UNITS` steps in the clipping norm **before** it is added, so that a
sum is one of integers: the same in any order, without rounding, and adding or removing one vector moves it by no more
than `UNITS` in L2. What is released is that sum and an exact discrete Gaussian, again integers, so attacks on
floating-point noise (Mironov 2012) and on floating-point sums (Casacuberta, Shoemate, Vadhan, Wagaman 2022) do not
apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NewType, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian
from semfed_secure.privacy.parameters import Number, refuse, valid_noise, valid_sensitivity

if TYPE_CHECKING:
    from collections.abc import Sequence

GridSum: TypeAlias = NDArray[np.int64]
NoisyGridSum = NewType("NoisyGridSum", NDArray[np.int64])
"""A sum that carries its noise; still in grid units."""

UNITS = 1 << 20
"""Grid units in the clipping norm: a millionth of it is lost in rounding, far below any noise."""
_TERMS = 4096
_SHORT = 1 - 2.0**-12
"""A sum of 4096 squares errs by less than 2^-12 in whatever order floats of 24 bits are added, its root by half."""
_FEW = 64
"""Vectors at a time: their part of a block stays in a processor's cache, and 64 times `UNITS` fits 32 bits."""


def clipped_sum(parts: Sequence[NDArray[np.float32]], clip_norm: Number) -> GridSum:
    """The sum over entities of their vectors, each clipped to ``clip_norm`` in L2, in units of ``clip_norm / UNITS``.

    Row i of all ``parts``, ``(entities, values)`` each, is the vector of entity i. Whatever it holds, it adds integers
    of an L2 norm of at most `UNITS`; one that is not finite, or whose square is not, adds nothing. Rounding is
    towards zero, because any other may lengthen a vector.

    Raises:
        ConfigurationError: SF141 for ``clip_norm``.
    """
    limit = valid_sensitivity(clip_norm)
    squares = np.zeros(len(parts[0]))
    with np.errstate(over="ignore", invalid="ignore"):
        for part in parts:
            for start in range(0, part.shape[1], _TERMS):
                block = part[:, start : start + _TERMS]
                squares += np.einsum("ij,ij->i", block, block)
    finite = np.isfinite(squares)
    scales = (UNITS * _SHORT / np.maximum(np.sqrt(squares, where=finite, out=squares), limit)).astype(np.float32)
    if not finite.all():
        parts, scales = [part[finite] for part in parts], scales[finite]
    return np.concatenate([_sum_on_grid(part, scales) for part in parts])


def _sum_on_grid(part: NDArray[np.float32], scales: NDArray[np.float32]) -> GridSum:
    total, room = np.zeros(part.shape[1], dtype=np.int64), np.empty((_FEW, _TERMS), dtype=np.int32)
    for first in range(0, len(part), _FEW):
        rows = slice(first, first + _FEW)
        for start in range(0, part.shape[1], _TERMS):
            block = part[rows, start : start + _TERMS]
            on_grid = room[: block.shape[0], : block.shape[1]]
            # INVARIANT: no row is longer than UNITS, before rounding by `_SHORT` and after it because it only shortens.
            np.multiply(block, scales[rows, None], out=on_grid, casting="unsafe")
            total[start : start + _TERMS] += on_grid.sum(axis=0, dtype=np.int32)
    return total


class GridNoise:
    """Noise for sums of `clipped_sum`: an exact discrete Gaussian of ``noise_multiplier`` times their sensitivity."""

    __slots__ = ("_noise", "noise_multiplier")

    def __init__(self, noise_multiplier: Number) -> None:
        """Prepare the tables once for many sums.

        Raises:
            ConfigurationError: SF141 for ``noise_multiplier``.
        """
        self.noise_multiplier = valid_noise(noise_multiplier)
        self._noise = DiscreteGaussian.from_system(self.noise_multiplier * UNITS)

    def add_to(self, total: GridSum) -> NoisyGridSum:
        """``total`` and fresh noise on each of its numbers, zeros too.

        zCDP with rho = 1 / (2 noise_multiplier^2) for each vector that `clipped_sum` added, add or remove one.
        """
        if total.dtype != np.int64:
            raise refuse("total", "a sum in grid units", total)
        return NoisyGridSum(total + self._noise.draw(total.size).reshape(total.shape))


def values_of(total: GridSum | NoisyGridSum, clip_norm: Number) -> NDArray[np.float64]:
    """A sum in the units of its vectors; post-processing, costs nothing.

    Raises:
        ConfigurationError: SF141 for ``clip_norm``.
    """
    return total.astype(np.float64) * (valid_sensitivity(clip_norm) / UNITS)
