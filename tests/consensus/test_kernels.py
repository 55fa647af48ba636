"""The compiled rules: the same as numpy, absent clients, ties and far outliers included."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from semfed_secure.consensus import blocks, rules
from tests.consensus import definitions

numba = pytest.importorskip("numba", reason="the extra `accel` is not installed")

COORDINATES = {
    "coordinate_median": rules.coordinate_median,
    "trimmed_mean": partial(rules.trimmed_mean, faults=2),
}
OTHERS = {
    "geometric_median": rules.geometric_median,
    "krum": partial(rules.krum, faults=2),
    "multi_krum": partial(rules.multi_krum, faults=2),
}


def vectors_for(clients: int, dimensions: int) -> np.ndarray:
    """Ordinary prompts, and prompts with absent clients, duplicates, outliers and zeros of both signs."""
    chance = np.random.default_rng(clients)
    vectors = chance.standard_normal((24, clients, dimensions)).astype(np.float32)
    vectors[1, 3, 0], vectors[2, 0, -1], vectors[3, 1] = np.nan, np.inf, 1e30
    vectors[4, 2:], vectors[5, ::2], vectors[6, 0] = vectors[4, :1], 0.0, 1e10
    vectors[7, :, 0] = np.where(np.arange(clients) % 2, 0.0, -0.0)
    vectors[8], vectors[9, 1:] = np.nan, np.nan
    vectors[10] = 1000 + vectors[10]
    return vectors


@pytest.mark.parametrize("name", COORDINATES)
@pytest.mark.parametrize("clients", [7, 8, 13, 20])
def test_compiled_coordinate_rules_give_the_same_bytes(name: str, clients: int) -> None:
    """The same arithmetic in the same order, for every number of clients that a sorting network must serve."""
    vectors = vectors_for(clients, 37)
    rule = COORDINATES[name]
    assert rule(vectors, compiled=True).tobytes() == rule(vectors).tobytes()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("clients", [7, 20])
def test_compiled_rules_agree_up_to_rounding(name: str, clients: int) -> None:
    """A hundred-thousandth of the vectors' size, and rows of NaN where numpy has them."""
    vectors = vectors_for(clients, 37)
    rule = OTHERS[name]
    size = np.nan_to_num(np.abs(np.where(np.abs(vectors) < 1e5, vectors, 0)).max(axis=(1, 2)))
    plain, compiled = rule(vectors), rule(vectors, compiled=True)
    assert (np.isnan(plain) == np.isnan(compiled)).all()
    assert (np.nan_to_num(np.abs(plain - compiled)).max(axis=1) <= 1e-5 * size).all()


@pytest.mark.parametrize("name", [*COORDINATES, *OTHERS])
def test_neither_blocks_nor_threads_show_in_compiled_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One prompt at a time or all at once, one thread or all: the same bytes."""
    vectors = vectors_for(8, 21)
    rule = (COORDINATES | OTHERS)[name]
    whole = rule(vectors, compiled=True)
    monkeypatch.setattr(blocks, "KERNEL_BYTES", 1)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    assert rule(vectors, compiled=True).tobytes() == whole.tobytes()
    monkeypatch.undo()
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert rule(vectors, compiled=True).tobytes() == whole.tobytes()
    finally:
        numba.set_num_threads(before)


def test_a_client_without_weight_does_not_change_what_its_neighbours_in_the_block_get() -> None:
    """Whether a prompt goes to the kernel depends on that prompt alone."""
    vectors = np.random.default_rng(0).standard_normal((4, 6, 9)).astype(np.float32)
    weights = np.ones((4, 6))
    weights[1, 2], weights[3] = 0, 0
    found = rules.geometric_median(vectors, weights, compiled=True)
    for prompt in range(4):
        alone = rules.geometric_median(vectors[prompt : prompt + 1], weights[prompt : prompt + 1], compiled=True)
        assert alone.tobytes() == found[prompt : prompt + 1].tobytes()
    assert np.isnan(found[3]).all()


@pytest.mark.parametrize("name", definitions.hard_sets())
def test_the_compiled_geometric_median_is_within_a_thousandth_of_the_least_sum_of_distances(name: str) -> None:
    """The bound that numpy's keeps, on the same hard sets."""
    rows, weights = definitions.hard_sets()[name]
    rows = rows.astype(np.float32)
    found = rules.geometric_median(rows[None], weights, compiled=True)[0]
    least = definitions.least_sum_of_distances(rows.astype(float), weights)
    assert definitions.sum_of_distances(rows.astype(float), weights, found.astype(float)) <= 1.001 * least


def test_compiled_liars_fewer_than_half_cannot_carry_the_geometric_median_away() -> None:
    """It stays within 2 (1 - a) / (1 - 2 a) radii of the honest clients, wherever the share `a` of liars is."""
    chance = np.random.default_rng(5)
    vectors = chance.standard_normal((200, 9, 3)).astype(np.float32)
    vectors[:, :4] = chance.standard_normal((200, 1, 3)) * 10.0 ** chance.integers(0, 15, (200, 1, 1))
    middle = vectors[:, 4:].mean(axis=1)
    radius = np.linalg.norm(vectors[:, 4:] - middle[:, None], axis=2).max(axis=1)
    found = rules.geometric_median(vectors, compiled=True)
    assert (np.linalg.norm(found - middle, axis=1) <= 1.01 * radius * 2 * (5 / 9) / (1 / 9)).all()
