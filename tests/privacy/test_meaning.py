"""What an epsilon allows the best attacker."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.meaning import best_true_positive_rate

ONE_PER_CENT = Decimal("0.01")


@pytest.mark.parametrize(
    ("epsilon", "rate", "expected"),
    [
        ("0", "0.01", "0.010001"),  # no epsilon: chance, and delta
        ("1", "0.01", "0.027184"),  # e / 100, and delta
        ("4", "0.01", "0.545983"),
        ("8", "0.01", "0.999668"),  # 1 - 0.99 / e^8
        ("8", "0.001", "0.999665"),
        ("Infinity", "0.01", "1.000000"),
        ("1000", "0", "1.000000"),
    ],
)
def test_the_best_attackers_share_is_the_one_of_the_books(epsilon: str, rate: str, expected: str) -> None:
    """Worked by hand at delta 1e-6, rounded up."""
    assert best_true_positive_rate(Decimal(epsilon), "1e-6", Decimal(rate)) == Decimal(expected)


@given(st.decimals(0, 39, places=6), st.sampled_from(["1e-9", "1e-6", "1e-3"]), st.decimals(0, 1, places=6))
def test_the_bound_is_never_below_what_an_attacker_can_reach(epsilon: Decimal, delta: str, rate: Decimal) -> None:
    """Randomised response with a catastrophe of probability delta is private and reaches it; less is understated."""
    growth, slack = math.exp(float(epsilon)), float(delta)
    corner = (1 - slack) / (1 + growth)  # where both sides of the trade-off meet
    reached = slack + growth * float(rate) if float(rate) <= corner else 1 - (1 - slack - float(rate)) / growth
    bound = best_true_positive_rate(epsilon, delta, rate)
    assert min(reached, 1.0) - 1e-9 <= float(bound) <= min(reached, 1.0) + 2e-6
    assert rate <= bound <= 1


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate"), [("-1", "1e-6", "0"), ("NaN", "1e-6", "0"), ("1", "1", "0"), ("1", "1e-6", "2")]
)
def test_hostile_parameters_are_coded_refusals(epsilon: str, delta: str, rate: str) -> None:
    """SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        best_true_positive_rate(Decimal(epsilon), delta, Decimal(rate))
