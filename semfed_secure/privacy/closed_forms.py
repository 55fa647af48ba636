"""Epsilon where a formula gives it: the Gaussian and the discrete Gaussian exactly, zero-concentrated DP tightly.

What is returned is never below the true value: it is rounded up by more than the floating-point error. For reports and
for tests of the accountant; nothing is enforced by it, because a formula assumes that nothing was chosen after seeing
an output.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr

from semfed_secure.privacy.parameters import Number, valid_count, valid_delta, valid_noise

if TYPE_CHECKING:
    from collections.abc import Callable

INFINITE = Decimal("Infinity")
_PLACES = Decimal("0.000001")


def rounded_up(epsilon: float) -> Decimal:
    """``epsilon`` as it is printed: six places, up, by more than a sum of logarithms errs; infinite above 1e9."""
    if not epsilon <= 1e9:
        return INFINITE
    return Decimal(max(epsilon, 0.0) * (1 + 1e-9) + 1e-9).quantize(_PLACES, ROUND_CEILING)


def gaussian_epsilon(noise_multiplier: Number, count: Number, delta: Number) -> Decimal:
    """Exact epsilon of ``count`` Gaussian releases, the noise of each in units of its sensitivity.

    Together they are one Gaussian release of noise divided by sqrt(count) (Balle and Wang 2018, theorem 8).

    Raises:
        ConfigurationError: SF141.
    """
    sigma = valid_noise(noise_multiplier) / math.sqrt(valid_count("count", count))

    def log_delta(epsilon: float) -> float:
        shift, tilt = 1 / (2 * sigma), epsilon * sigma
        return _log_difference(float(log_ndtr(shift - tilt)), epsilon + float(log_ndtr(-shift - tilt)))

    return _least(log_delta, valid_delta(delta))


def discrete_gaussian_epsilon(sigma: Number, delta: Number) -> Decimal:
    """Exact epsilon of one discrete Gaussian release of integers of which one may differ by one.

    Canonne, Kamath, Steinke 2020, theorem 7.

    Raises:
        ConfigurationError: SF141.
    """
    scale = valid_noise(sigma)
    # At least 40 standard deviations: the weight beyond them is less than any delta that is accepted.
    weights = -(np.arange(-math.ceil(40 * scale) - 2, math.ceil(40 * scale) + 3, dtype=np.float64) ** 2)
    weights /= 2 * scale**2
    tails = np.logaddexp.accumulate(weights[::-1])[::-1]
    tails -= tails[0]
    middle = len(weights) // 2

    def log_tail(above: float) -> float:
        place = middle + math.floor(above) + 1
        return float(tails[place]) if place < len(tails) else -math.inf

    def log_delta(epsilon: float) -> float:
        centre = epsilon * scale**2
        return _log_difference(log_tail(centre - 0.5), epsilon + log_tail(centre + 0.5))

    return _least(log_delta, valid_delta(delta))


def zcdp_epsilon(rho: float, delta: Number) -> Decimal:
    """Epsilon of whatever satisfies zero-concentrated DP with ``rho``, at the best of all orders.

    Canonne, Kamath, Steinke 2020, corollary 13: tight for what is known of zCDP, and valid at every order that the
    search may end with.

    Raises:
        ConfigurationError: SF141 for ``delta``.
    """
    log_delta = math.log(valid_delta(delta))
    if rho == 0:
        return Decimal(0)

    def epsilon(log_excess: float) -> float:
        excess = math.exp(log_excess)
        order = 1 + excess
        return order * rho + math.log1p(-1 / order) - (log_delta + math.log(order)) / excess

    return rounded_up(float(minimize_scalar(epsilon, bounds=(-25.0, 25.0), method="bounded").fun))


def _least(log_delta: Callable[[float], float], delta: Decimal) -> Decimal:
    """The least epsilon whose delta, falling in epsilon, is at most ``delta``."""
    target = math.log(delta)
    if log_delta(0.0) <= target:
        return Decimal(0)
    high = 1.0
    while log_delta(high) > target:
        high *= 2
        if high > 1e9:
            return INFINITE
    return rounded_up(float(brentq(lambda epsilon: max(log_delta(epsilon), -1e4) - target, 0, high, rtol=1e-11)))


def _log_difference(larger: float, smaller: float) -> float:
    """The logarithm of a difference of two numbers that are given by theirs; minus infinity if there is none."""
    if smaller >= larger:
        return -math.inf
    return larger + math.log1p(-math.exp(smaller - larger))
