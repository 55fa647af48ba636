"""Robust averages of what the clients said, one for each of many prompts.

Arrays of ``(prompts, clients, dimensions)`` go in, and one row for each prompt comes out.
Prompts are independent of each other. They are worked on in blocks that fit the processor's cache, and a prompt's bytes
depend neither on the block nor on its neighbours, so ``map(rule, blocks)`` streams over more prompts than memory
holds. An array may also be a memory map. Numbers come out as float32, or as float64 where they came in wider.
Whole numbers, as bundles of int16 hold them, give the same bytes on every machine, but for the spherical median, whose
angles are the machine's library's.

A client's row counts as absent at a prompt if it holds NaN or infinity, if its squared length does not fit into its
type, or if the client has weight 0 there: the rule then sees the others only, as if the client had not answered. A
prompt with fewer clients than the rule needs gets a row of NaN. Permuting the clients changes nothing beyond rounding
(for the coordinate-wise rules, nothing at all).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from semfed_secure.consensus import gram, medians
from semfed_secure.consensus.blocks import each_prompt, fewest_of, kernels
from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from semfed_secure.consensus.gram import Mask, Shares, Vectors

MixedRule = Literal["mean", "coordinate_median", "trimmed_mean", "geometric_median", "krum", "multi_krum"]
"""What `nearest_neighbour_mixing` can hand its mixtures to."""


def mean(vectors: ArrayLike, weights: ArrayLike | None = None) -> Vectors:
    """The weighted mean; a single client can carry it anywhere.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        weights: Not negative, ``(clients,)`` or ``(prompts, clients)``; equal if absent.

    Returns:
        ``(prompts, dimensions)``, as from every rule here.
    """
    return each_prompt(vectors, weights, 1, lambda dense, shares: gram.combine(shares, dense))


def coordinate_median(vectors: ArrayLike, *, compiled: bool = False) -> Vectors:
    """The median of every coordinate by itself; of an even number, the mean of the middle two.

    Fewer than half of the clients cannot carry a coordinate out of the range of the others' values.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        compiled: Use the kernels of the extra ``accel`` for floating-point numbers: the same bytes, sooner.
    """
    return _middle_mean(vectors, 1, lambda clients: (clients - 1) // 2, compiled=compiled)


def trimmed_mean(vectors: ArrayLike, *, faults: int, compiled: bool = False) -> Vectors:
    """The mean of every coordinate without its ``faults`` least and greatest values.

    No ``faults`` clients can carry a coordinate out of the range of the others' values. Needs ``2 faults + 1`` clients.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        faults: How many clients may lie.
        compiled: Use the kernels of the extra ``accel`` for floating-point numbers: the same bytes, sooner.

    Raises:
        ConfigurationError: ``SF105`` if so many liars cannot be tolerated among so many clients.
    """
    fewest = fewest_of(vectors, faults, 1)
    return _middle_mean(vectors, fewest, lambda _: faults, compiled=compiled)


def geometric_median(vectors: ArrayLike, weights: ArrayLike | None = None, *, compiled: bool = False) -> Vectors:
    """The point with the least weighted sum of distances to the clients.

    Its sum of distances is within 0.1 % of the least there is, as long as vectors that differ do so by more than a
    millionth of their length. Clients with less than half of the weight cannot carry it away: with ``a`` their share,
    it stays within ``2 (1 - a) / (1 - 2 a)`` times the radius of any ball around all the others.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        weights: Not negative, ``(clients,)`` or ``(prompts, clients)``; equal if absent.
        compiled: Use the kernels of the extra ``accel`` for floating-point numbers: the same up to rounding, sooner.
    """

    def rule(dense: Vectors, shares: Shares) -> Vectors:
        return gram.combine(medians.geometric(gram.gram(dense), shares), dense)

    kernel = kernels().geometric_median if compiled else None
    return each_prompt(vectors, weights, 1, rule, kernel)


def krum(vectors: ArrayLike, *, faults: int, compiled: bool = False) -> Vectors:
    """The client whose ``clients - faults - 2`` nearest others are nearest, by the sum of squared distances.

    Scores that differ by less than a part in 10^5 are tied, and the tied share the place equally. Needs
    ``2 faults + 3`` clients. Liars that send one vector win it easily: never release it as an answer.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        faults: How many clients may lie.
        compiled: Use the kernels of the extra ``accel`` for floating-point numbers: the same up to rounding, sooner.

    Raises:
        ConfigurationError: ``SF105`` if so many liars cannot be tolerated among so many clients.
    """
    return _krum(vectors, faults, lambda _: 1, compiled=compiled)


def multi_krum(vectors: ArrayLike, *, faults: int, compiled: bool = False) -> Vectors:
    """The mean of the ``clients - faults`` clients with the best scores of `krum`; the tied share the last places.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        faults: How many clients may lie.
        compiled: Use the kernels of the extra ``accel`` for floating-point numbers: the same up to rounding, sooner.

    Raises:
        ConfigurationError: ``SF105`` if so many liars cannot be tolerated among so many clients.
    """
    return _krum(vectors, faults, lambda clients: clients - faults, compiled=compiled)


def nearest_neighbour_mixing(vectors: ArrayLike, *, faults: int, then: MixedRule = "geometric_median") -> Vectors:
    """Replace each client by the mean of its ``clients - faults`` nearest, itself among them, and apply a rule.

    Of equally distant neighbours at the edge, each enters with an equal share. Needs what the rule needs, and
    ``2 faults + 1`` clients.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        faults: How many clients may lie.
        then: The rule for the mixtures.

    Raises:
        ConfigurationError: ``SF105`` if so many liars cannot be tolerated among so many clients, or for another rule.
    """

    def rule(dense: Vectors, shares: Shares) -> Vectors:
        clients = dense.shape[1]
        product = gram.gram(dense)
        mixing = gram.lowest(gram.squared_distances(product), clients - faults)
        if then in {"coordinate_median", "trimmed_mean"}:
            mixed: Vectors = np.stack([gram.combine(row, dense) for row in mixing.swapaxes(0, 1)], axis=1)
            return gram.middle_mean(mixed, faults if then == "trimmed_mean" else (clients - 1) // 2)
        product = gram.applied(gram.applied(mixing, product), mixing.swapaxes(1, 2))
        if then == "geometric_median":
            shares = medians.geometric(product, shares)
        elif then != "mean":
            shares = gram.krum_shares(product, faults, 1 if then == "krum" else clients - faults)
        return gram.combine(gram.applied(shares[:, None], mixing)[:, 0], dense)

    if then not in {"mean", "coordinate_median", "trimmed_mean", "geometric_median", "krum", "multi_krum"}:
        raise ConfigurationError("SF105", "mixtures go to a rule of `MixedRule`", rule=str(then)[:40])
    fewest = fewest_of(vectors, faults, 3 if then in {"krum", "multi_krum"} else 1)
    return each_prompt(vectors, None, fewest, rule)


def centered_clipping(vectors: ArrayLike, weights: ArrayLike | None = None, *, radius: float) -> Vectors:
    """Five steps from the origin, each the weighted mean of the ways to the clients, none longer than ``radius``.

    Nobody's vector moves the result by more than its weight times five radii. Vectors of length one lie around the
    origin; others should be moved there first.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        weights: Not negative, ``(clients,)`` or ``(prompts, clients)``; equal if absent.
        radius: Longest way counted in full.

    Raises:
        ConfigurationError: ``SF105`` if the radius is not positive and finite.
    """
    if not (math.isfinite(radius) and radius > 0):
        raise ConfigurationError("SF105", "a positive, finite radius was expected")

    def rule(dense: Vectors, shares: Shares) -> Vectors:
        return gram.combine(gram.clipped_shares(gram.gram(dense), shares, radius), dense)

    return each_prompt(vectors, weights, 1, rule)


def spherical_median(vectors: ArrayLike, weights: ArrayLike | None = None) -> Vectors:
    """The direction with the least weighted sum of angles to the clients' directions, as a vector of length one.

    Rows of zeros have no direction and count as absent. Directions spread over more than a hemisphere can have
    several local medians; this one is reached from the mean direction, or from a client's own where that is better.
    Directions that cancel each other give a row of NaN.

    Args:
        vectors: ``(prompts, clients, dimensions)``.
        weights: Not negative, ``(clients,)`` or ``(prompts, clients)``; equal if absent.
    """

    def rule(dense: Vectors, shares: Shares) -> Vectors:
        return gram.combine(medians.spherical(gram.gram(dense.astype(np.float64)), shares), dense)

    return each_prompt(vectors, weights, 1, rule, directed=True)


def _middle_mean(vectors: ArrayLike, fewest: int, cut: Callable[[int], int], *, compiled: bool) -> Vectors:
    def rule(dense: Vectors, _: Shares) -> Vectors:
        return gram.middle_mean(dense, cut(dense.shape[1]))

    def kernel(block: Vectors, _: Shares) -> tuple[Vectors, Mask]:
        found: tuple[Vectors, Mask] = kernels().middle_mean(block, cut(block.shape[1]))
        return found

    return each_prompt(vectors, None, fewest, rule, kernel if compiled else None)


def _krum(vectors: ArrayLike, faults: int, places: Callable[[int], int], *, compiled: bool) -> Vectors:
    def rule(dense: Vectors, _: Shares) -> Vectors:
        return gram.combine(gram.krum_shares(gram.gram(dense), faults, places(dense.shape[1])), dense)

    def kernel(block: Vectors, _: Shares) -> tuple[Vectors, Mask]:
        found: tuple[Vectors, Mask] = kernels().krum(block, faults, places(block.shape[1]))
        return found

    fewest = fewest_of(vectors, faults, 3)
    return each_prompt(vectors, None, fewest, rule, kernel if compiled else None)
