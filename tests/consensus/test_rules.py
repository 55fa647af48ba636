"""The robust rules on arrays: their invariants, and their results against the definitions, prompt by prompt."""

from __future__ import annotations

import itertools
import sys
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.consensus import blocks, rules
from semfed_secure.errors import ConfigurationError
from tests.consensus import definitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.floating]
    Rule = Callable[[Array], Array]

EXACT: dict[str, Rule] = {
    "coordinate_median": rules.coordinate_median,
    "trimmed_mean": partial(rules.trimmed_mean, faults=1),
}
RULES: dict[str, Rule] = EXACT | {
    "mean": rules.mean,
    "geometric_median": rules.geometric_median,
    "krum": partial(rules.krum, faults=1),
    "multi_krum": partial(rules.multi_krum, faults=1),
    "nearest_neighbour_mixing": partial(rules.nearest_neighbour_mixing, faults=1),
    "mixing_then_trimmed_mean": partial(rules.nearest_neighbour_mixing, faults=1, then="trimmed_mean"),
    "mixing_then_krum": partial(rules.nearest_neighbour_mixing, faults=1, then="krum"),
    "centered_clipping": partial(rules.centered_clipping, radius=0.5),
    "spherical_median": rules.spherical_median,
}
WEIGHTED = {
    "mean": rules.mean,
    "geometric_median": rules.geometric_median,
    "centered_clipping": partial(rules.centered_clipping, radius=0.5),
    "spherical_median": rules.spherical_median,
}
STRANGE = [np.nan, np.inf, -np.inf, 1e25, -3e38]
SEEDS = st.integers(0, 2**32 - 1)
every_rule = pytest.mark.parametrize("name", RULES)


def some_vectors(seed: int, *, clients: int | None = None, kind: type = np.float32) -> Array:
    """Vectors as they come: spread out, in clusters, on a coarse grid with many equal ones, or far from the origin."""
    chance = np.random.default_rng(seed)
    shape = (int(chance.integers(1, 5)), clients or int(chance.integers(5, 10)), int(chance.integers(1, 7)))
    vectors = chance.standard_normal(shape)
    form = chance.integers(5)
    if form == 1:
        vectors = np.rint(vectors)
    elif form == 2:
        vectors[:, ::2] = vectors[:, :1]
    elif form == 3:
        vectors = vectors * 0.01 + chance.standard_normal((shape[0], 1, shape[2]))
    elif form == 4:
        vectors[:, 0] *= 10.0 ** float(chance.integers(1, 12))
    return vectors.astype(kind)


def spread(vectors: Array) -> Array:
    """Half of the clients lie within this of each other, per prompt."""
    apart = np.linalg.norm(vectors[:, :, None].astype(float) - vectors[:, None].astype(float), axis=-1)
    length = np.median(np.linalg.norm(vectors.astype(float), axis=-1), axis=1)
    return np.median(apart, axis=(1, 2)) + length


@every_rule
@given(SEEDS)
@settings(max_examples=20)
def test_permutation_of_clients_changes_nothing(name: str, seed: int) -> None:
    """Beyond rounding: a thousandth of the spread of the median client, and nothing at all coordinate by coordinate."""
    vectors = some_vectors(seed, kind=np.float64 if seed % 2 else np.float32)
    order = np.random.default_rng(seed).permutation(vectors.shape[1])
    straight, mixed = RULES[name](vectors), RULES[name](vectors[:, order])
    if name in EXACT:
        assert straight.tobytes() == mixed.tobytes()
    elif name != "spherical_median":  # directions all around have local medians that tie
        largest = np.abs(vectors).max(axis=(1, 2)) * 1e-6 if "mean" in name or "krum" in name else 0
        assert (np.linalg.norm(straight - mixed, axis=1) <= 1e-3 * spread(vectors) + largest).all()
    else:
        assert (np.isnan(straight) == np.isnan(mixed)).all()
        for rows, one, other in zip(vectors, straight, mixed, strict=True):
            ends = definitions.angles(rows, np.stack([one, other])) if np.isfinite(one).all() else np.zeros(2)
            assert ends[0] == pytest.approx(ends[1], rel=2e-3, abs=1e-6)


@given(SEEDS)
@settings(max_examples=20)
def test_directions_that_cancel_each_other_give_nan_and_never_a_zero(seed: int) -> None:
    """As many one way as the other, of any lengths: what rounding leaves of their sum is no direction."""
    chance = np.random.default_rng(seed)
    lengths = 10.0 ** chance.uniform(-2, 1, (4, 6, 1))
    way = chance.standard_normal((4, 1, 3))
    vectors = (lengths * np.array([1, 1, 1, -1, -1, -1])[:, None] * way)[..., : chance.integers(1, 4)]
    assert np.isnan(rules.spherical_median(vectors.astype(np.float64))).all()
    assert np.isnan(rules.spherical_median(vectors[..., :1].astype(np.float32))).all()


