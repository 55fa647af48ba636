"""Batches of DP-SGD are Poisson samples that nobody can seed."""

import inspect

import numpy as np
import pytest
from scipy.stats import chisquare

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.batches import PoissonBatches


def test_there_is_no_seed():
    """The public constructor takes nothing."""
    assert not inspect.signature(PoissonBatches.from_system).parameters


@pytest.mark.parametrize("rate", [0.003, 0.1, 0.5])
def test_batches_are_poisson_samples(rate):
    """Each entity joins with the stated probability; batch sizes vary as independent choices do."""
    batches = PoissonBatches.from_system()
    drawn = [batches.draw(500, rate) for _ in range(2000)]
    sizes = np.array([len(batch) for batch in drawn])
    members = np.concatenate(drawn)
    expected = 500 * rate
    assert abs(sizes.mean() - expected) < 6 * np.sqrt(expected * (1 - rate) / 2000)
    assert abs(sizes.var() / (expected * (1 - rate)) - 1) < 0.25
    assert chisquare(np.bincount(members, minlength=500)).pvalue > 1e-9
    assert all(np.all(np.diff(batch) > 0) for batch in drawn)


def test_a_batch_may_be_empty_or_whole():
    """Rate one takes everybody; a tiny rate takes nobody almost always."""
    batches = PoissonBatches.from_system()
    assert list(batches.draw(20, 1)) == list(range(20))
    assert len(batches.draw(20, 1e-9)) == 0


@pytest.mark.parametrize("rate", [0, -0.5, 1.01, float("nan")])
def test_hostile_rates_are_refused(rate):
    """A rate outside (0, 1] is SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        PoissonBatches.from_system().draw(10, rate)
