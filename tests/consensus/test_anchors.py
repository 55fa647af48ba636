"""Gold prompts: what is right, how far it weighs, and the cap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus import AnchorCounts, anchor_counts, client_weights, evaluate
from semfed_secure.consensus.anchors import anchored_weights, right_share
from semfed_secure.consensus.outcome import FLOOR_PPM, MAX_WEIGHT_PPM, PPM
from tests.consensus.evidence import rule, texts, votes

_COUNTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12)


def _counts(pairs: list[tuple[int, int]]) -> AnchorCounts:
    """Counts from pairs of right and wrong answers."""
    right, wrong = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    return AnchorCounts((), right, right + wrong)


def _weights(pairs: list[tuple[int, int]]) -> np.ndarray:
    answers = votes(np.zeros((len(pairs), 1), np.int64))
    return client_weights(answers, mode="anchored", anchors=_counts(pairs)).weight_ppm


@given(_COUNTS)
def test_every_anchored_weight_is_bounded_and_the_heaviest_is_full(pairs: list[tuple[int, int]]) -> None:
    """Weights lie between the floor and one, and somebody counts fully."""
    weights = _weights(pairs)
    assert weights.max() == MAX_WEIGHT_PPM
    assert (weights >= FLOOR_PPM).all()


@given(_COUNTS)
def test_nobody_has_more_than_a_third_or_of_few_clients_a_half(pairs: list[tuple[int, int]]) -> None:
    """The cap holds exactly, in integers; one or two clients count alike."""
    weights = _weights(pairs)
    if len(pairs) < 3:
        assert (weights == MAX_WEIGHT_PPM).all()
    else:
        assert weights.max() * (3 if len(pairs) >= 5 else 2) <= weights.sum()


@given(_COUNTS, st.randoms(use_true_random=False))
def test_permuting_the_clients_permutes_the_anchored_weights(pairs: list[tuple[int, int]], random: object) -> None:
    """A weight depends on what a client got right, not on its place."""
    order = list(range(len(pairs)))
    random.shuffle(order)
    assert _weights(pairs)[order].tolist() == _weights([pairs[place] for place in order]).tolist()


@given(_COUNTS)
def test_equal_gold_evidence_gives_equal_weights_and_more_right_answers_no_less(pairs: list[tuple[int, int]]) -> None:
    """Weights follow the shrunk shares: equal ones are equal, greater ones are not smaller."""
    counts, weights = _counts(pairs), _weights(pairs)
    share = right_share(counts.right * PPM, counts.seen * PPM)
    for one in range(len(pairs)):
        for other in range(len(pairs)):
            if pairs[one] == pairs[other]:
                assert weights[one] == weights[other]
            if share[one] >= share[other]:
                assert weights[one] >= weights[other]


@given(st.integers(1, 50), st.integers(0, 50))
def test_one_more_right_answer_never_lowers_a_share_and_few_answers_move_it_little(right: int, wrong: int) -> None:
    """The share of a client grows with what it got right, and lies between its own and the roster's."""
    others = np.array([30, 30, 30]) * PPM
    seen = np.full(4, 50 * PPM)
    seen[0] = (right + wrong) * PPM
    less, more = (right_share(np.concatenate([[(right - one) * PPM], others]), seen).tolist() for one in (1, 0))
    assert less[0] <= more[0]
    roster = (right + 90 + 1) * PPM // (right + wrong + 150 + 2)
    own = right * PPM // (right + wrong)
    assert min(own, roster) - 1 <= more[0] <= max(own, roster) + 1


def test_without_any_gold_answer_everybody_counts_fully() -> None:
    """No anchors, or anchors that everybody abstained on, say nothing about anybody."""
    answers = votes(np.zeros((5, 3), np.int64))
    assert client_weights(answers, mode="anchored").weight_ppm.tolist() == [MAX_WEIGHT_PPM] * 5
    assert _weights([(0, 0)] * 5).tolist() == [MAX_WEIGHT_PPM] * 5


def test_an_anchor_that_a_client_abstained_on_does_not_count() -> None:
    """Right and seen are of what was answered; other prompts are nobody's gold."""
    counts = anchor_counts(votes([[0, 1, 2], [0, -1, 1], [-1, -1, 0]]), {0: 0, 1: 1})
    assert counts.right.tolist() == [2, 1, 0]
    assert counts.seen.tolist() == [2, 1, 0]
    assert counts.prompts == (0, 1)


def test_a_text_is_right_where_it_means_the_same_as_the_gold_text() -> None:
    """A near text counts, a far one and one with another dose do not."""
    directions = {"give aspirin": (1, 0), "give 5 mg": (0.9, 0.1), "rest": (0, 1), "aspirin is given": (0.98, 0.1)}
    evidence = texts([("aspirin is given",), ("give 5 mg",), ("rest",), (None,)], directions)
    counts = anchor_counts(evidence, {0: evidence.vocabulary.texts.index("give aspirin")})
    assert counts.right.tolist() == [1, 0, 0, 0]
    assert counts.seen.tolist() == [1, 1, 1, 0]