@every_rule
@given(SEEDS, st.lists(st.tuples(st.integers(0, 8), st.sampled_from(STRANGE)), min_size=1, max_size=4))
@settings(max_examples=20)
def test_clients_with_nan_inf_or_scaled_vectors_count_as_absent(
    name: str, seed: int, strange: list[tuple[int, float]]
) -> None:
    """The others' bytes are what they would be had those clients not answered; prompts beside them do not notice."""
    vectors = some_vectors(seed, clients=9)
    hit = sorted({client for client, _ in strange})
    hostile = vectors.copy()
    for client, value in strange:
        hostile[0, client, seed % vectors.shape[2]] = value
    found = RULES[name](hostile)
    assert found[:1].tobytes() == RULES[name](np.delete(vectors[:1], hit, axis=1)).tobytes()
    assert found[1:].tobytes() == RULES[name](vectors)[1:].tobytes()


@pytest.mark.parametrize("name", WEIGHTED)
@given(SEEDS)
@settings(max_examples=15)
def test_a_client_without_weight_is_absent_and_weights_have_no_unit(name: str, seed: int) -> None:
    """Weight 0 leaves the bytes of the others alone; twice all weights are the same; weights may vary by prompt."""
    vectors, rule = some_vectors(seed), WEIGHTED[name]
    prompts, clients = vectors.shape[:2]
    weights = np.random.default_rng(seed).integers(1, 4, clients).astype(float)
    weights[seed % clients] = 0
    kept = np.delete(np.arange(clients), seed % clients)
    found = rule(vectors, weights)
    assert found.tobytes() == rule(vectors[:, kept], weights[kept]).tobytes()
    assert found.tobytes() == rule(vectors, np.tile(2 * weights, (prompts, 1))).tobytes()


@pytest.mark.parametrize("name", WEIGHTED)
@given(SEEDS)
@settings(max_examples=15)
def test_a_duplicate_counts_as_weight(name: str, seed: int) -> None:
    """Two equal clients are one client of twice the weight, so no duplicate weakens what it repeats."""
    vectors = some_vectors(seed, kind=np.float64)
    double = np.concatenate([vectors, vectors[:, :1]], axis=1)
    weights = np.ones(vectors.shape[1])
    weights[0] = 2
    one, other = WEIGHTED[name](double), WEIGHTED[name](vectors, weights)
    for prompt, rows in enumerate(vectors):
        if name == "geometric_median":  # of an even number on a line, every point between the middle two is one
            ends = [definitions.sum_of_distances(rows, weights, point[prompt]) for point in (one, other)]
            assert ends[0] == pytest.approx(ends[1], rel=1e-3)
        else:
            np.testing.assert_allclose(one[prompt], other[prompt], rtol=1e-3, atol=1e-5 * np.abs(rows).max())


@every_rule
@given(st.data())
@settings(max_examples=20)
def test_no_numbers_raise(name: str, data: st.DataObject) -> None:
    """NaN, infinity, the largest and the smallest numbers, short and empty rows: always one row for each prompt."""
    shape = data.draw(st.tuples(st.integers(0, 3), st.integers(5, 7), st.integers(0, 3)))
    kind = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    numbers = st.floats(width=np.dtype(kind).itemsize * 8)
    size = int(np.prod(shape))
    values = data.draw(st.lists(numbers, min_size=size, max_size=size))
    found = RULES[name](np.array(values, kind).reshape(shape))
    assert found.shape == (shape[0], shape[2])


@every_rule
def test_too_few_clients_give_a_row_of_nan_and_nobody_else_notices(name: str) -> None:
    """A prompt that not enough clients answered has no result, not a wrong one."""
    vectors = np.random.default_rng(1).standard_normal((3, 6, 4))
    vectors[1] = np.nan
    found = RULES[name](vectors)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
    needed = {"trimmed_mean": 3, "krum": 5, "multi_krum": 5, "mixing_then_krum": 5}
    needed |= {"nearest_neighbour_mixing": 3, "mixing_then_trimmed_mean": 3}
    vectors[0, needed.get(name, 1) :], vectors[2, needed.get(name, 1) - 1 :] = np.nan, np.nan
    found = RULES[name](vectors)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[2]).all()


