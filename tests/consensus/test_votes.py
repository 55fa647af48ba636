"""Weighted plurality: the invariants of the design, by name."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semfed_secure.consensus import ABSTAIN, Outcomes, Status, vote_consensus
from semfed_secure.consensus.outcome import tie_key
from tests.consensus.evidence import NONCE, equal, rule, votes

_SHAPES = st.tuples(st.integers(0, 7), st.integers(0, 5))


def _ballots(shape: st.SearchStrategy[tuple[int, int]] = _SHAPES) -> st.SearchStrategy[np.ndarray]:
    return shape.flatmap(lambda size: hnp.arrays(np.int64, size, elements=st.integers(-1, 3)))


def _decide(answers: np.ndarray, **changes: object) -> Outcomes:
    return votes(answers.reshape(answers.shape), 4).consensus(equal(len(answers)), rule=rule(**changes))


def _same(first: Outcomes, second: Outcomes) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("status", "label", "support_ppm", "margin_ppm", "certified_tolerance")
    )


@given(_ballots(), st.randoms(use_true_random=False))
def test_permutation_of_clients_changes_nothing(answers: np.ndarray, random: object) -> None:
    """Whoever comes first, the result is the same, ties included."""
    order = list(range(len(answers)))
    random.shuffle(order)
    assert _same(_decide(answers), _decide(answers[order]))


@given(_ballots(st.tuples(st.integers(1, 7), st.integers(1, 5))), st.data())
def test_an_honest_duplicate_never_lowers_its_group(answers: np.ndarray, data: st.DataObject) -> None:
    """One more client that says the same as a winner neither dethrones it nor lowers its support."""
    client = data.draw(st.integers(0, len(answers) - 1))
    before, after = _decide(answers), _decide(np.vstack([answers, answers[client]]))
    wins = before.members[client]
    assert (after.members[client] >= wins).all()
    assert (after.support_ppm[wins] >= before.support_ppm[wins]).all()


@given(_ballots(st.tuples(st.integers(1, 7), st.integers(1, 4))), st.data())
def test_f_clients_cannot_change_a_winner_whose_margin_is_at_least_2f_plus_1(
    answers: np.ndarray, data: st.DataObject
) -> None:
    """However the liars vote or abstain, a winner inside its certified tolerance stays."""
    before = _decide(answers)
    liars = data.draw(st.sets(st.integers(0, len(answers) - 1)))
    changed = answers.copy()
    for liar in liars:
        changed[liar] = data.draw(hnp.arrays(np.int64, answers.shape[1], elements=st.integers(-1, 3)))
    after = _decide(changed)
    certified = (before.certified_tolerance >= len(liars)) & (before.label >= 0)
    assert (after.label[certified] == before.label[certified]).all()


@pytest.mark.parametrize(
    ("ahead", "behind", "tolerance"), [(1, 0, 0), (3, 0, 1), (5, 2, 1), (4, 1, 1), (7, 2, 2), (2, 2, 0)]
)
def test_the_certified_tolerance_is_half_the_margin_less_one(ahead: int, behind: int, tolerance: int) -> None:
    """f* = floor((margin - 1) / 2) votes at equal weights."""
    outcomes = _decide(np.array([[0]] * ahead + [[1]] * behind))
    assert outcomes.certified_tolerance.tolist() == [tolerance]


def test_the_tolerance_is_tight() -> None:
    """One liar more than certified can change a winner."""
    answers = np.array([[0]] * 4 + [[1]])
    assert _decide(answers).certified_tolerance.tolist() == [1]
    answers[:2] = 1
    assert _decide(answers).label.tolist() == [1]


@given(_ballots(), st.integers(1, 8))
def test_fewer_than_min_clients_is_never_agreed(answers: np.ndarray, least: int) -> None:
    """Too few answers carry no label, whatever they say."""
    outcomes = _decide(answers, min_clients=least)
    few = (answers >= 0).sum(axis=0) < least
    assert (outcomes.status[few] == Status.TOO_FEW).all()
    assert (outcomes.label[few] == ABSTAIN).all()


@given(_ballots())
def test_no_label_comes_from_an_abstained_client(answers: np.ndarray) -> None:
    """A label is always some client's vote, and an abstainer is in no group."""
    outcomes = _decide(answers)
    for prompt, label in enumerate(outcomes.label):
        assert label == ABSTAIN or label in answers[:, prompt]
    assert not (outcomes.members & (answers < 0)).any()


