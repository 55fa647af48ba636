"""record_histogram: one entity moves one count by one, and the noise is the discrete Gaussian it claims to be."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy import histogram

SHAPE = (4, 3)
votes = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1)), max_size=40
)


@given(votes, st.sampled_from("abcdef"))
def test_neighbours_differ_in_exactly_one_cell_by_exactly_one(cast, leaver):
    """Removing one entity with all its votes lowers exactly one count by exactly one, or changes nothing."""
    base = [("x", 0, 0), ("y", 1, 1), *cast]
    without = [vote for vote in base if vote[0] != leaver]
    difference = histogram.count_votes(base, SHAPE) - histogram.count_votes(without, SHAPE)
    present = any(vote[0] == leaver for vote in base)
    assert difference.sum() == np.abs(difference).sum() == int(present)


@given(votes, st.randoms())
def test_one_entity_is_one_vote_whatever_it_casts_and_in_any_order(cast, random):
    """As many votes count as there are entities; the order of the votes does not matter."""
    base = [("x", 0, 0), ("y", 1, 1), *cast]
    counts = histogram.count_votes(base, SHAPE)
    assert counts.sum() == len({entity for entity, _, _ in base})
    random.shuffle(base)
    assert np.array_equal(counts, histogram.count_votes(base, SHAPE))


def test_several_votes_reduce_to_the_most_frequent_cell():
    """The documented rule, first part: an entity's most frequent cell counts."""
    counts = histogram.count_votes([("a", 3, 2), ("a", 1, 0), ("a", 3, 2), ("b", 0, 0)], SHAPE)
    assert counts[3, 2] == counts[0, 0] == 1
    assert counts.sum() == 2


def test_equal_votes_reduce_by_the_digest_and_spread():
    """The documented rule, second part: among equals the least digest; over many entities no cell is favoured."""
    cells = [(prompt, candidate) for prompt in range(4) for candidate in range(3)]
    counts = histogram.count_votes([(f"e{n}", *cell) for n in range(2400) for cell in cells], SHAPE)
    assert chisquare(counts.reshape(-1)).pvalue > 1e-6
    by_hand = min(cells, key=lambda cell: hashlib.sha256(f"{cell[0]},{cell[1]},e7".encode()).digest())
    alone = histogram.count_votes([*(("e7", *cell) for cell in cells), ("z", 0, 0), ("z", 0, 0)], SHAPE)
    alone[0, 0] -= 1
    assert alone[by_hand] == 1


@pytest.mark.parametrize("cast", [[], [("a", 0, 0)], [("a", 0, 0)] * 9, [("", 0, 0), ("b", 0, 0)], [(None, 0, 0)]])
def test_votes_without_entities_are_refused(cast):
    """No votes, one entity with all votes, and votes without an entity id are SF142."""
    with pytest.raises(ConfigurationError, match="SF142"):
        histogram.release_histogram(cast, SHAPE, sigma=1)


@pytest.mark.parametrize("cell", [(-1, 0), (0, -1), (4, 0), (0, 3)])
def test_a_vote_outside_the_histogram_is_refused(cell):
    """A vote for a prompt or candidate that does not exist is SF105; negative indices do not wrap."""
    with pytest.raises(ConfigurationError, match="SF105"):
        histogram.count_votes([("a", 0, 0), ("b", *cell)], SHAPE)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (-1, 3), (2001, 1000), (10**9, 10**9)])
def test_a_shape_without_cells_or_too_large_is_refused(shape):
    """Shapes outside 1..MAX_CELLS cells are SF141 before anything is allocated."""
    with pytest.raises(ConfigurationError, match="SF141"):
        histogram.count_votes([("a", 0, 0), ("b", 0, 0)], shape)


@pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf"), 1e-9])
def test_hostile_sigma_is_refused_before_votes_are_read(sigma):
    """No release with no noise: SF141, and the votes are not touched."""

    def untouched():
        raise AssertionError("votes were read")
        yield

    with pytest.raises(ConfigurationError, match="SF141"):
        histogram.release_histogram(untouched(), SHAPE, sigma=sigma)


