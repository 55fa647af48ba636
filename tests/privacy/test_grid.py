"""A clipped vector adds integers no longer than the grid's norm, whatever it holds, and the noise on sums is exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, kstest

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.grid import UNITS, GridNoise, clipped_sum, values_of

wild = st.floats(width=32) | st.floats(-2, 2, width=32)
rows = arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 30)), elements=wild)


def length_squared(vector):
    """Exactly, in Python's integers."""
    return sum(int(value) ** 2 for value in vector)


@given(rows, st.sampled_from([1e-6, 0.3, 1.0, 1e6]))
@settings(max_examples=60, deadline=None)
def test_no_vector_moves_a_sum_by_more_than_the_units(vectors, clip_norm):
    """Whatever a vector holds, it adds integers of at most `UNITS` in L2, and nothing if its length is not finite."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.square(vectors).sum(1))
    for vector, counts in zip(vectors, finite, strict=True):
        alone = clipped_sum([vector[None]], clip_norm)
        assert alone.dtype == np.int64
        assert length_squared(alone) <= UNITS**2
        assert counts or not alone.any()


@pytest.mark.parametrize("values", [1, 4095, 4096, 70_001])
@pytest.mark.parametrize("length", [0.999, 1.0, 1.001, 50.0])
def test_long_vectors_are_clipped_too(values, length):
    """Of tens of thousands of values, just below the norm, on it and beyond: never longer, and hardly shorter."""
    vector = np.random.default_rng(values).normal(size=(1, values))
    vector = (vector * length / np.linalg.norm(vector)).astype(np.float32)
    squared = length_squared(clipped_sum([vector], 1.0))
    assert squared <= UNITS**2
    assert squared >= (0.998 * min(length, 1) * UNITS - np.sqrt(values)) ** 2


@given(rows, st.randoms())
@settings(max_examples=25, deadline=None)
def test_a_sum_is_the_same_in_any_order_and_any_batch(vectors, random):
    """Adding one vector adds exactly what it adds alone: nothing of the others' rounding depends on it."""
    whole = clipped_sum([vectors], 1.0)
    assert np.array_equal(whole, sum(clipped_sum([vector[None]], 1.0) for vector in vectors))
    order = random.sample(range(len(vectors)), len(vectors))
    assert np.array_equal(whole, clipped_sum([vectors[order]], 1.0))


def test_parts_of_a_vector_are_clipped_as_one():
    """A vector in three pieces has one norm: cutting it up neither lengthens it nor changes it."""
    vectors = np.random.default_rng(1).normal(size=(50, 900)).astype(np.float32)
    parts = [vectors[:, :100], vectors[:, 100:101], vectors[:, 101:]]
    assert np.abs(clipped_sum(parts, 2.0) - clipped_sum([vectors], 2.0)).max() <= 50
    longest = np.concatenate([part[:1] for part in parts], 1)
    assert length_squared(clipped_sum([part[:1] for part in parts], 2.0)) <= UNITS**2 < (longest**2).sum() * UNITS**2


def test_the_sum_is_that_of_real_arithmetic_to_a_thousandth():
    """Rounding and the room left for it take less than a thousandth: utility is what it was."""
    vectors = np.random.default_rng(2).normal(size=(300, 5000)).astype(np.float32)
    vectors[::3] *= 1e-4
    norms = np.linalg.norm(vectors.astype(float), axis=1)
    real = (vectors * np.minimum(1, 3.0 / norms)[:, None]).sum(0)
    error = values_of(clipped_sum([vectors], 3.0), 3.0) - real
    assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(real)


@pytest.mark.parametrize(("clip_norm", "noise"), [(1.0, 1.0), (0.02, 0.6), (50.0, 30.0)])
def test_noise_has_the_planned_scale(clip_norm, noise):
    """The noise multiplier times the clipping norm, on every number, also where nobody added anything."""
    parts = [np.zeros((3, 20_000), dtype=np.float32)]
    scaled = values_of(GridNoise(noise).add_to(clipped_sum(parts, clip_norm)), clip_norm) / (clip_norm * noise)
    low, high = chi2.ppf([1e-7, 1 - 1e-7], len(scaled))
    assert low < float(np.square(scaled).sum()) < high
    assert kstest(scaled, "norm").pvalue > 1e-7


def test_noise_is_fresh_for_every_sum():
    """Two sums of one source share no noise."""
    noise, total = GridNoise(1.0), np.zeros(1000, dtype=np.int64)
    assert len(np.unique(np.concatenate([noise.add_to(total), noise.add_to(total)]))) > 1990


def test_sums_that_are_no_integers_get_no_noise():
    """A sum in floats is not on the grid: integer noise on it would promise what it does not keep."""
    with pytest.raises(ConfigurationError, match="SF141"):
        GridNoise(1.0).add_to(np.zeros(3))


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), 1e12])
def test_hostile_parameters_are_refused(bad):
    """A clipping norm or a noise multiplier outside its range is SF141."""
    parts = [np.zeros((1, 1), dtype=np.float32)]
    with pytest.raises(ConfigurationError, match="SF141"):
        clipped_sum(parts, bad)
    with pytest.raises(ConfigurationError, match="SF141"):
        GridNoise(bad)
