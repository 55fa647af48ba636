"""The discrete Gaussian is drawn exactly: word by word against exact arithmetic, and as a whole against its oracle."""

import inspect
import os
from bisect import bisect_right
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare, ks_2samp

from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian, _Inversion
from semfed_secure.privacy.intervals import exp_bounds, gaussian_weights

ONES = (1 << 64) - 1
SIGMAS = (0.3, 0.5, 0.77, 1, 2.4, 10, 50, 199.5, 256, 300, 1000, 54321)


def mass(sigma, reach=14):
    """Probabilities of -reach sigma ... reach sigma, and the values; exact to double precision."""
    values = np.arange(-int(reach * sigma) - 2, int(reach * sigma) + 3)
    weight = np.exp(-(values.astype(float) ** 2) / (2 * float(sigma) ** 2))
    return weight / weight.sum(), values


class Words:
    """A stream that gives the words it was told to give, then refuses."""

    def __init__(self, *words):
        self.left = list(words)

    def words(self, n):
        given_now, self.left = self.left[:n], self.left[n:]
        assert len(given_now) == n
        return np.array(given_now, dtype=np.uint64)


def exact(exponent, digits=120):
    """exp(-exponent) to ``digits`` digits, by another implementation; zero when it is below 10^-2000."""
    if exponent > 4700:
        return Fraction(0)
    with localcontext() as context:
        context.prec = digits
        return Fraction((-Decimal(exponent.numerator) / Decimal(exponent.denominator)).exp())


@given(st.fractions(0, 2000, max_denominator=10**9), st.integers(24, 200))
@settings(max_examples=60, deadline=None)
def test_bounds_of_an_exponential_hold_it_and_are_tight(exponent, bits):
    """The true value lies between the bounds, which are a few units of the last place apart."""
    low, high = exp_bounds(exponent, bits)
    assert low <= exact(exponent) * 2**bits <= high
    assert high - low <= 2


