"""Each client's share of the noise of a sum: the mechanism ``distributed``.

Clients add up vectors that nobody sees alone, and each adds a share of the noise before. The noise of the sum is then a
sum of discrete Gaussians, which is **no** discrete Gaussian and no continuous one: it is accounted by proposition 14 of
Kairouz, Liu and Steinke (2021), whose extra term vanishes on a fine grid and does not on a coarse one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.privacy.accountant import ORDERS, RdpCurve
from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian
from semfed_secure.privacy.parameters import Number, refuse, valid_count, valid_grid_sigma, valid_noise
from semfed_secure.privacy.vectors import DIAMETER, MAX_VALUES, noised, on_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from semfed_secure.privacy.grid import NoisyGridSum

MAX_HONEST = 1_000_000
LEAST_SHARE = 0.5
"""Of sigma, in grid units: below it the bound is not proven."""
_UP = 1 + 1e-9


def share_sigma(noise_multiplier: Number, honest: Number) -> float:
    """Scale of one client's noise, in grid units: ``honest`` of them reach ``noise_multiplier`` together.

    ``honest`` is the least number of clients, this one among them, that add their share and tell nobody. Fewer means
    less noise than is charged: name a number that holds whatever happens, dropped clients and liars taken off.

    Raises:
        ConfigurationError: SF141.
    """
    least = valid_count("honest", honest, MAX_HONEST)
    return valid_noise(noise_multiplier) * DIAMETER / math.sqrt(least) * _UP


def noisy_share(vectors: NDArray[np.float32], *, noise_multiplier: Number, honest: Number) -> NoisyGridSum:
    """This client's rows, ``(count, dimension)``, each clipped to the unit ball, with its share of the noise.

    The sum over at least ``honest`` honest clients costs `mechanisms.distributed_cost`; this share **alone** is
    protected far less, and must reach nobody but the sum. In units of ``1 / UNITS``, as int64; clients' shares add up.

    Raises:
        ConfigurationError: SF141.
    """
    return noised(on_grid(vectors), DiscreteGaussian.from_system(share_sigma(noise_multiplier, honest)))


def sum_of_shares_rdp(sigma: Number, honest: Number, *, sensitivity: float, dimension: Number) -> RdpCurve:
    """Curve of one vector of integers, noised by the sum of ``honest`` discrete Gaussians of ``sigma`` each.

    Proposition 14 of Kairouz, Liu and Steinke 2021 (the first and third of its bounds, which need no L1 norm), for
    integer vectors at most ``sensitivity`` apart in L2.

    Raises:
        ConfigurationError: SF141, also for a ``sigma`` below `LEAST_SHARE`, for which nothing is proven.
    """
    scale, count = valid_grid_sigma(sigma), valid_count("honest", honest, MAX_HONEST)
    numbers = valid_count("dimension", dimension, MAX_VALUES)
    if scale < LEAST_SHARE:
        raise refuse("sigma of one share", f"at least {LEAST_SHARE} grid units", scale)
    if not 0 < sensitivity < math.inf:
        raise refuse("sensitivity", "above 0 and finite", sensitivity)
    k = np.arange(1, count)
    gap = 10 * float(np.exp(-2 * math.pi**2 * scale**2 * (k / (k + 1))).sum()) * _UP
    ratio = sensitivity / (math.sqrt(count) * scale) * _UP
    return RdpCurve(
        tuple(
            min(order / 2 * ratio**2 + gap * numbers, order / 2 * (ratio + math.sqrt(numbers) * gap) ** 2)
            for order in ORDERS
        )
    )
