"""What a plan would cost, by every accountant that can say so, before anything is released.

A plan is a mechanism with its parameters and a count, all fixed before the first release. Only the figure of
`ENFORCED` is ever charged; the others say how much of it is the price of staying valid for plans that change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.privacy.accountant import ACCOUNTANT, dp_sgd_rdp, epsilon_of, gaussian_rdp, pld_epsilon, times
from semfed_secure.privacy.closed_forms import discrete_gaussian_epsilon, gaussian_epsilon, rounded_up, zcdp_epsilon
from semfed_secure.privacy.parameters import Number, valid_count, valid_delta, valid_noise
from semfed_secure.units import PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from semfed_secure.privacy.accountant import RdpCurve

ENFORCED = ACCOUNTANT
CONFIGURED = "however many follow, with parameters from configuration and policy"
ADAPTIVE = "also when later releases are chosen after seeing earlier ones"
FIXED_BEFORE = "only if the whole plan is fixed before its first release"
"""When a figure holds. Curves that are multiples of each other make the first as strong as the second: a filter on any
order is then one on all. Other curves do not, see `accountant`."""
UNIT, RELATION = PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE
_LEAST_PLD_SIGMA, _MOST_PLD_COUNT = 0.05, 10_000
"""Outside them the discrete Gaussian's losses outgrow every grid on which they could be composed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Epsilon by one accountant; None where it has nothing to say about this mechanism."""

    accountant: str
    epsilon: Decimal | None
    holds: str


@dataclass(frozen=True, slots=True)
class PlanCost:
    """A plan and what it costs, with all that makes an epsilon mean something."""

    mechanism: str
    parameters: Mapping[str, str]
    delta: Decimal
    scope: str
    figures: tuple[Figure, ...]


def gaussian_plan(noise_multiplier: Number, count: Number, delta: Number) -> PlanCost:
    """``count`` Gaussian releases, the noise of each in units of its sensitivity to one entity.

    Raises:
        ConfigurationError: SF141.
    """
    noise, times_released = valid_noise(noise_multiplier), valid_count("count", count)
    exact = gaussian_epsilon(noise, times_released, delta)
    pld = pld_epsilon(noise, 1.0, times_released, delta)
    figures = _figures(times(gaussian_rdp(noise), times_released), delta, rho=_rho(noise, times_released), pld=pld)
    parameters = {"noise_multiplier": repr(noise), "count": str(times_released)}
    return _plan("gaussian", parameters, delta, _releases(times_released), figures, exact)


def histogram_plan(sigma: Number, count: Number, delta: Number) -> PlanCost:
    """``count`` releases by ``record_histogram``, whatever the number of prompts.

    Raises:
        ConfigurationError: SF141.
    """
    scale, times_released = valid_noise(sigma), valid_count("count", count)
    exact = discrete_gaussian_epsilon(scale, delta) if times_released == 1 else None
    curve = times(gaussian_rdp(scale), times_released)
    pld = _discrete_pld(scale, times_released, delta, epsilon_of(curve, delta))
    figures = _figures(curve, delta, rho=_rho(scale, times_released), pld=pld)
    parameters = {"sigma": repr(scale), "count": str(times_released)}
    return _plan("record_histogram", parameters, delta, _releases(times_released), figures, exact)


def dp_sgd_plan(noise_multiplier: Number, sample_rate: Number, steps: Number, count: Number, delta: Number) -> PlanCost:
    """``count`` training runs by ``dp_sgd``; what the trained models answer costs nothing more.

    Raises:
        ConfigurationError: SF141.
    """
    runs = valid_count("count", count)
    curve = times(dp_sgd_rdp(noise_multiplier, sample_rate, steps), runs)
    all_steps = valid_count("steps x count", valid_count("steps", steps) * runs)
    pld = pld_epsilon(noise_multiplier, sample_rate, all_steps, delta)
    parameters = {
        "noise_multiplier": repr(float(noise_multiplier)),
        "sample_rate": repr(float(sample_rate)),
        "steps": str(steps),
        "count": str(runs),
    }
    scope = f"{runs} training run{'s' if runs > 1 else ''} of one population, alone, whatever the models answer then"
    return _plan("dp_sgd", parameters, delta, scope, _figures(curve, delta, rho=None, pld=pld), None)


def _plan(
    mechanism: str,
    parameters: Mapping[str, str],
    delta: Number,
    scope: str,
    figures: tuple[Figure, ...],
    exact: Decimal | None,
) -> PlanCost:
    closed = Figure("closed form", exact, FIXED_BEFORE)
    return PlanCost(mechanism, parameters, valid_delta(delta), scope, (*figures, closed))


def _figures(curve: RdpCurve, delta: Number, *, rho: float | None, pld: Decimal | None) -> tuple[Figure, ...]:
    return (
        Figure(ENFORCED, epsilon_of(curve, delta), CONFIGURED if rho is None else ADAPTIVE),
        Figure("zcdp", None if rho is None else zcdp_epsilon(rho, delta), ADAPTIVE),
        Figure("pld", pld, FIXED_BEFORE),
    )


def _rho(sigma: float, count: int) -> float:
    return count / (2 * sigma**2)


def _releases(count: int) -> str:
    return f"{count} release{'s' if count > 1 else ''} about one population, alone"


def _discrete_pld(sigma: float, count: int, delta: Number, enforced: Decimal) -> Decimal | None:
    """By privacy-loss distributions of the discrete Gaussian itself, of which one count may differ by one."""
    if sigma < _LEAST_PLD_SIGMA or count > _MOST_PLD_COUNT or not enforced.is_finite():
        return None
    from dp_accounting.pld.privacy_loss_distribution import from_discrete_gaussian_mechanism  # noqa: PLC0415

    # Each release's losses are rounded up to a grid: all roundings together stay below about a hundredth.
    interval = float(enforced) / (100 * count)
    one = from_discrete_gaussian_mechanism(sigma, sensitivity=1, value_discretization_interval=interval)
    return rounded_up(float(one.self_compose(count).get_epsilon_for_delta(float(valid_delta(delta)))))
