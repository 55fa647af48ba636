"""Semantic consensus: the invariants of the design, by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus import ABSTAIN, Outcomes, Status, Vocabulary, text_answers
from semfed_secure.consensus.geometry import cosines_ppm, median_distances, quantise
from tests.consensus.evidence import NONCE, equal, rule, texts

if TYPE_CHECKING:
    from semfed_secure.consensus.text import TextAnswers

# Twelve directions in the plane, 30 degrees apart: at a threshold of cos 45 degrees each neighbours the next only.
_CIRCLE = {f"text {chr(97 + step)}": (math.cos(step * math.pi / 6), math.sin(step * math.pi / 6)) for step in range(12)}
_TEXTS = [*_CIRCLE]
_ROWS = st.lists(st.lists(st.sampled_from([None, *_TEXTS]), min_size=2, max_size=2).map(tuple), min_size=1, max_size=8)


def _released(evidence: TextAnswers, outcomes: Outcomes) -> list[str | None]:
    return [None if label == ABSTAIN else evidence.vocabulary.texts[label] for label in outcomes.label]


def _decide(rows: list[tuple[str | None, ...]], **changes: object) -> tuple[list[str | None], Outcomes]:
    evidence = texts(rows, _CIRCLE)
    outcomes = evidence.consensus(equal(len(rows)), rule=rule(name="semantic_group", **changes))
    return _released(evidence, outcomes), outcomes


@given(_ROWS, st.randoms(use_true_random=False), st.sampled_from([0, 200_000, 400_000]))
def test_permutation_of_clients_changes_nothing(rows: list[tuple[str | None, ...]], random: object, trim: int) -> None:
    """Whoever comes first, the same text is released with the same figures."""
    shuffled = [*rows]
    random.shuffle(shuffled)
    (one, first), (other, second) = _decide(rows, trim_ppm=trim), _decide(shuffled, trim_ppm=trim)
    assert one == other
    for name in ("status", "support_ppm", "margin_ppm", "certified_tolerance"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


@given(_ROWS, st.data())
def test_an_honest_duplicate_never_lowers_its_group(rows: list[tuple[str | None, ...]], data: st.DataObject) -> None:
    """One more client that says what a winner says keeps it winning, with no less support."""
    client = data.draw(st.integers(0, len(rows) - 1))
    _, before = _decide(rows)
    _, after = _decide([*rows, rows[client]])
    wins = before.members[client]
    assert (after.members[client] >= wins).all()
    assert (after.support_ppm[wins] >= before.support_ppm[wins]).all()


@given(_ROWS, st.data())
def test_f_clients_cannot_change_a_winning_group_whose_margin_is_at_least_2f_plus_1(
    rows: list[tuple[str | None, ...]], data: st.DataObject
) -> None:
    """What is released after the lie is a neighbour of an honest member of the group that won before."""
    _, before = _decide(rows)
    liars = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    lie = st.tuples(*[st.sampled_from([None, *_TEXTS])] * 2)
    changed = [data.draw(lie) if client in liars else row for client, row in enumerate(rows)]
    evidence = texts(changed, _CIRCLE)
    after = evidence.consensus(equal(len(rows)), rule=rule(name="semantic_group"))
    for prompt in np.flatnonzero((before.certified_tolerance >= len(liars)) & (before.label >= 0)):
        honest = [
            evidence.answers[one, prompt] for one in np.flatnonzero(before.members[:, prompt]) if one not in liars
        ]
        assert any(evidence.same_meaning(int(after.label[prompt]), int(entry)) for entry in honest)


@given(_ROWS, st.integers(1, 9))
def test_fewer_than_min_clients_is_never_agreed(rows: list[tuple[str | None, ...]], least: int) -> None:
    """Too few answers carry no label."""
    released, outcomes = _decide(rows, min_clients=least)
    for prompt in range(2):
        if sum(row[prompt] is not None for row in rows) < least:
            assert outcomes.status[prompt] == Status.TOO_FEW
            assert released[prompt] is None


@given(_ROWS, st.sampled_from([0, 300_000]))
def test_no_output_is_sourced_from_an_abstained_client(rows: list[tuple[str | None, ...]], trim: int) -> None:
    """Each released text was given, for that prompt, by a client of the trimmed group."""
    released, outcomes = _decide(rows, trim_ppm=trim)
    for prompt, text in enumerate(released):
        core = [rows[one][prompt] for one in np.flatnonzero(outcomes.core[:, prompt])]
        assert text is None or text in core
    assert not (outcomes.core & ~outcomes.members).any()


def test_one_bridging_text_does_not_merge_groups() -> None:
    """A text between two camps stands with one of them: 30 degrees are near, 60 are not."""
    rows = [("text a",), ("text a",), ("text b",), ("text c",)]
    _, outcomes = _decide(rows)
    assert outcomes.members[:, 0].tolist() == [True, True, True, False]


def test_a_lone_outlier_is_never_released() -> None:
    """Four alike and one fluent stranger: the stranger is outside the group."""
    released, outcomes = _decide([("text a",), ("text b",), ("text a",), ("text b",), ("text g",)])
    assert released[0] in {"text a", "text b"}
    assert outcomes.members[:, 0].tolist() == [True] * 4 + [False]


def test_duplicated_poison_in_the_minority_loses_where_a_medoid_falls() -> None:
    """Four identical wrong texts against six honest ones that differ a little: the medoid is poison, we are not."""
    axes = np.eye(8)
    honest = {f"right {chr(97 + one)}": axes[0] + axes[one + 2] for one in range(6)}  # cosine 1/2 to each other
    directions = {**honest, "poison": axes[1]}
    rows = [(text,) for text in (*honest, *["poison"] * 4)]
    evidence = texts(rows, directions, similarity_ppm=400_000)
    everyone = cosines_ppm(quantise(np.array([directions[row[0]] for row in rows])))
    assert rows[int(everyone.sum(axis=1).argmax())] == ("poison",), "the asset must defeat a medoid"
    outcomes = evidence.consensus(equal(10), rule=rule(name="semantic_group", min_support_ppm=500_000))
    assert _released(evidence, outcomes)[0] in honest


def test_a_guard_splits_what_the_embedding_cannot_tell_apart() -> None:
    """Negated and honest texts with the same vector are two groups."""
    directions = {"pain": (1, 0), "the pain": (1, 0.01), "no pain": (1, 0)}
    evidence = texts([("pain",), ("the pain",), ("no pain",)], directions)
    outcomes = evidence.consensus(equal(3), rule=rule(name="semantic_group"))
    assert outcomes.members[:, 0].tolist() == [True, True, False]
    assert outcomes.support_ppm.tolist() == [666_666]


def test_trimming_drops_the_edge_of_the_group_first() -> None:
    """With a fifth trimmed, the member furthest from the middle of five cannot be released."""
    spread = {
        f"t{chr(97 + at)}": (math.cos(angle), math.sin(angle)) for at, angle in enumerate((0, 0.02, 0.04, 0.06, 0.7))
    }
    evidence = texts([(name,) for name in spread], spread)
    outcomes = evidence.consensus(equal(5), rule=rule(name="semantic_group", trim_ppm=200_000))
    assert outcomes.members[:, 0].all()
    assert outcomes.core[:, 0].tolist() == [True] * 4 + [False]


def test_the_released_text_is_nearest_to_the_weighted_geometric_median() -> None:
    """The text of the member with most of the weight is the median itself."""
    evidence = texts([("text a",), ("text b",), ("text a",)], _CIRCLE)
    assert _released(evidence, evidence.consensus(equal(3), rule=rule(name="semantic_group"))) == ["text a"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_vectors_that_are_no_directions_never_raise_and_resemble_nothing(bad: float) -> None:
    """NaN, infinity and zero stand alone; two honest clients still agree."""
    directions = {"good": (1.0, 0.0), "fine": (1.0, 0.1), "broken": (bad, bad)}
    evidence = texts([("good",), ("fine",), ("broken",)], directions)
    outcomes = evidence.consensus(equal(3), rule=rule(name="semantic_group"))
    assert outcomes.members[:, 0].tolist() == [True, True, False]


@given(st.floats(1e-30, 1e30), st.integers(0, 99))
def test_scaled_vectors_change_nothing(scale: float, seed: int) -> None:
    """Only directions count."""
    vectors = np.random.default_rng(seed).standard_normal((4, 16))
    assert np.abs(cosines_ppm(quantise(vectors * scale)) - cosines_ppm(quantise(vectors))).max() <= 60


def test_the_int16_path_is_byte_identical_on_every_machine() -> None:
    """Recorded cosines and median distances of vectors that need no random generator."""
    vectors = ((np.arange(6 * 384) * 2654435761 % 65521) - 32760).reshape(6, 384).astype(np.int16)
    cosine = cosines_ppm(vectors)
    distances = median_distances(cosine, np.array([1_000_000, 500_000, 750_000, 1_000_000, 640_001, 500_001]))
    assert cosine[0].tolist() == [1000000, -47527, -484623, -294991, 516040, 276246]
    assert distances.tolist() == [
        619360268023632634,
        1226388173676765716,
        1496329324863318996,
        1213418555854706462,
        781596270919688348,
        1001762415871223140,
    ]


def test_the_geometric_median_resists_a_distant_minority() -> None:
    """Two of five far away: the nearest to the median is one of the three that agree."""
    vectors = quantise(np.array([(1, 0), (1, 0.05), (1, -0.05), (-1, 3), (-1, 3.1)]))
    distances = median_distances(cosines_ppm(vectors), equal(5))
    assert int(distances.argmin()) < 3
    assert distances[:3].max() < distances[3:].min()


def test_a_round_where_everybody_abstains_agrees_on_nothing() -> None:
    """No answers, no vocabulary, no label."""
    vocabulary = Vocabulary((), np.zeros((0, 4), np.float32), 700_000)
    evidence = text_answers([[None], [None]], vocabulary, prompt_ids=["p"], nonce=NONCE)
    outcomes = evidence.consensus(equal(2), rule=rule(name="semantic_group"))
    assert (outcomes.status.tolist(), outcomes.label.tolist()) == ([Status.TOO_FEW], [ABSTAIN])
