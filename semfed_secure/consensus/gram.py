"""What the rules need of vectors: one Gram matrix per prompt, and shares of the clients in the result.

Every rule that turns with the vectors is a function of their inner products alone: it gives each client a share, and
the result is the sum of the vectors in these shares. So it costs one batched matrix product, arithmetic in as many
dimensions as there are clients, and one sum. Everything here takes finite vectors of clients that are all present.

Vectors of float32 are multiplied by the machine's BLAS, whose order of summation is its own. Whole numbers come as
float64: their inner products are exact, and everything after is summed in an order that is fixed.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.floating]
Shares: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

RESOLVED = 0.01
"""Squared distance over squared lengths below which the inner products of float32 are taken again in float64."""
SAME = 1e-14
"""The same ratio in float64, below which two vectors are equal."""
TIED = 1e-5
CLIPPINGS = 5


def gram(vectors: Vectors) -> Shares:
    """Inner products, ``(prompts, clients, clients)``.

    Made in the vectors' own type; where that cannot resolve the distance of two clients, the prompt is done again in
    float64, so that a distance has four digits or more.
    """
    found = np.matmul(vectors, vectors.copy().swapaxes(1, 2))  # of two arrays: for one, BLAS takes a slower way
    product: Shares = found.astype(np.float64, copy=False)
    if vectors.dtype == np.float32:
        close = (2 * found >= (1 - RESOLVED) * _lengths(found)).sum(axis=(1, 2)) > vectors.shape[1]
        if close.any():
            wide = vectors[close].astype(np.float64)
            product[close] = np.matmul(wide, wide.swapaxes(1, 2))
    return product


def squared_distances(product: Shares) -> Shares:
    """Squared distance of every two clients from their inner products; exactly 0 where they are equal."""
    lengths = _lengths(product)
    apart: Shares = lengths - 2 * product
    lengths *= SAME
    apart[~(apart > lengths)] = 0.0
    return apart


def _lengths(product: Vectors) -> Vectors:
    """The sum of the squared lengths of every two clients."""
    own = np.diagonal(product, axis1=1, axis2=2)
    total: Vectors = own[:, :, None] + own[:, None, :]
    return total


def combine(shares: Shares, vectors: Vectors) -> Vectors:
    """The sum of the clients' vectors in these shares, ``(prompts, dimensions)``."""
    if vectors.dtype == np.float32:
        total: Vectors = np.matmul(shares[:, None].astype(np.float32), vectors)[:, 0]
        return total
    return applied(shares[:, None], vectors)[:, 0]


def applied(matrices: Shares, vectors: Vectors) -> Shares:
    """A product of float64 matrices, summed in the order of the clients on every machine."""
    total = matrices[:, :, :1] * vectors[:, :1]
    for client in range(1, vectors.shape[1]):
        total += matrices[:, :, client : client + 1] * vectors[:, client : client + 1]
    return total


def middle_mean(vectors: Vectors, cut: int) -> Vectors:
    """Per coordinate, the mean without the ``cut`` least and the ``cut`` greatest values."""
    middle = np.sort(vectors, axis=1)[:, cut : vectors.shape[1] - cut]
    total: Vectors = middle.sum(axis=1) / vectors.dtype.type(middle.shape[1])
    return total + vectors.dtype.type(0)  # a zero has no sign, or the order of the clients would show


def lowest(scores: Shares, count: int) -> Shares:
    """Equal shares for the ``count`` lowest along the last axis; the tied at the border share what is left."""
    border = np.partition(scores, count - 1, axis=-1)[..., count - 1 : count]
    below = scores < border * (1 - TIED)
    tied = ~below & (scores <= border * (1 + TIED))
    left = count - below.sum(axis=-1, keepdims=True)
    shares: Shares = (below + tied * (left / tied.sum(axis=-1, keepdims=True))) / count
    return shares


def krum_shares(product: Shares, faults: int, places: int) -> Shares:
    """Shares of the ``places`` clients whose nearest others are nearest."""
    nearest = product.shape[1] - faults - 2
    ordered = np.sort(squared_distances(product), axis=-1)  # the first is the client itself, or its equal
    return lowest(ordered[..., 1 : nearest + 1].sum(axis=-1), places)


def clipped_shares(product: Shares, weights: Shares, radius: float) -> Shares:
    """Shares after some steps of centred clipping from the origin."""
    shares = np.zeros_like(weights)
    for _ in range(CLIPPINGS):
        distance = np.sqrt(squared_distances_to(product, shares))
        counted = weights * np.minimum(1.0, radius / np.maximum(distance, radius))
        shares = counted + (1 - counted.sum(axis=1, keepdims=True)) * shares
    return shares


def squared_distances_to(product: Shares, shares: Shares) -> Shares:
    """Squared distance of every client to the point with these shares."""
    projected = projections(product, shares)
    inner = (projected * shares).sum(axis=-1, keepdims=True)
    own = np.diagonal(product, axis1=1, axis2=2)
    squared: Shares = np.maximum(own - 2 * projected + inner, 0.0)
    return squared


def projections(product: Shares, shares: Shares) -> Shares:
    """Inner product of every client with the point with these shares, ``(prompts, clients)``."""
    projected: Shares = (product * shares[:, None]).sum(axis=-1)
    return projected
