"""Hostile charges and budgets reserve nothing."""

from decimal import Decimal

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.budget import Budget
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation
from tests.privacy.sites import DELTA, Site, histogram, lifetime


@pytest.fixture
def site(tmp_path):
    """A site on a new SQLite database."""
    site = Site(tmp_path / "site.db")
    yield site
    site.database.close()


@pytest.mark.parametrize(
    ("mechanism", "parameters"),
    [
        (Mechanism.RECORD_HISTOGRAM, {"sigma": "0"}),
        (Mechanism.RECORD_HISTOGRAM, {"sigma": "nan"}),
        (Mechanism.RECORD_HISTOGRAM, {}),
        (Mechanism.DP_SGD, {"noise_multiplier": "1", "sample_rate": "2", "steps": "1"}),
    ],
)
def test_hostile_parameters_reserve_nothing(site, mechanism, parameters):
    """A charge whose cost cannot be computed is SF141 and leaves no row."""
    with pytest.raises(ConfigurationError, match="SF141"):
        site.ledger.reserve(histogram("b", mechanism=mechanism, parameters=parameters), [lifetime("8")])
    assert site.charges() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"idempotency_key": ""},
        {"population": "x" * 201},
        {"population": "pati\u202eents"},
        {"purpose": "two\nlines"},
        {"policy_digest": "sha256:12"},
        {"delta": Decimal(0)},
        {"delta": Decimal(1)},
        {"delta": Decimal("NaN")},
        {"unit": PrivacyUnit.ORGANISATION},
        {"relation": Relation.REPLACE_ONE},
    ],
)
def test_a_charge_that_cannot_be_accounted_for_is_refused(changes):
    """Unnamed, unprintable, undigested and unsupported charges are SF141 before any database is asked."""
    with pytest.raises(ConfigurationError, match="SF141"):
        histogram("b", **changes)


@pytest.mark.parametrize("epsilon", ["0", "-1", "NaN", "-Infinity", "sNaN", "1001"])
def test_a_hostile_budget_is_refused(epsilon):
    """A budget is positive and finite, or infinity spelled out."""
    with pytest.raises(ConfigurationError, match="SF141"):
        lifetime(epsilon)


def test_a_charge_without_a_lifetime_budget_is_refused(site):
    """No budgets, or only a period's, cover nothing: a new period would refill them."""
    for budgets in ([], [Budget(Period.MONTH, Decimal(8), DELTA)]):
        with pytest.raises(ConfigurationError, match="SF141"):
            site.ledger.reserve(histogram("b"), budgets)
