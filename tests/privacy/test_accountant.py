"""Epsilon is an upper bound on the truth, and a tight one."""

import math
from decimal import Decimal
from functools import cache

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.privacy import accountant as acc

DELTA = "1e-6"
PLANS = [(1.0, 0.01, 1000), (0.8, 0.004, 10_000), (0.95, 0.1, 60), (0.6, 0.02, 50)]


def exact_gaussian_epsilon(sigma: float, delta: float) -> float:
    """Analytic Gaussian mechanism (Balle and Wang 2018): the true epsilon of one release of sensitivity one."""

    def excess(epsilon):
        tail = math.exp(epsilon + log_ndtr(-1 / (2 * sigma) - epsilon * sigma))
        return float(ndtr(1 / (2 * sigma) - epsilon * sigma)) - tail - delta

    return brentq(excess, 0, 1 / (2 * sigma**2) + 10 / sigma + 1) if excess(0) > 0 else 0.0


@cache
def opacus_epsilon(noise, rate, steps):
    """Epsilon by opacus' own RDP analysis on its own orders."""
    from opacus.accountants.analysis import rdp

    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    curve = rdp.compute_rdp(q=rate, noise_multiplier=noise, steps=steps, orders=orders)
    return rdp.get_privacy_spent(orders=orders, rdp=curve, delta=1e-6)[0]


@settings(max_examples=200)
@given(st.floats(0.3, 300), st.integers(1, 1000), st.floats(1e-10, 1e-4))
def test_gaussian_epsilon_is_never_below_the_analytic_one_and_within_20_percent(sigma, count, delta):
    """Composed Gaussian releases: at least the exact epsilon, at most 20 % and 0.02 above it."""
    truth = exact_gaussian_epsilon(sigma / math.sqrt(count), delta)
    ours = float(acc.epsilon_of(acc.times(acc.gaussian_rdp(sigma), count), delta))
    assert ours >= truth
    if truth < 50:
        assert ours <= truth * 1.2 + 0.03


@pytest.mark.parametrize("plan", PLANS)
def test_dp_sgd_epsilon_is_never_below_pld_and_within_25_percent(plan):
    """DP-SGD plans: at least the (pessimistic) PLD figure, at most 25 % above it."""
    ours, truth = acc.epsilon_of(acc.dp_sgd_rdp(*plan), DELTA), acc.pld_epsilon(*plan, DELTA)
    assert truth <= ours <= truth * Decimal("1.25")


@pytest.mark.parametrize("plan", PLANS)
def test_dp_sgd_epsilon_equals_opacus_rdp(plan):
    """DP-SGD plans agree with opacus' RDP accountant within 1 %, and never by more than a billionth below."""
    ours = float(acc.epsilon_of(acc.dp_sgd_rdp(*plan), DELTA))
    assert ours >= opacus_epsilon(*plan) * 0.999999999
    assert ours <= opacus_epsilon(*plan) * 1.01


@pytest.mark.parametrize("plan", PLANS[:1])
def test_pld_epsilon_is_not_below_the_lower_bound_of_opacus_prv(plan):
    """The reported PLD figure lies inside the certified interval of opacus' PRV accountant."""
    from opacus.accountants import PRVAccountant

    noise, rate, steps = plan
    prv = PRVAccountant()
    prv.history = [(noise, rate, steps)]
    upper = prv.get_epsilon(delta=1e-6, eps_error=0.01)
    assert upper - 0.021 <= float(acc.pld_epsilon(*plan, DELTA)) <= upper


@pytest.mark.parametrize(
    ("noise", "rate"), [(0.5, 0.9), (1.0, 0.01), (1.0, 1e-6), (20.0, 0.001), (1000.0, 1e-9), (0.7, 0.2)]
)
def test_no_order_of_a_curve_is_below_its_exact_value(noise, rate):
    """At integer orders the curve is at least the 60-digit binomial sum of Mironov et al. 2019."""
    curve = acc.dp_sgd_rdp(noise, rate, 1)
    assert len(curve.values) == len(acc.ORDERS)
    with mpmath.workdps(60):
        sigma, q = mpmath.mpf(noise), mpmath.mpf(rate)
        for order in (2, 3, 8, 33, 256, 1024):
            total = mpmath.fsum(
                mpmath.binomial(order, k) * (1 - q) ** (order - k) * q**k * mpmath.exp((k * k - k) / (2 * sigma**2))
                for k in range(order + 1)
            )
            exact = mpmath.log(total) / (order - 1)
            ours = curve.values[acc.ORDERS.index(order)]
            assert ours >= exact
            assert ours <= exact * (1 + mpmath.mpf("1e-8")) + mpmath.mpf("1e-10")