@pytest.mark.parametrize("scale", [0.001, 0.4, 3, 60.7])
def test_bounds_of_the_weights_hold_them_and_the_tail(scale):
    """Each weight lies between its bounds, and all weights not listed together below the tail's."""
    weights, tail = gaussian_weights(Fraction(scale), 128)
    for k in {0, len(weights) // 2, len(weights) - 1}:
        low, high = weights[k]
        assert low <= exact(k**2 / (2 * Fraction(scale) ** 2)) * 2**128 <= high
    beyond = sum(exact(k**2 / (2 * Fraction(scale) ** 2)) for k in range(len(weights), len(weights) + 300))
    assert beyond * 2**128 <= tail


@pytest.mark.parametrize("sigma", [0.3, 1.5, 40])
def test_every_border_between_values_is_right_to_its_last_bit(sigma):
    """All 64-bit words where one value ends and the next begins, recomputed with 120 digits."""
    inversion = _Inversion(Fraction(sigma), mirrored=False)
    weights = [int(exact(k**2 / (2 * Fraction(sigma) ** 2)) * 10**100) for k in range(int(20 * sigma) + 8)]
    total = weights[0] + 2 * sum(weights[1:])
    borders, below = [], 0
    for rank in range(len(inversion._cuts) - 1):
        below += weights[(rank + 1) // 2]
        borders.append((below << 64) // total)
    assert (below + weights[(len(borders) + 1) // 2] << 64) // total == ONES
    assert inversion._cuts.tolist() == [*borders, ONES]


@pytest.mark.parametrize("sigma", [0.3, 1.5, 40])
def test_a_word_that_a_border_splits_is_decided_by_the_words_after_it(sigma):
    """Just below and just above a border within one word: the neighbouring values, as exact arithmetic says."""
    inversion = _Inversion(Fraction(sigma), mirrored=False)
    order = [0, *(value for k in range(1, len(inversion._cuts)) for value in (-k, k))]
    cuts = inversion._cuts.tolist()
    # Far out two borders may share a word; the first dozen and some more do not.
    for rank in [*range(min(12, len(cuts) - 1)), *range(12, len(cuts) // 2, 40)]:
        cut = cuts[rank]
        index, rest = cut >> 48, cut << 16 & ONES
        for second, expected in ((0, order[rank]), (ONES, order[rank + 1])):
            # The bits of ``rest`` that the index has given already are dropped.
            stream = Words(index, rest, second)
            assert inversion.draw(1, stream).tolist() == [expected]
            assert not stream.left


def test_the_longest_draws_are_decided_too():
    """A number that agrees with a border for 64 bits more takes a third word, and a number near one the tail."""
    inversion = _Inversion(Fraction(1), mirrored=False)
    lows, highs = inversion._borders(128)
    assert lows[0] >> 64 == highs[0] >> 64
    agreeing = lows[0] & ONES
    for third, expected in ((0, 0), (ONES, -1)):
        stream = Words(int(inversion._cuts[0]) >> 48, int(inversion._cuts[0]) << 16 & ONES, agreeing, third)
        assert inversion.draw(1, stream).tolist() == [expected]
        assert not stream.left
    far = inversion.draw(1, Words((1 << 16) - 1, ONES, ONES, 0))[0]
    tails = [2 * sum(exact(Fraction(k * k, 2)) for k in range(start, start + 60)) for start in range(12, 18)]
    all_of_them = 1 + 2 * sum(exact(Fraction(k * k, 2)) for k in range(1, 60))
    inside = 12 + sum(tail / all_of_them > Fraction(1, 2**128) for tail in tails)
    assert abs(far) in {inside - 1, inside}


@cache
def _wide_samplers():
    return [DiscreteGaussian.from_system(sigma) for sigma in (256.0, 300.7, 1e5, 1e9)]


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_a_value_of_a_bin_is_kept_exactly_as_often_as_it_should(data):
    """Fast bounds, tighter bounds and exact arithmetic all agree with 120 digits, on either side of the border."""
    sampler = data.draw(st.sampled_from(_wide_samplers()))
    width = 1 << sampler._width_bits
    away, rest = data.draw(st.integers(0, 2000)), data.draw(st.integers(0, width - 1))
    left = data.draw(st.booleans())
    value = ~away * width + rest if left else away * width + rest
    chance = exact((value**2 - (away * width) ** 2) / (2 * Fraction(sampler.sigma) ** 2))
    coin = min(max(int(chance * 2**24) + data.draw(st.sampled_from([-1, 0, 0, 1, -5000, 5000])), 0), 2**24 - 1)
    more = data.draw(st.sampled_from([0, ONES, 1 << 63]))
    kept = Fraction(coin << 64 | more, 1 << 88) < chance
    sampler._bins = type("Bins", (), {"draw": lambda *_: np.array([~away if left else away])})()
    sampler._stream = Words(coin << 40 | rest, more)
    assert sampler._block(1).tolist() == ([value] if kept else [])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_values_have_the_exact_probabilities(sigma):
    """Chi-square against the probabilities: of each value, or of 400 runs of values, tails on their own."""
    count = 300_000
    drawn = DiscreteGaussian.from_system(sigma).draw(count)
    probability, values = mass(sigma)
    below = np.cumsum(probability)
    borders = np.unique(np.searchsorted(below, np.linspace(2e-5, 1 - 2e-5, 400)))
    expected = np.diff(np.concatenate([[0], below[borders], [1]])) * count
    observed = np.bincount(np.searchsorted(values[borders], drawn), minlength=len(borders) + 1)
    likely = expected > 4
    assert chisquare(observed[likely], expected[likely] * observed[likely].sum() / expected[likely].sum()).pvalue > 1e-6
    assert observed[~likely].sum() <= 60


@pytest.mark.parametrize("sigma", [0.5, 3, 300, 1e6])
def test_tails_are_as_heavy_as_they_should_be(sigma):
    """As many values beyond two, three and four sigma as the probabilities say: a shortened tail breaks the promise."""
    drawn = np.abs(DiscreteGaussian.from_system(sigma).draw(1_000_000))
    probability, values = mass(sigma, 10) if sigma < 1e5 else mass(1e4, 10)
    sizes = np.abs(values) * (1 if sigma < 1e5 else sigma / 1e4)
    for deviations in (2, 3, 4):
        tail = float(probability[sizes > deviations * sigma].sum())
        assert binomtest(int((drawn > deviations * sigma).sum()), len(drawn), tail).pvalue > 1e-6


@pytest.mark.parametrize("sigma", [0.4, 37.5, 1e6])
def test_opendp_draws_the_same_distribution(sigma):
    """Kolmogorov-Smirnov and, where values repeat, chi-square against OpenDP's exact sampler."""
    import opendp.prelude as dp

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    theirs = np.array(dp.m.make_gaussian(*space, scale=sigma)([0] * 8_000))
    ours = DiscreteGaussian.from_system(sigma).draw(80_000)
    assert ks_2samp(theirs, ours).pvalue > 1e-6
    if sigma < 50:
        reach = int(3 * sigma)
        counts = [np.bincount(np.clip(drawn, -reach, reach) + reach) for drawn in (theirs, ours)]
        assert chisquare(counts[0], counts[1] * (counts[0].sum() / counts[1].sum())).pvalue > 1e-6


@pytest.mark.parametrize("sigma", [1, 700])
def test_values_are_independent_of_their_neighbours(sigma):
    """Neither consecutive values nor those a block apart are correlated, in sign or in size."""
    drawn = DiscreteGaussian.from_system(sigma).draw(200_000)
    for lag in (1, 2, 4, 1 << 15):
        for view in (drawn, np.abs(drawn), drawn & 1):
            assert abs(np.corrcoef(view[:-lag], view[lag:])[0, 1]) < 0.015


@pytest.mark.parametrize("sigma", [0.001, 1, 256, 2.0**40])
@pytest.mark.parametrize("count", [0, 1, 7, 32_768, 100_001])
def test_any_number_of_values_is_given(sigma, count):
    """Any count is served, blocks or not, for the least and the largest scale."""
    drawn = DiscreteGaussian.from_system(sigma).draw(count)
    assert drawn.shape == (count,)
    assert drawn.dtype == np.int64
    assert np.abs(drawn).max(initial=0) <= 15 * sigma


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_draws_other_values():
    """After a fork neither side repeats what the other draws."""
    sampler = DiscreteGaussian.from_system(1e9)
    sampler.draw(10)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, sampler.draw(100).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = np.frombuffer(os.read(reader, 800), dtype=np.int64)
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 100
    assert not set(theirs.tolist()) & set(sampler.draw(100).tolist())


def test_two_samplers_never_agree_and_there_is_no_seed():
    """Two samplers and two draws of one share nothing; the public way to one takes its scale alone."""
    sampler = DiscreteGaussian.from_system(1e10)
    drawn = [sampler.draw(1000), sampler.draw(1000), DiscreteGaussian.from_system(1e10).draw(1000)]
    assert len(np.unique(np.concatenate(drawn))) > 2990
    assert list(inspect.signature(DiscreteGaussian.from_system).parameters) == ["sigma"]


def test_known_words_give_known_values():
    """Ten values recomputed from the keystream by bisection in the exact borders."""
    key = bytes(range(32))
    words = ChaChaStream(fixed_key_for_test_vectors=key).words(3).tolist()
    indices = [word >> 16 * place & 0xFFFF for word in words for place in range(4)][:10]
    cuts = _Inversion(Fraction(3), mirrored=False)._cuts.tolist()
    order = [0, *(value for k in range(1, 60) for value in (-k, k))]
    sure = {place: bisect_right(cuts, index << 48) for place, index in enumerate(indices)}
    sure = {place: rank for place, rank in sure.items() if bisect_right(cuts, (indices[place] + 1 << 48) - 1) == rank}
    drawn = DiscreteGaussian(3, ChaChaStream(fixed_key_for_test_vectors=key)).draw(10)
    assert len(sure) >= 9
    assert all(drawn[place] == order[rank] for place, rank in sure.items())


@pytest.mark.parametrize("sigma", [0, -1, 1e-4, 2.0**41, float("nan"), float("inf"), True, "wide", None])
def test_hostile_scales_are_refused(sigma):
    """A scale outside its range, or that is no number, is SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        DiscreteGaussian.from_system(sigma)