@given(SEEDS, st.integers(1, 4), st.sampled_from([1.0, 1e6, 1e18]))
def test_fewer_than_half_cannot_carry_a_coordinate_out_of_the_honest_range(seed: int, faults: int, size: float) -> None:
    """Median and trimmed mean of every coordinate stay between the honest clients' least and greatest value."""
    chance = np.random.default_rng(seed)
    vectors = chance.standard_normal((3, 2 * faults + 1 + int(chance.integers(3)), 4)).astype(np.float32)
    vectors[:, :faults] *= size
    honest = vectors[:, faults:]
    for found in (rules.coordinate_median(vectors), rules.trimmed_mean(vectors, faults=faults)):
        slack = 1e-6 * np.abs(honest).max()
        assert (found >= honest.min(axis=1) - slack).all()
        assert (found <= honest.max(axis=1) + slack).all()


@pytest.mark.parametrize("together", [False, True])
def test_fewer_than_half_cannot_carry_the_geometric_median_away(together: bool) -> None:
    """It stays within 2 (1 - a) / (1 - 2 a) radii of the honest clients, wherever the share `a` of liars is."""
    for seed, faults, extra in itertools.product(range(6), range(1, 5), range(1, 4)):
        chance = np.random.default_rng(seed)
        vectors = chance.standard_normal((8, 2 * faults + extra, 3)).astype(np.float32)
        away = chance.standard_normal((8, 1 if together else faults, 3))
        vectors[:, :faults] = away * 10.0 ** chance.integers(0, 15, (8, 1, 1))
        honest, share = vectors[:, faults:], faults / vectors.shape[1]
        middle = honest.mean(axis=1)
        radius = np.linalg.norm(honest - middle[:, None], axis=2).max(axis=1)
        found = rules.geometric_median(vectors)
        assert (np.linalg.norm(found - middle, axis=1) <= 1.01 * radius * 2 * (1 - share) / (1 - 2 * share)).all()