@given(_ballots(), st.data())
def test_it_is_plain_weighted_counting(answers: np.ndarray, data: st.DataObject) -> None:
    """A second implementation, with dictionaries, gives the same label, support and margin."""
    weights = np.array([data.draw(st.integers(500_000, 1_000_000)) for _ in answers], np.int64)
    outcomes = votes(answers, 4).consensus(weights, rule=rule())
    for prompt, column in enumerate(answers.T):
        counts: dict[int, int] = {}
        for vote, weight in zip(column.tolist(), weights.tolist(), strict=True):
            counts[vote] = counts.get(vote, 0) + weight
        counts.pop(-1, None)
        ranked = sorted(counts, key=lambda vote: (-counts[vote], tie_key(NONCE, f"p{prompt}", vote.to_bytes(8, "big"))))
        total, shares = sum(counts.values()), [counts[vote] for vote in ranked] + [0, 0]
        assert outcomes.label[prompt] == (ranked[0] if ranked else ABSTAIN)
        assert outcomes.support_ppm[prompt] == shares[0] * 1_000_000 // max(total, 1)
        assert outcomes.margin_ppm[prompt] == (shares[0] - shares[1]) * 1_000_000 // max(total, 1)


@pytest.mark.parametrize(("least", "status"), [(666_666, Status.AGREED), (666_667, Status.CONTESTED)])
def test_support_is_judged_one_below_and_one_above(least: int, status: Status) -> None:
    """Two of three are 666 666 ppm, rounded down."""
    assert _decide(np.array([[0], [0], [1]]), min_support_ppm=least).status.tolist() == [status]


@pytest.mark.parametrize(("least", "status"), [(333_333, Status.AGREED), (333_334, Status.CONTESTED)])
def test_margin_is_judged_one_below_and_one_above(least: int, status: Status) -> None:
    """Two against one of three lead by 333 333 ppm."""
    outcomes = _decide(np.array([[0], [0], [1]]), min_margin_ppm=least)
    assert outcomes.status.tolist() == [status]
    assert (outcomes.label[0] == ABSTAIN) == (status is not Status.AGREED)


def test_ties_end_by_hash_of_nonce_prompt_and_label_never_by_index() -> None:
    """Over many prompts either side of a tie wins about as often, each where its hash is the lower."""
    outcomes = _decide(np.array([[0] * 400, [1] * 400]))
    assert 120 < int(outcomes.label.sum()) < 280
    for prompt, label in enumerate(outcomes.label):
        keys = [tie_key(NONCE, f"p{prompt}", vote.to_bytes(8, "big")) for vote in (0, 1)]
        assert label == keys.index(min(keys))


def test_weights_count() -> None:
    """One full weight outvotes one half weight, and two halves against one full end in a tie."""
    evidence = votes([[0], [1]])
    outcomes = evidence.consensus(np.array([500_000, 1_000_000]), rule=rule())
    assert (outcomes.label.tolist(), outcomes.support_ppm.tolist()) == ([1], [666_666])


def test_votes_outside_their_candidates_count_as_abstention() -> None:
    """A wild index never raises and never wins."""
    outcomes = vote_consensus(
        np.array([[9, -5], [300, 1], [-32768, 1]], np.int16),
        equal(3),
        candidate_counts=np.array([2, 2]),
        rule=rule(),
        nonce=NONCE,
        prompt_ids=("a", "b"),
    )
    assert outcomes.label.tolist() == [ABSTAIN, 1]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_every_shard_size_gives_the_same_bytes(seed: int, cut: int) -> None:
    """Prompts are independent: two shards concatenated are the whole."""
    answers = np.random.default_rng(seed).integers(-1, 4, (9, 61))
    whole = votes(answers)
    left, right = (
        vote_consensus(
            answers[:, part],
            equal(9),
            candidate_counts=whole.candidate_counts[part],
            rule=rule(),
            nonce=NONCE,
            prompt_ids=whole.prompt_ids[part],
        )
        for part in (slice(0, cut), slice(cut, None))
    )
    assert whole.consensus(equal(9), rule=rule()).label.tolist() == [*left.label.tolist(), *right.label.tolist()]


def test_the_int16_path_is_byte_identical_on_every_machine() -> None:
    """A recorded digest over 3 000 prompts (three internal blocks) with ties, abstentions and uneven weights."""
    answers = (np.arange(7 * 3000).reshape(7, 3000) * 2654435761 >> 7) % 6 - 1
    weights = np.array([1_000_000, 500_000, 750_000, 1_000_000, 640_001, 999_999, 500_001])
    outcomes = votes(answers.astype(np.int16), 5).consensus(weights, rule=rule(min_support_ppm=300_000))
    columns = (outcomes.label, outcomes.support_ppm, outcomes.margin_ppm, outcomes.certified_tolerance)
    digest = hashlib.sha256(b"".join(column.astype("<i8").tobytes() for column in columns)).hexdigest()
    assert digest == "a6ae0de85688b498fe4b338cf39f5a37df58a000cbceebe6363c6559107688bb"
