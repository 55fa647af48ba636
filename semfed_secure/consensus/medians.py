"""Geometric and spherical median from inner products, by Weiszfeld's iteration until it has settled.

It starts at the mean, or at the client below which it would otherwise have to pass, so it never gets caught on a
client that is no median (Vardi and Zhang's step leaves such a client). The pull of all clients on the point, over
their weight, bounds how far the sum of distances is from the least: where it is a ten-thousandth, the next step is the
last. Prompts that have settled are not touched again, so none depends on another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.gram import SAME, projections, squared_distances, squared_distances_to

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from semfed_secure.consensus.gram import Shares

    _Step: TypeAlias = Callable[[Shares, Shares, Shares], tuple[Shares, Shares, Shares]]
    """Inner products, weights and a point to the pull left there, the next point, and every client's distance."""

SETTLED = 1e-4
STEPS = 150
VISITS = (5, 20, 60)
"""Steps before which the nearest client is tried itself: towards a client the iteration only creeps."""
EQUAL = 1e-9
CANCELLED = 1e-6
"""Length of a sum of directions that is rounding and nothing else."""
_TINY = 1e-300


def geometric(product: Shares, weights: Shares) -> Shares:
    """Shares of the clients in their weighted geometric median.

    Args:
        product: Inner products, ``(prompts, clients, clients)``.
        weights: Positive with sum 1, ``(prompts, clients)``.
    """
    apart = np.sqrt(squared_distances(product))
    at_mean = (np.sqrt(squared_distances_to(product, weights)) * weights).sum(axis=1)
    return _settle(_geometric_step, product, weights, _start(apart, weights, weights, at_mean))


def spherical(product: Shares, weights: Shares) -> Shares:
    """Shares of the clients' own vectors in the weighted spherical median, a vector of length one, or NaN.

    Args:
        product: Inner products of vectors other than zero, ``(prompts, clients, clients)``.
        weights: Positive with sum 1, ``(prompts, clients)``.
    """
    lengths = np.sqrt(np.diagonal(product, axis1=1, axis2=2))
    cosine = np.clip(product / lengths[:, :, None] / lengths[:, None, :], -1.0, 1.0)
    cosine = np.where(1 - np.abs(cosine) > SAME, cosine, np.sign(cosine))  # the same way, or the opposite
    direction, length = _to_length_one(cosine, weights)
    at_mean = (np.arccos(_cosines(cosine, direction)) * weights).sum(axis=1)
    at_mean = np.where(length > CANCELLED, at_mean, np.inf)
    start, length = _to_length_one(cosine, _start(np.arccos(cosine), weights, direction, at_mean))
    found = _settle(_spherical_step, cosine, weights, start)
    return np.where(length[:, None] > CANCELLED, found / lengths, np.nan)


def _start(apart: Shares, weights: Shares, average: Shares, at_mean: Shares) -> Shares:
    at_clients = (apart * weights[:, None]).sum(axis=-1)
    best = at_clients.min(axis=1, keepdims=True)
    tied = (at_clients <= best * (1 + EQUAL)) * weights
    client = tied / tied.sum(axis=1, keepdims=True)
    return np.where(at_mean[:, None] <= best * (1 + EQUAL), average, client)


def _settle(step: _Step, product: Shares, weights: Shares, start: Shares) -> Shares:
    result, active, shares = start.copy(), np.arange(len(start)), start
    for turn in range(STEPS):
        pull, following, distance = step(product, weights, shares)
        moving = pull > SETTLED
        if turn in VISITS:
            client = np.eye(distance.shape[1])[distance.argmin(axis=1)]
            here = moving & (step(product, weights, client)[0] <= 0)
            following, moving = np.where(here[:, None], client, following), moving & ~here
        result[active] = following
        if not moving.any():
            break
        active, product, weights, shares = active[moving], product[moving], weights[moving], following[moving]
    return result


def _geometric_step(product: Shares, weights: Shares, shares: Shares) -> tuple[Shares, Shares, Shares]:
    squared = squared_distances_to(product, shares)
    own = np.diagonal(product, axis1=1, axis2=2)
    here = squared <= SAME * 10 * (own + _squared_length(product, shares)[:, None])
    distance = np.where(here, 0.0, np.sqrt(squared))
    forces = np.where(here, 0.0, weights / np.where(here, 1.0, distance))
    total = np.maximum(forces.sum(axis=1, keepdims=True), _TINY)
    pulling = np.sqrt(_squared_length(product, forces - total * shares))
    held = (weights * here).sum(axis=1)
    stay = np.minimum(1.0, held / np.maximum(pulling, _TINY))[:, None]
    following = (1 - stay) * forces / total + stay * shares
    return pulling - held, following / following.sum(axis=1, keepdims=True), distance


def _spherical_step(cosine: Shares, weights: Shares, shares: Shares) -> tuple[Shares, Shares, Shares]:
    near = _cosines(cosine, shares)
    sine = np.sqrt((1 - near) * (1 + near))
    here, opposite = (sine < EQUAL * 100) & (near > 0), (sine < EQUAL * 100) & (near < 0)
    angle = np.where(here, 0.0, np.arccos(near))
    forces = np.where(here | opposite, 0.0, weights / np.where(here | opposite, 1.0, sine))
    pull = forces - (forces * near).sum(axis=1, keepdims=True) * shares
    pulling = np.sqrt(_squared_length(cosine, pull))
    held = (weights * here).sum(axis=1)
    stay = np.minimum(1.0, held / np.maximum(pulling, _TINY))
    total = np.where(here, 0.0, weights / np.where(here, 1.0, angle)).sum(axis=1)
    way = (1 - stay) * pulling / np.maximum(total, _TINY)
    turned = np.cos(way)[:, None] * shares + (np.sin(way) / np.maximum(pulling, _TINY))[:, None] * pull
    return pulling - held, _to_length_one(cosine, turned)[0], angle


def _cosines(cosine: Shares, shares: Shares) -> Shares:
    near: Shares = np.clip(projections(cosine, shares), -1.0, 1.0)
    return near


def _to_length_one(product: Shares, shares: Shares) -> tuple[Shares, Shares]:
    length = np.sqrt(_squared_length(product, shares))
    return shares / np.maximum(length, _TINY)[:, None], length


def _squared_length(product: Shares, shares: Shares) -> Shares:
    squared: Shares = np.maximum((projections(product, shares) * shares).sum(axis=1), 0.0)
    return squared
