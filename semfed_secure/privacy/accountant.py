"""Turn mechanisms into Renyi curves, compose curves, and read epsilon from them, always rounded up.

Every epsilon returned is an upper bound on the true one: curves carry a margin above the floating-point error of their
computation, and the conversion rounds up. Each order of the grid alone is a privacy filter that stays valid when
parameters are chosen after seeing earlier releases (Feldman and Zrnic 2021); reading epsilon at the best order
of the grid is exact as long as the mechanisms and their parameters come from configuration and policy rather than from
earlier outputs, however many releases follow. The price of a filter over the tightest figure (`pld_epsilon`) is 8-15 %.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.errors import IntegrityError
from semfed_secure.privacy.parameters import (
    MAX_NOISE,
    MIN_NOISE,
    Number,
    refuse,
    valid_count,
    valid_delta,
    valid_epsilon,
    valid_noise,
    valid_sample_rate,
    valid_sensitivity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

ACCOUNTANT = "rdp"
"""Name of the enforcing accountant as it stands in declarations."""
GRID = "rdp-orders-1"
"""Name of `ORDERS`; stored with every curve, because curves of different grids must never be added."""
ORDERS: tuple[float, ...] = (
    *(round(1 + tenth / 10, 1) for tenth in range(5, 100)),
    *(float(order) for order in range(11, 64)),
    *(64.0, 80.0, 96.0, 128.0, 160.0, 192.0, 256.0, 320.0, 384.0, 512.0, 768.0, 1024.0),
)
_PLACES = Decimal("0.000001")
_INFINITE = Decimal("Infinity")
# Relative and absolute slack of one curve: log-gamma terms of order 1024 err by about 2e-12 (checked against mpmath).
_RELATIVE_MARGIN, _ABSOLUTE_MARGIN = 1e-9, 1e-11


@dataclass(frozen=True, slots=True)
class RdpCurve:
    """Renyi divergence at each of `ORDERS`; what one mechanism costs, whatever follows it.

    Curves of mechanisms on one population add up, order by order, also when later ones are chosen adaptively.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a curve of another grid or with a value that is no divergence."""
        if len(self.values) != len(ORDERS) or not all(value >= 0 for value in self.values):
            raise IntegrityError("SF511", "a privacy cost must be one non-negative value per order of the grid")

    def encode(self) -> dict[str, object]:
        """JSON-ready form; numbers as text, exact, because JSON knows no infinity."""
        return {"grid": GRID, "values": [repr(value) for value in self.values]}


def parse_curve(document: object) -> RdpCurve:
    """Read `RdpCurve.encode` back.

    Raises:
        IntegrityError: SF511, the stored cost is damaged or of an unknown grid.
    """
    match document:
        case {"grid": grid, "values": [*values], **rest} if grid == GRID and not rest:
            return RdpCurve(tuple(_stored_number(value) for value in values))
        case _:
            raise IntegrityError("SF511", "a stored privacy cost is damaged or of an unknown grid")


def _stored_number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise IntegrityError("SF511", "a stored privacy cost holds something that is no number") from None


ZERO = RdpCurve((0.0,) * len(ORDERS))
UNBOUNDED = RdpCurve((math.inf,) * len(ORDERS))
"""The cost of a release without noise."""


def gaussian_rdp(noise_multiplier: Number, *, sensitivity: Number = 1.0) -> RdpCurve:
    """Curve of one Gaussian or discrete Gaussian release: order * rho, rho = zCDP of the release.

    ``noise_multiplier`` is the standard deviation. The discrete Gaussian satisfies the same bound as the continuous one
    (Canonne, Kamath, Steinke 2020, theorem 4).

    Raises:
        ConfigurationError: SF141.
    """
    rho = zcdp_of(noise_multiplier, sensitivity=sensitivity)
    return RdpCurve(tuple(order * rho for order in ORDERS))


def zcdp_of(sigma: Number, *, sensitivity: Number = 1.0) -> float:
    """The rho = sensitivity^2 / (2 sigma^2): zero-concentrated DP of one (discrete) Gaussian release.

    Raises:
        ConfigurationError: SF141.
    """
    return (valid_sensitivity(sensitivity) / valid_noise(sigma)) ** 2 / 2


def dp_sgd_rdp(noise_multiplier: Number, sample_rate: Number, steps: Number) -> RdpCurve:
    """Curve of ``steps`` steps of DP-SGD with Poisson batches, neighbours add or remove one entity.

    Computed by dp-accounting (Mironov, Talwar, Zhang 2019) and raised by a margin above its floating-point error.

    Raises:
        ConfigurationError: SF141.
    """
    noise, rate, count = valid_noise(noise_multiplier), valid_sample_rate(sample_rate), valid_count("steps", steps)
    if rate == 1:
        return times(gaussian_rdp(noise), count)
    per_step = np.maximum(np.asarray(_sampled_gaussian(noise, rate)), 0)
    raised = per_step * (1 + _RELATIVE_MARGIN) + _ABSOLUTE_MARGIN / (np.asarray(ORDERS) - 1)
    # A sampled release never costs more than the whole one: this bounds the orders that did not converge.
    capped = np.minimum(raised, np.asarray(gaussian_rdp(noise).values))
    return times(RdpCurve(tuple(float(value) for value in capped)), count)


@lru_cache(maxsize=64)
def _sampled_gaussian(noise: float, rate: float) -> tuple[float, ...]:
    # Imported here: it takes a second, and reading a ledger does not need it.
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent  # noqa: PLC0415
    from dp_accounting.rdp import RdpAccountant  # noqa: PLC0415

    accountant = RdpAccountant(list(ORDERS))
    # It warns of every order it leaves out as infinite, which is safe and of no use to an operator.
    absl, level = logging.getLogger("absl"), logging.getLogger("absl").level
    absl.setLevel(logging.ERROR)
    try:
        accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(noise)))
    finally:
        absl.setLevel(level)
    return tuple(float(value) for value in accountant._rdp)  # noqa: SLF001 - dp-accounting has no public accessor


def times(curve: RdpCurve, count: int) -> RdpCurve:
    """The curve of ``count`` independent runs of the same mechanism."""
    return RdpCurve(tuple(value * count for value in curve.values))


def compose(curves: Iterable[RdpCurve]) -> RdpCurve:
    """The curve of all of ``curves`` together; of none, zero."""
    columns = zip(*(curve.values for curve in (ZERO, *curves)), strict=True)
    return RdpCurve(tuple(math.fsum(column) for column in columns))


def epsilon_of(curve: RdpCurve, delta: Number) -> Decimal:
    """Epsilon at ``delta``, rounded up to six places; 0 only for no cost at all, infinite for no guarantee.

    Best order of Canonne, Kamath, Steinke 2020, proposition 12.

    Raises:
        ConfigurationError: SF141 for ``delta``.
    """
    log_delta = math.log(valid_delta(delta))
    if curve == ZERO:
        return Decimal(0)
    orders, values = np.asarray(ORDERS), np.asarray(curve.values)
    best = float(np.min(values + np.log1p(-1 / orders) - (log_delta + np.log(orders)) / (orders - 1)))
    if not math.isfinite(best) or best > 1e9:
        return _INFINITE
    return Decimal(max(best, 0.0) * (1 + 1e-9) + 1e-9).quantize(_PLACES, ROUND_CEILING)


def noise_multiplier_for(epsilon: Number, delta: Number, sample_rate: Number = 1.0, steps: Number = 1) -> float:
    """The least noise multiplier, to one part in a thousand, whose epsilon does not exceed ``epsilon``.

    Never under: `epsilon_of` of the returned plan is at most ``epsilon``. With the default rate and steps it is the
    sigma of a single (discrete) Gaussian release of sensitivity one.

    Raises:
        ConfigurationError: SF141, also when no noise in range reaches ``epsilon``.
    """
    target, bound = valid_epsilon(epsilon), valid_delta(delta)
    rate, count = valid_sample_rate(sample_rate), valid_count("steps", steps)

    def enough(noise: float) -> bool:
        return epsilon_of(dp_sgd_rdp(noise, rate, count), bound) <= target

    low, high = MIN_NOISE, 1.0
    while not enough(high):
        low, high = high, high * 4
        if high > MAX_NOISE:
            raise refuse("epsilon", f"reachable in {count} steps at this sample rate", target)
    while (high - low) / high > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    rounded = float(f"{high:.4g}")
    return rounded if rounded >= high else float(f"{high * 1.0005:.4g}")


def pld_epsilon(noise_multiplier: Number, sample_rate: Number, steps: Number, delta: Number) -> Decimal | None:
    """Epsilon of one DP-SGD plan by privacy-loss distributions: essentially exact, rounded up.

    For the report of a plan registered before its first release; never for enforcement, because it assumes that
    nothing was chosen after seeing an output. None where losses are too large for floating-point numbers, or too small
    for the grid on which they are composed.

    Raises:
        ConfigurationError: SF141.
    """
    noise, rate, count = valid_noise(noise_multiplier), valid_sample_rate(sample_rate), valid_count("steps", steps)
    bound = float(valid_delta(delta))
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent  # noqa: PLC0415
    from dp_accounting.pld import PLDAccountant  # noqa: PLC0415

    enforced = float(epsilon_of(dp_sgd_rdp(noise, rate, count), bound))
    # Losses are rounded to a grid, on the safe side; it is as fine as the total deserves, so that any plan ends soon.
    grid = max(1e-5, enforced / 2e4)
    if not math.isfinite(enforced) or (rate < 1 and rate < noise * grid):
        return None
    event = GaussianDpEvent(noise) if rate == 1 else PoissonSampledDpEvent(rate, GaussianDpEvent(noise))
    accountant = PLDAccountant(value_discretization_interval=grid)
    try:
        accountant.compose(event, count)
        epsilon = float(accountant.get_epsilon(bound))
    except OverflowError:
        return None
    return Decimal(epsilon * (1 + 1e-9)).quantize(_PLACES, ROUND_CEILING) if math.isfinite(epsilon) else None
