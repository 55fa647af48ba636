"""Which text is released: complete linkage, guards, edge trimming and the geometric median, on random directions."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.consensus import ABSTAIN
from tests.consensus.evidence import equal, rule, texts

if TYPE_CHECKING:
    from semfed_secure.consensus.text import TextAnswers

DOSES = ("take 5 mg", "take 50 mg", "do not take 5 mg", "take 5 mg twice daily", "take 5 mg of it", "never take 5 mg")


def _answers(seed: int, names: list[str], spread: float, clients: int) -> TextAnswers:
    """Random answers whose vectors lie around one direction; the further, the larger ``spread``."""
    generator = np.random.default_rng(seed)
    middle = generator.standard_normal(12)
    directions = {name: middle + spread * generator.standard_normal(12) for name in names}
    return texts([(names[generator.integers(len(names))],) for _ in range(clients)], directions)


def _names(count: int) -> list[str]:
    return [f"text {chr(97 + place)}" for place in range(count)]


def _given(evidence: TextAnswers, chosen: np.ndarray) -> list[int]:
    return evidence.answers[np.flatnonzero(chosen[:, 0]), 0].tolist()


@given(st.integers(0, 9_999), st.sampled_from([0.3, 0.6, 1.0]))
def test_one_bridging_text_never_merges_groups_because_every_two_members_are_neighbours(
    seed: int, spread: float
) -> None:
    """Complete linkage: no chain of neighbours makes a group."""
    evidence = _answers(seed, _names(8), spread, 9)
    outcomes = evidence.consensus(equal(9), rule=rule(name="semantic_group"))
    for one, other in combinations(set(_given(evidence, outcomes.members)), 2):
        assert evidence.same_meaning(one, other)


@given(st.integers(0, 9_999))
def test_texts_whose_guards_disagree_never_stand_in_one_group(seed: int) -> None:
    """However near the embedder finds them."""
    evidence = _answers(seed, [*DOSES], 0.01, 9)
    outcomes = evidence.consensus(equal(9), rule=rule(name="semantic_group"))
    group = {evidence.vocabulary.texts[entry] for entry in _given(evidence, outcomes.members)}
    assert any(group <= alike for alike in (*({dose} for dose in DOSES), {DOSES[0], DOSES[4]}, {DOSES[2], DOSES[5]}))


@given(st.integers(0, 9_999), st.sampled_from([0, 200_000, 400_000]))
def test_no_more_than_the_trim_share_of_the_group_is_trimmed_and_only_from_its_edge(seed: int, trim: int) -> None:
    """What was trimmed lies no nearer to the group's geometric median than what was kept."""
    evidence = _answers(seed, _names(8), 0.3, 9)
    outcomes = evidence.consensus(equal(9), rule=rule(name="semantic_group", trim_ppm=trim))
    members, core = outcomes.members[:, 0], outcomes.core[:, 0]
    assert core.any()
    assert (members & ~core).sum() * 1_000_000 <= members.sum() * trim
    distance = _distances_to_median(evidence, members)
    assert distance[core].max() <= distance[members & ~core].min(initial=np.inf) + 1e-3


@settings(max_examples=60)
@given(st.integers(0, 9_999))
def test_the_released_text_is_nearest_to_the_weighted_geometric_median_of_the_trimmed_group(seed: int) -> None:
    """As found by Weiszfeld's iteration on the vectors themselves, weights and all."""
    evidence = _answers(seed, _names(8), 0.4, 9)
    weights = np.random.default_rng(seed).integers(500_000, 1_000_001, 9)
    outcomes = evidence.consensus(weights, rule=rule(name="semantic_group", trim_ppm=200_000))
    core = outcomes.core[:, 0]
    distance = _distances_to_median(evidence, core, weights)
    released = evidence.answers[:, 0] == outcomes.label[0]
    assert outcomes.label[0] != ABSTAIN
    assert distance[released & core].min() <= distance[core].min() + 1e-3


@given(st.integers(1, 4), st.integers(0, 99))
def test_duplicated_poison_in_the_minority_is_never_released(liars: int, seed: int) -> None:
    """Honest texts that differ a little, and fewer than half repeating one that is far: no medoid could say as much."""
    generator = np.random.default_rng(seed)
    middle = generator.standard_normal(40)
    honest = {name: middle + 0.5 * generator.standard_normal(40) for name in _names(liars + 1)}
    poison = generator.standard_normal(40)
    poison -= (poison @ middle) * middle / (middle @ middle)
    rows = [(name,) for name in (*honest, *["poison"] * liars)]
    evidence = texts(rows, honest | {"poison": poison}, similarity_ppm=500_000)
    outcomes = evidence.consensus(equal(len(rows)), rule=rule(name="semantic_group", min_support_ppm=500_001))
    label = int(outcomes.label[0])
    assert label == ABSTAIN or evidence.vocabulary.texts[label] in honest


def _distances_to_median(evidence: TextAnswers, chosen: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    vectors = np.array([evidence.vocabulary.vectors[entry] for entry in evidence.answers[:, 0]], dtype=float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weight = np.where(chosen, 1.0 if weights is None else weights, 0.0)
    point = weight @ vectors / weight.sum()
    for _ in range(200):
        pull = weight / np.maximum(np.linalg.norm(vectors - point, axis=1), 1e-3)
        point = pull @ vectors / pull.sum()
    distances: np.ndarray = np.linalg.norm(vectors - point, axis=1)
    return distances
