"""The table of mechanisms is complete, and a cost follows from declared parameters alone."""

import inspect

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy import mechanisms
from semfed_secure.privacy.accountant import UNBOUNDED, dp_sgd_rdp, gaussian_rdp, times
from semfed_secure.units import Mechanism

SGD = {"noise_multiplier": "1.1", "sample_rate": "0.05", "steps": "40"}


def test_every_mechanism_has_a_cost():
    """No mechanism can be declared that the ledger cannot charge."""
    assert set(mechanisms.COSTS) == set(Mechanism)


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_every_mechanism_states_its_four_lines(mechanism):
    """Unit, sensitivity, guarantee and assumptions stand in each docstring."""
    text = inspect.getdoc(mechanisms.COSTS[mechanism])
    for line in ("Privacy unit:", "Sensitivity:", "Guarantee:", "Assumes:"):
        assert line in text


def test_costs_are_those_of_the_accountant():
    """The table adds nothing and forgives nothing."""
    assert mechanisms.cost_of(Mechanism.DP_SGD, SGD) == dp_sgd_rdp(1.1, 0.05, 40)
    assert mechanisms.cost_of(Mechanism.RECORD_HISTOGRAM, {"sigma": "0.7"}) == gaussian_rdp(0.7)
    assert mechanisms.cost_of(Mechanism.UNSAFE_NO_NOISE, {}) == UNBOUNDED
    vectors = mechanisms.cost_of(Mechanism.GAUSSIAN_VECTOR, {"noise_multiplier": "50", "count": "512"})
    assert vectors == times(gaussian_rdp(50), 512)
    shards = mechanisms.cost_of(Mechanism.SHARD_VOTES, {"sigma": "40", "prompts": "50"})
    assert shards.values == pytest.approx(gaussian_rdp(40, sensitivity=100**0.5).values)
    shares = {"noise_multiplier": "50", "honest": "100", "dimension": "384", "count": "512"}
    assert mechanisms.cost_of(Mechanism.DISTRIBUTED, shares).values == pytest.approx(vectors.values)
    assert all(ours >= theirs for ours, theirs in zip(_distributed(shares), vectors.values, strict=True))


def _distributed(parameters):
    return mechanisms.cost_of(Mechanism.DISTRIBUTED, parameters).values


@pytest.mark.parametrize(
    ("mechanism", "parameters"),
    [
        (Mechanism.DP_SGD, {}),
        (Mechanism.DP_SGD, {**SGD, "noise_multiplier": "0"}),
        (Mechanism.DP_SGD, {**SGD, "sample_rate": "1.5"}),
        (Mechanism.DP_SGD, {**SGD, "steps": "NaN"}),
        (Mechanism.DP_SGD, {**SGD, "clip": "off"}),
        (Mechanism.RECORD_HISTOGRAM, {"sigma": "-1"}),
        (Mechanism.RECORD_HISTOGRAM, {"sigma": "1", "sensitivity": "0"}),
        (Mechanism.UNSAFE_NO_NOISE, {"epsilon": "1"}),
        (Mechanism.SHARD_VOTES, {"sigma": "1"}),
        (Mechanism.SHARD_VOTES, {"sigma": "1", "prompts": "0"}),
        (Mechanism.GAUSSIAN_VECTOR, {"noise_multiplier": "0", "count": "1"}),
        (Mechanism.GAUSSIAN_VECTOR, {"noise_multiplier": "1", "count": "1.5"}),
        (Mechanism.DISTRIBUTED, {"noise_multiplier": "1", "honest": "0", "dimension": "1", "count": "1"}),
        (Mechanism.DISTRIBUTED, {"noise_multiplier": "1", "honest": "2", "dimension": "NaN", "count": "1"}),
        (Mechanism.DISTRIBUTED, {"noise_multiplier": "1", "honest": "2", "count": "1"}),
    ],
)
def test_missing_unknown_and_hostile_parameters_are_refused(mechanism, parameters):
    """A parameter that is missing, that nobody reads, or that is out of range is SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        mechanisms.cost_of(mechanism, parameters)
