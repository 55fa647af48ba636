"""Vectors, shares, shard votes: sensitivity is enforced where it is claimed, and shares cost what their sum costs."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, chisquare

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.accountant import ORDERS, gaussian_rdp
from semfed_secure.privacy.grid import UNITS
from semfed_secure.privacy.shards import ABSTAIN, MIN_SHARDS, count_shard_votes, release_shard_votes, shard_of
from semfed_secure.privacy.shares import noisy_share, share_sigma, sum_of_shares_rdp
from semfed_secure.privacy.vectors import on_grid, release_vectors


def test_every_vector_is_clipped_to_the_unit_ball():
    """Unit vectors stay what they are to a thousandth, longer ones are shortened, what is not finite is nothing."""
    rows = np.random.default_rng(0).normal(size=(40, 384))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    rows[1] *= 1000
    rows[2, 7], rows[3, 0] = np.nan, np.inf
    found = on_grid(rows.astype(np.float32))
    assert found.dtype == np.int64
    assert all(sum(int(value) ** 2 for value in row) <= UNITS**2 for row in found)
    assert not found[2:4].any()
    assert np.allclose(found[4:] / UNITS, rows[4:], atol=1e-3)


def test_vectors_carry_noise_relative_to_the_diameter():
    """The sum of squares is that of noise_multiplier times two, on every number."""
    noisy = release_vectors(np.zeros((50, 400), dtype=np.float32), noise_multiplier=3) / (3 * 2 * UNITS)
    low, high = chi2.ppf([1e-7, 1 - 1e-7], noisy.size)
    assert low < float(np.square(noisy).sum()) < high


@pytest.mark.parametrize("honest", [1, 4, 25])
def test_shares_of_the_honest_add_up_to_the_noise_that_is_charged(honest):
    """Their sum has at least the variance that the noise multiplier names."""
    zeros = np.zeros((4, 1000), dtype=np.float32)
    total = sum(noisy_share(zeros, noise_multiplier=2, honest=honest) for _ in range(honest)) / (2 * 2 * UNITS)
    low, high = chi2.ppf([1e-7, 1 - 1e-7], total.size)
    assert low < float(np.square(total).sum()) < high
    assert share_sigma(2, honest) ** 2 * honest >= (2 * 2 * UNITS) ** 2


@pytest.mark.parametrize(("sigma", "honest"), [(0.5, 2), (0.5, 5), (0.7, 3), (1.0, 2), (1.0, 8), (2.0, 4)])
@pytest.mark.parametrize("shift", [1, 2])
def test_a_sum_of_shares_never_costs_less_than_it_truly_does(sigma, honest, shift):
    """At every order, against the Renyi divergence of the convolved probabilities themselves."""
    values = np.arange(-60, 61)
    one = np.exp(-(values**2) / (2 * sigma**2))
    total = np.ones(1)
    for _ in range(honest):
        total = np.convolve(total, one / one.sum())
    claimed = sum_of_shares_rdp(sigma, honest, sensitivity=shift, dimension=1).values
    with np.errstate(divide="ignore"):
        here, there = np.log(total[shift:]), np.log(total[:-shift])
    heard = np.isfinite(here) & np.isfinite(there) & (here > -250) & (there > -250)
    for order, bound in zip(ORDERS[:20], claimed, strict=False):
        terms = order * here[heard] - (order - 1) * there[heard]
        assert np.logaddexp.reduce(terms) / (order - 1) <= bound + 1e-12


def test_shares_on_a_coarse_grid_cost_more_than_a_continuous_gaussian():
    """A sum of discrete Gaussians is accounted as what it is: at half a grid unit each, well above the Gaussian."""
    summed = sum_of_shares_rdp(0.5, 16, sensitivity=1, dimension=1).values
    continuous = gaussian_rdp(2.0).values
    assert all(ours > theirs for ours, theirs in zip(summed, continuous, strict=True))
    assert summed[ORDERS.index(8.0)] > 2 * continuous[ORDERS.index(8.0)]


@pytest.mark.parametrize(
    "call",
    [
        lambda: sum_of_shares_rdp(0.49, 4, sensitivity=1, dimension=1),
        lambda: sum_of_shares_rdp(1, 4, sensitivity=0, dimension=1),
        lambda: sum_of_shares_rdp(1, 4, sensitivity=math.nan, dimension=1),
        lambda: share_sigma(1, 0),
        lambda: share_sigma(math.nan, 2),
        lambda: release_vectors(np.zeros(3, dtype=np.float32), noise_multiplier=1),
        lambda: release_vectors(np.zeros((0, 3), dtype=np.float32), noise_multiplier=1),
        lambda: release_vectors(np.zeros((1, 3), dtype=np.float32), noise_multiplier=0),
        lambda: shard_of("a", MIN_SHARDS - 1),
        lambda: count_shard_votes(np.zeros((MIN_SHARDS - 1, 2), dtype=np.int64), 2),
        lambda: count_shard_votes(np.zeros((MIN_SHARDS, 2)), 2),
        lambda: count_shard_votes(np.zeros((MIN_SHARDS, 0), dtype=np.int64), 2),
        lambda: release_shard_votes(np.zeros((MIN_SHARDS, 2), dtype=np.int64), 2, sigma=0),
    ],
)
def test_hostile_parameters_are_refused(call):
    """No noise, nobody honest, too few shards, sensitivity zero, shapes without a vector: SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        call()


@pytest.mark.parametrize("vote", [-2, 3])
def test_a_vote_for_no_candidate_is_refused(vote):
    """A vote outside the candidates is SF105; negative ones do not wrap."""
    votes = np.zeros((MIN_SHARDS, 2), dtype=np.int64)
    votes[5, 1] = vote
    with pytest.raises(ConfigurationError, match="SF105"):
        count_shard_votes(votes, 3)


def test_one_shard_moves_one_vote_for_each_prompt_at_most():
    """Whatever one shard votes, each prompt's counts move by one up and one down at most, also when it abstains."""
    random = np.random.default_rng(3)
    votes = random.integers(ABSTAIN, 4, size=(MIN_SHARDS, 30))
    assert count_shard_votes(votes, 4).sum() == (votes != ABSTAIN).sum()
    for _ in range(20):
        changed = votes.copy()
        changed[7] = random.integers(ABSTAIN, 4, size=30)
        moved = count_shard_votes(changed, 4) - count_shard_votes(votes, 4)
        assert np.abs(moved).sum(1).max() <= 2
        assert np.square(moved).sum() <= 2 * 30


def test_an_entity_is_of_one_shard_and_shards_are_alike():
    """The shard follows from the id alone, and ids spread evenly; what names no entity is SF142."""
    found = [shard_of(f"patient-{number}", 64) for number in range(6400)]
    assert chisquare(np.bincount(found, minlength=64)).pvalue > 1e-6
    assert shard_of("patient-1", 64) == found[1]
    with pytest.raises(ConfigurationError, match="SF142"):
        shard_of(" ", 64)


def test_released_shard_votes_are_noisy_counts():
    """With noise far below the votes, every prompt's counts stand out."""
    votes = np.tile(np.arange(10) % 3, (100, 1))
    noisy = release_shard_votes(votes, 3, sigma=2)
    assert noisy.shape == (10, 3)
    assert (noisy.argmax(1) == np.arange(10) % 3).all()
