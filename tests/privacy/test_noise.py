"""Noise for DP-SGD is normal, independent, unpredictable and different after a fork."""

import inspect
import os

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, normaltest

from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.noise import GaussianNoise, PoissonBatches


@pytest.mark.parametrize("count", [1, 2, 7, 300_001])
def test_shape_is_what_was_asked_for(count):
    """Any count is served, odd ones and those above one block too."""
    values = GaussianNoise.from_system().standard_normal(count)
    assert values.shape == (count,)
    assert np.all(np.isfinite(values))


def test_noise_is_standard_normal():
    """Kolmogorov-Smirnov and moments against the standard normal distribution."""
    values = GaussianNoise.from_system().standard_normal(400_000)
    assert kstest(values, "norm").pvalue > 1e-6
    assert normaltest(values).pvalue > 1e-6
    assert abs(values.std() - 1) < 0.01
    assert abs(values.mean()) < 0.01


def test_tails_are_not_cut():
    """As many values beyond three as a normal distribution has: a shortened tail would be a broken guarantee."""
    values = GaussianNoise.from_system().standard_normal(1_000_000)
    outside = int((np.abs(values) > 3).sum())
    assert chisquare([outside, 1_000_000 - outside], [2699.8, 997_300.2]).pvalue > 1e-6


def test_values_are_independent_of_their_neighbours():
    """Neither consecutive values nor the two of a Box-Muller pair are correlated, in sign or in size."""
    values = GaussianNoise.from_system().standard_normal(200_000)
    for lag in (1, 100_000):
        for view in (values, np.abs(values)):
            assert abs(np.corrcoef(view[:-lag], view[lag:])[0, 1]) < 0.02


def test_two_sources_never_agree():
    """Two sources, and two draws of one source, share no value."""
    source = GaussianNoise.from_system()
    draws = [
        source.standard_normal(1000),
        source.standard_normal(1000),
        GaussianNoise.from_system().standard_normal(1000),
    ]
    assert len(np.unique(np.concatenate(draws))) == 3000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_draws_other_noise():
    """After a fork neither side repeats what the other draws, and both stay random."""
    source = GaussianNoise.from_system()
    source.standard_normal(10)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, source.standard_normal(100).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = np.frombuffer(os.read(reader, 100 * 8))
    os.close(reader)
    os.close(writer)
    assert not set(theirs.tolist()) & set(source.standard_normal(100).tolist())


def test_there_is_no_seed():
    """No public constructor takes a seed."""
    for source in (GaussianNoise, PoissonBatches):
        assert not inspect.signature(source.from_system).parameters


def test_known_words_give_known_noise():
    """One value recomputed by hand from the keystream: the sum of four Box-Muller draws, halved."""
    key = bytes(range(32))
    words = ChaChaStream(fixed_key_for_test_vectors=key).words(8)
    uniform = [((int(word) >> 11) + 1) / 2**53 for word in words]
    by_hand = sum(np.sqrt(-2 * np.log(uniform[i])) * np.cos(2 * np.pi * uniform[i + 1]) for i in (0, 2, 4, 6)) / 2
    value = GaussianNoise(ChaChaStream(fixed_key_for_test_vectors=key)).standard_normal(1)[0]
    assert value == pytest.approx(by_hand, rel=1e-12)


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