def test_subsampling_never_costs_more_than_the_whole():
    """Every order of a sampled plan lies at or below the unsampled one."""
    assert np.all(
        np.asarray(acc.dp_sgd_rdp(0.7, 0.5, 3).values) <= np.asarray(acc.times(acc.gaussian_rdp(0.7), 3).values)
    )


@pytest.mark.parametrize(
    ("epsilon", "plan"), [(0.5, (1.0, 1)), (3, (1.0, 1)), (8, (1.0, 1)), (8, (0.1, 60)), (1, (0.05, 40))]
)
def test_noise_multiplier_is_never_under_and_close(epsilon, plan):
    """The noise found meets the target; one part in two hundred less would miss it."""
    noise = acc.noise_multiplier_for(epsilon, DELTA, *plan)
    assert acc.epsilon_of(acc.dp_sgd_rdp(noise, *plan), DELTA) <= epsilon
    assert acc.epsilon_of(acc.dp_sgd_rdp(noise * 0.995, *plan), DELTA) > epsilon


@settings(max_examples=40)
@given(st.floats(0.02, 200), st.floats(1e-12, 1e-4))
def test_noise_for_one_release_is_never_under(epsilon, delta):
    """For a single release, at any epsilon and delta, the sigma found meets the target."""
    assert acc.epsilon_of(acc.gaussian_rdp(acc.noise_multiplier_for(epsilon, delta)), delta) <= Decimal(repr(epsilon))


def test_an_unreachable_epsilon_is_refused():
    """An epsilon that no noise in range reaches is SF141 and not a wrong number."""
    with pytest.raises(ConfigurationError, match="SF141"):
        acc.noise_multiplier_for("0.0001", DELTA)


@given(st.lists(st.floats(0.4, 100), max_size=6))
def test_composition_of_gaussians_is_the_sum_of_their_rho(sigmas):
    """Curves add: composed Gaussians equal one Gaussian of the summed zCDP (closed form), and nothing costs nothing."""
    composed = acc.compose(acc.gaussian_rdp(sigma) for sigma in sigmas)
    rho = sum(acc.zcdp_of(sigma) for sigma in sigmas)
    assert np.allclose(composed.values, np.asarray(acc.ORDERS) * rho, rtol=1e-12)
    if not sigmas:
        assert acc.epsilon_of(composed, DELTA) == 0


@given(st.floats(0.4, 50), st.floats(0.4, 50))
def test_more_releases_never_cost_less(one, two):
    """Epsilon is monotone in composition."""
    both = acc.compose([acc.gaussian_rdp(one), acc.gaussian_rdp(two)])
    assert acc.epsilon_of(both, DELTA) >= acc.epsilon_of(acc.gaussian_rdp(one), DELTA)


def test_sensitivity_scales_the_cost():
    """Twice the sensitivity at twice the noise costs the same; at the same noise four times the rho."""
    assert acc.zcdp_of(4.0, sensitivity=2.0) == acc.zcdp_of(2.0)
    assert acc.zcdp_of(2.0, sensitivity=2.0) == 4 * acc.zcdp_of(2.0)


def test_no_noise_costs_infinity():
    """A release without noise has no epsilon."""
    assert acc.epsilon_of(acc.UNBOUNDED, DELTA) == Decimal("Infinity")
    assert acc.epsilon_of(acc.compose([acc.UNBOUNDED, acc.gaussian_rdp(1.0)]), DELTA) == Decimal("Infinity")


@given(st.floats(0.4, 50))
def test_a_stored_curve_reads_back_exactly(sigma):
    """Encoding a curve and parsing it loses no bit."""
    for curve in (acc.gaussian_rdp(sigma), acc.UNBOUNDED):
        assert acc.parse_curve(curve.encode()) == curve


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: None,
        lambda d: {**d, "grid": "rdp-orders-0"},
        lambda d: {**d, "more": 1},
        lambda d: {**d, "values": d["values"][1:]},
        lambda d: {**d, "values": ["nan", *d["values"][1:]]},
        lambda d: {**d, "values": ["-1", *d["values"][1:]]},
        lambda d: {**d, "values": ["cheap", *d["values"][1:]]},
        lambda d: {**d, "values": [None, *d["values"][1:]]},
    ],
)
def test_a_damaged_curve_is_refused(damage):
    """A stored cost of another grid, too short, negative or not a number is SF511."""
    with pytest.raises(IntegrityError, match="SF511"):
        acc.parse_curve(damage(acc.gaussian_rdp(1.0).encode()))