@every_rule
def test_the_size_of_the_blocks_shows_in_no_byte(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One prompt at a time, a few, all at once, or streamed: the same bytes, absent clients among them."""
    chance = np.random.default_rng(3)
    vectors = chance.standard_normal((23, 9, 40)).astype(np.float32)
    vectors[::3, 1, 5], vectors[4, :3], vectors[5, 2:] = np.nan, vectors[4, 3], vectors[5, 1]
    whole = RULES[name](vectors)
    streamed = np.concatenate(list(map(RULES[name], np.array_split(vectors, 5))))
    assert streamed.tobytes() == whole.tobytes()
    for size in (1, 3 * vectors[0].nbytes):
        monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
        assert RULES[name](vectors).tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", ["trimmed_mean", "geometric_median", "nearest_neighbour_mixing"])
def test_memory_does_not_grow_with_the_prompts(name: str) -> None:
    """200 clients, streamed in blocks: ten times the prompts peak no higher, and far below the input's size."""

    def peak(count: int) -> int:
        block = np.random.default_rng(0).standard_normal((10, 200, 64)).astype(np.float32)
        tracemalloc.start()
        for found in map(RULES[name], itertools.repeat(block, count)):
            assert np.isfinite(found).all()
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    few, many = peak(1), peak(10)
    assert many < 1.2 * few
    assert many < 96 << 20


@given(SEEDS)
@settings(max_examples=40)
def test_every_rule_gives_what_its_definition_says(seed: int) -> None:
    """Against one-prompt implementations written from the papers, in plain loops."""
    vectors = np.random.default_rng(seed).standard_normal((2, 5 + seed % 4, 3))
    faults = 1
    expected: dict[str, Callable[[Array], Array]] = {
        "mean": lambda rows: rows.sum(axis=0) / len(rows),
        "coordinate_median": definitions.coordinate_median,
        "trimmed_mean": partial(definitions.trimmed_mean, faults=faults),
        "krum": partial(definitions.krum, faults=faults, places=1),
        "multi_krum": lambda rows: definitions.krum(rows, faults=faults, places=len(rows) - faults),
        "mixing_then_trimmed_mean": lambda rows: definitions.trimmed_mean(
            definitions.mixtures(rows, faults=faults), faults=faults
        ),
        "centered_clipping": partial(definitions.centered_clipping, radius=0.5),
    }
    for name, definition in expected.items():
        for prompt, found in enumerate(RULES[name](vectors)):
            np.testing.assert_allclose(found, definition(vectors[prompt]), rtol=1e-9, atol=1e-9, err_msg=name)


HARD = definitions.hard_sets()


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_geometric_median_is_within_a_thousandth_of_the_least_sum_of_distances(name: str, kind: type) -> None:
    """On sets that make Weiszfeld's iteration stall: duplicates, medians at a client, lines, outliers, far clusters."""
    rows, weights = HARD[name]
    rows = rows.astype(kind)
    found = rules.geometric_median(rows[None], weights)[0]
    least = definitions.least_sum_of_distances(rows.astype(float), weights)
    rounding = 1e-14 * np.abs(rows).sum()
    assert definitions.sum_of_distances(rows.astype(float), weights, found.astype(float)) <= 1.001 * least + rounding


@given(SEEDS)
@settings(max_examples=20)
def test_the_geometric_median_is_that_close_on_any_set(seed: int) -> None:
    """The same on drawn sets, with drawn weights; mixtures of neighbours too."""
    vectors = some_vectors(seed)[:1]
    weights = np.random.default_rng(seed).integers(1, 4, vectors.shape[1]).astype(float)
    found = rules.geometric_median(vectors, weights)[0].astype(float)
    rows = vectors[0].astype(float)
    least = definitions.least_sum_of_distances(rows, weights)
    assert definitions.sum_of_distances(rows, weights, found) <= 1.001 * least + 1e-6 * weights.sum()
    mixed = np.array([definitions.mixtures(rows, faults=1)])
    composed = rules.nearest_neighbour_mixing(vectors.astype(float), faults=1)[0]
    ones = np.ones(len(rows))
    least = definitions.least_sum_of_distances(mixed[0], ones)
    assert definitions.sum_of_distances(mixed[0], ones, composed) <= 1.001 * least + 1e-5 * np.abs(rows).max()


def test_the_spherical_median_has_the_least_sum_of_angles_on_the_circle() -> None:
    """Against every direction of a fine grid, for directions inside a hemisphere, some equal to each other."""
    grid = np.linspace(0, 2 * np.pi, 7201)
    circle = np.stack([np.cos(grid), np.sin(grid)], axis=1)
    for seed in range(30):
        chance = np.random.default_rng(seed)
        bearing = chance.uniform(-1.4, 1.4, 5 + seed % 3)
        bearing[: seed % 3] = bearing[-1]
        rows = np.stack([np.cos(bearing), np.sin(bearing)], axis=1) * chance.uniform(0.1, 9, (len(bearing), 1))
        found = rules.spherical_median(rows[None])[0]
        assert np.linalg.norm(found) == pytest.approx(1)
        least = definitions.angles(rows, circle).min()
        assert definitions.angles(rows, found) <= 1.001 * least + 1e-3


def test_directions_that_cancel_have_no_median() -> None:
    """Neither of two opposite directions is preferred, nor one that nobody named."""
    assert np.isnan(rules.spherical_median(np.array([[[1.0, 0], [-1.0, 0]]]))).all()


def test_tied_scores_share_the_place() -> None:
    """Where two clients are each other's nearest, Krum is their mean, and not the one that came first."""
    pair = np.array([[[0.0, 0], [0, 1], [9, 9]]])
    assert rules.krum(pair, faults=0)[0] == pytest.approx([0, 0.5])


@pytest.mark.parametrize("faults", [-1, 3, 10**9, True, 1.0, None])
def test_an_impossible_number_of_liars_is_a_coded_error(faults: object) -> None:
    """Five clients cannot stand three liars, nor a negative or broken number of them."""
    vectors = np.zeros((2, 5, 3))
    composed = partial(rules.nearest_neighbour_mixing, then="mean")
    for rule in (rules.trimmed_mean, rules.krum, rules.multi_krum, rules.nearest_neighbour_mixing, composed):
        with pytest.raises(ConfigurationError, match="SF105"):
            rule(vectors, faults=faults)


def test_input_of_another_form_is_a_coded_error() -> None:
    """Shapes, texts, weights below zero, a radius of nothing, a rule that is none."""
    vectors = np.zeros((2, 5, 3))
    for call in (
        lambda: rules.mean(vectors[0]),
        lambda: rules.mean(np.array([[["a"]]])),
        lambda: rules.mean(vectors.astype(complex)),
        lambda: rules.mean(vectors, np.ones(4)),
        lambda: rules.mean(vectors, -np.ones(5)),
        lambda: rules.geometric_median(vectors, np.full((2, 5), np.nan)),
        lambda: rules.centered_clipping(vectors, radius=0.0),
        lambda: rules.centered_clipping(vectors, radius=np.nan),
        lambda: rules.nearest_neighbour_mixing(vectors, faults=1, then="medoid"),
    ):
        with pytest.raises(ConfigurationError, match="SF105"):
            call()


def test_without_the_extra_a_compiled_rule_is_a_coded_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no slower rule in its place: who asks for it is told what to install."""
    from semfed_secure import consensus

    monkeypatch.delattr(consensus, "kernels", raising=False)
    monkeypatch.delitem(sys.modules, "semfed_secure.consensus.kernels", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ConfigurationError, match="SF103"):
        rules.geometric_median(np.zeros((1, 3, 2)), compiled=True)
