"""Geometry on the sphere in integers: cosines and the weighted geometric median from the Gram matrix.

Vectors become int16 first; every sum after that is an exact integer sum and every other step a single
correctly rounded IEEE operation, so the bytes do not depend on machine, BLAS, shard size or the order
of the clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import PPM, IntArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INT16_SCALE = 32767
_SHARES = 1 << 20  # sum of the coefficients of a point inside the hull
_ITERATIONS = 24
_SMOOTHING = 1e-3  # distance below which Weiszfeld's weight stops growing


def quantise(vectors: NDArray[np.floating]) -> NDArray[np.int16]:
    """Scale each row by its largest magnitude to int16; directions stay, lengths are forgotten.

    A row that holds NaN or infinity, or nothing but zeros, becomes zero: it resembles nothing, not even a copy.

    Args:
        vectors: ``(count, dimension)``.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    usable = np.isfinite(largest) & (largest > 0)
    scaled = np.where(usable[:, None], rows, 0.0) / np.where(usable, largest, 1.0)[:, None]
    whole: NDArray[np.int16] = np.rint(scaled * _INT16_SCALE).astype(np.int16)
    return whole


def cosines_ppm(vectors: NDArray[np.int16]) -> IntArray:
    """Cosine of every pair of rows in parts per million.

    Exact up to the final rounding: float64 carries sums of int16 products without error up to 2^23 dimensions.

    Args:
        vectors: ``(..., count, dimension)``.

    Returns:
        int64 ``(..., count, count)``; rows of zeros have cosine 0 with everything.
    """
    wide = vectors.astype(np.float64)
    gram = wide @ np.swapaxes(wide, -1, -2)
    squared = np.diagonal(gram, axis1=-2, axis2=-1)
    lengths = np.sqrt(squared)
    product = lengths[..., :, None] * lengths[..., None, :]
    cosine = np.divide(gram, product, out=np.zeros_like(gram), where=product > 0)
    whole: IntArray = np.rint(cosine * PPM).astype(np.int64)
    return whole


def median_distances(cosine: IntArray, weights: IntArray) -> IntArray:
    """Squared distance of each unit vector to the weighted geometric median of them all, for many sets at once.

    The median is found by Weiszfeld's iteration on its hull coefficients, a fixed number of steps; it has
    breakdown point 1/2, so fewer than half of the weight cannot carry it away.

    Args:
        cosine: Parts per million, ``(..., count, count)``.
        weights: Positive, ``(..., count)``.

    Returns:
        Squared distances in fixed point, int64 ``(..., count)``; only their order and equality mean something.
    """
    shares = _shares(weights.astype(np.float64))
    for _ in range(_ITERATIONS):
        distance = np.sqrt(_squared_distances(cosine, shares) / float(PPM * _SHARES * _SHARES))
        shares = _shares(weights / np.maximum(distance, _SMOOTHING))
    return _squared_distances(cosine, shares)


def _shares(values: NDArray[np.float64]) -> IntArray:
    # Rounded before they are summed: an integer sum does not depend on the order of the clients.
    whole = np.rint(values * (_SHARES / values.max(axis=-1, keepdims=True))).astype(np.int64)
    shares: IntArray = np.maximum(whole * _SHARES // whole.sum(axis=-1, keepdims=True), 1)
    return shares


def _squared_distances(cosine: IntArray, shares: IntArray) -> IntArray:
    total = shares.sum(axis=-1, keepdims=True)
    projected = (cosine @ shares[..., None])[..., 0]
    inner = (projected * shares).sum(axis=-1, keepdims=True)
    own = np.diagonal(cosine, axis1=-2, axis2=-1)
    clamped: IntArray = np.maximum(inner - 2 * total * projected + own * (total * total), 0)
    return clamped