def test_a_strong_client_is_not_drowned_by_a_weak_majority_with_the_same_errors() -> None:
    """One is right in nine of ten, four share their errors: gold prompts win prompts back, behaviour does not."""
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 7, 600)
    wrong = (truth + 1) % 8
    answers = np.stack([np.where(generator.random(600) < share, truth, wrong) for share in (0.9, 0.4, 0.4, 0.4, 0.4)])
    evidence = votes(answers)
    gold = {prompt: int(truth[prompt]) for prompt in range(50)}
    right = {}
    for mode in ("equal", "agreement", "anchored"):
        weights = client_weights(evidence, mode=mode, anchors=anchor_counts(evidence, gold)).weight_ppm
        outcomes = evidence.consensus(weights, rule=rule(weights=mode))
        right[mode] = int((outcomes.label[50:] == truth[50:]).sum())
    assert right["anchored"] >= right["equal"] + 50
    assert right["agreement"] <= right["equal"]


@pytest.mark.parametrize(("clients", "liars"), [(5, 2), (10, 4), (20, 9)])
def test_liars_that_always_give_one_wrong_answer_end_at_the_floor(clients: int, liars: int) -> None:
    """Fifty gold prompts put them to the floor, and the honest decide."""
    generator = np.random.default_rng(clients)
    truth = generator.integers(0, 7, 300)
    honest = [
        np.where(generator.random(300) < 0.75, truth, generator.integers(0, 8, 300)) for _ in range(clients - liars)
    ]
    evidence = votes([*honest, *[(truth + 1) % 8] * liars])
    counts = anchor_counts(evidence, {prompt: int(truth[prompt]) for prompt in range(50)})
    weights = client_weights(evidence, mode="anchored", anchors=counts).weight_ppm
    assert (weights[-liars:] <= 2 * FLOOR_PPM).all()
    outcomes = evidence.consensus(weights, rule=rule(weights="anchored"))
    assert (outcomes.label[50:] == truth[50:]).mean() > 0.85
    assert (outcomes.label[50:] == (truth[50:] + 1) % 8).mean() < 0.05


def test_anchored_weights_are_the_same_integers_everywhere() -> None:
    """Recorded once; any machine must give these."""
    weights, capped = anchored_weights(
        np.array([900_000, 900_000, 750_000, 600_000, 300_000, 50_000], np.int64), np.full(6, PPM)
    )
    assert weights.tolist() == [1_000_000, 1_000_000, 694_444, 444_444, 111_111, 20_000]
    assert capped.tolist() == [False] * 6
    weights, capped = anchored_weights(
        np.array([900_000, 100_000, 100_000, 100_000, 100_000], np.int64), np.full(5, PPM)
    )
    assert weights.tolist() == [1_000_000, 500_000, 500_000, 500_000, 500_000]  # 40 000 and 20 000, scaled
    assert capped.tolist() == [True, False, False, False, False]


def test_colluders_that_answer_gold_prompts_rightly_lose_half_of_their_weight() -> None:
    """Four of ten give one wrong answer to one prompt in five, which gold prompts alone see little of."""
    generator = np.random.default_rng(5)
    truth = generator.integers(0, 7, 600)
    rows = [np.where(generator.random(600) < 0.75, truth, generator.integers(0, 8, 600)) for _ in range(10)]
    together = np.arange(600) >= 480
    answers = np.stack([np.where(together & (client >= 6), (truth + 1) % 8, row) for client, row in enumerate(rows)])
    evidence = votes(answers)
    counts = anchor_counts(evidence, {prompt: int(truth[prompt]) for prompt in range(0, 600, 12)})
    weights = client_weights(evidence, mode="anchored", anchors=counts)
    label = evidence.consensus(weights.weight_ppm, rule=rule(weights="anchored")).label
    assert (label == truth)[together].mean() > 0.85
    blind, _ = anchored_weights(right_share(counts.right * PPM, counts.seen * PPM), np.full(10, PPM))
    assert (weights.weight_ppm[6:] * 10 <= blind[6:] * 6).all()


_ROUNDS = st.tuples(st.integers(3, 9), st.integers(4, 12)).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 2), min_size=size[1], max_size=size[1]), min_size=size[0], max_size=size[0]
    )
)


@given(_ROUNDS, st.data())
def test_certified_tolerance_holds_whatever_so_many_clients_answer_instead(rows: list[list[int]], data: object) -> None:
    """Under each mode, that many clients change what they will, and the winner stays; of a gold prompt it is 0."""
    answers, prompt = np.array(rows), len(rows[0]) - 1
    gold = dict.fromkeys(range(prompt), 0)
    mode = data.draw(st.sampled_from(["equal", "agreement", "anchored"]))

    def label_of(votes_of: np.ndarray) -> tuple[int, list[int]]:
        evidence = votes(votes_of, candidates=3)
        anchors = anchor_counts(evidence, gold)
        outcomes, _ = evaluate(evidence, rule(weights=mode), anchors=anchors)
        return int(outcomes.label[prompt]), outcomes.certified_tolerance.tolist()

    label, certified = label_of(answers)
    if mode == "anchored":
        assert not any(certified[:prompt])
    liars = data.draw(st.permutations(range(len(answers))))[: certified[prompt]]
    changed = answers.copy()
    for liar in liars:
        changed[liar, prompt] = data.draw(st.integers(-1, 2))
    assert label_of(changed)[0] == label