@pytest.mark.parametrize("sigma", [0.7, 2.4])
def test_noise_is_discrete_gaussian(sigma):
    """Chi-square against the probability mass function, over cells empty and full alike."""
    counts = np.tile(np.array([0, 7], dtype=np.int64), (10_000, 1))
    noise = histogram.add_noise(counts, sigma=sigma) - counts
    reach = math.ceil(2.5 * sigma)
    values = np.arange(-reach, reach + 1)
    # Outermost values stand for the whole tail beyond them.
    wide = np.arange(-60, 61)
    mass = np.exp(-(wide**2) / (2 * sigma**2))
    mass /= mass.sum()
    expected = np.array([mass[np.clip(wide, -reach, reach) == value].sum() for value in values])
    for column in (noise[:, 0], noise[:, 1]):
        observed = np.array([(np.clip(column, -reach, reach) == value).sum() for value in values])
        assert chisquare(observed, expected * len(column)).pvalue > 1e-6


def test_two_releases_never_share_their_noise():
    """Noise is fresh for each release and each cell."""
    counts = np.zeros((50, 4), dtype=np.int64)
    one, two = (histogram.add_noise(counts, sigma=50) for _ in range(2))
    assert not np.array_equal(one, two)
    assert len({*one.reshape(-1).tolist()}) > 50


def test_a_release_is_noisy_counts_of_the_votes():
    """With noise far below the counts the release is the histogram, in the same shape."""
    cast = [(f"e{index}", index % 4, 1) for index in range(400)]
    released = histogram.release_histogram(cast, SHAPE, sigma=0.7)
    assert released.shape == SHAPE
    assert released.dtype == np.int64
    assert histogram.votes_from_counts(released, sigma=0.7) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([9, 0, 0], 0),
        ([0, 0, 0], -1),
        ([-9, -5, -9], -1),
        ([5, 5, 0], -1),
        ([0, 6, 5], -1),
        ([0, 3, 0], -1),
        ([0, 4, 0], 1),
        ([-4, -4, 4], 2),
    ],
)
def test_a_prompt_abstains_unless_its_winner_is_clear_of_the_noise(row, expected):
    """At sigma one the winner must reach 4 and lead by sqrt(2): ties, noise and emptiness abstain."""
    assert histogram.votes_from_counts(np.array([row]), sigma=1) == (expected,)


def test_a_lone_candidate_must_stand_out_too():
    """With a single candidate there is no second: it is compared with nobody's vote."""
    assert histogram.votes_from_counts(np.array([[2], [3]]), sigma=1) == (-1, 0)


@pytest.mark.parametrize(("sigma", "candidates"), [(0.3, 10), (0.69, 2), (0.69, 50), (1.27, 10), (4.5, 8), (40.0, 30)])
def test_a_prompt_that_nobody_voted_on_seldom_speaks(sigma, candidates):
    """Exactly computed: noise alone reaches the least count in at most one of a hundred prompts, and in nearly that."""
    values = np.arange(-1000, 1001)
    mass = np.exp(-(values**2) / (2 * sigma**2))
    tail = np.cumsum((mass / mass.sum())[::-1])[::-1]
    least = next(t for t in range(1, 1000) if histogram.votes_from_counts(_lone(t, candidates), sigma=sigma) == (0,))
    assert candidates * tail[values == least][0] <= histogram.FALSE_VOICE
    assert least == 1 or candidates * tail[values == least - 1][0] > histogram.FALSE_VOICE


def _lone(count, candidates):
    """One prompt where only the first candidate has a count, none has noise."""
    return np.array([[count] + [0] * (candidates - 1)])


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(-50, 50), min_size=3, max_size=3), min_size=1, max_size=20), st.floats(0.5, 20))
def test_a_vote_is_always_the_strict_maximum(rows, sigma):
    """Whatever the noise, a vote that is cast names the single highest count, at least one above zero."""
    for row, vote in zip(rows, histogram.votes_from_counts(np.array(rows), sigma=sigma), strict=True):
        if vote >= 0:
            assert row[vote] >= 1
            assert sorted(row)[-2] < row[vote]
