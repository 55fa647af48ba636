"""Client weights: bounded, label-free, and honest about collusion."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semfed_secure.consensus import anchor_counts, client_weights
from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, MIN_WEIGHT_PPM
from semfed_secure.consensus.weights import WeightMode, weights_in_force
from tests.consensus.evidence import planted, texts, votes

_ANSWERS = st.tuples(st.integers(1, 7), st.integers(1, 30)).flatmap(
    lambda size: hnp.arrays(np.int64, size, elements=st.integers(-1, 3))
)


@given(_ANSWERS)
def test_every_weight_is_bounded(answers: np.ndarray) -> None:
    """No behaviour takes more than half of a client's weight, and none adds any."""
    weights = client_weights(votes(answers), mode="agreement").weight_ppm
    assert ((weights >= MIN_WEIGHT_PPM) & (weights <= MAX_WEIGHT_PPM)).all()


@given(_ANSWERS, st.randoms(use_true_random=False))
def test_permuting_the_clients_permutes_the_weights(answers: np.ndarray, random: object) -> None:
    """A client's weight depends on what it says, not on its place."""
    order = list(range(len(answers)))
    random.shuffle(order)
    straight, shuffled = (client_weights(votes(rows), mode="agreement") for rows in (answers, answers[order]))
    assert straight.weight_ppm[order].tolist() == shuffled.weight_ppm.tolist()
    assert straight.collusion_ppm[order].tolist() == shuffled.collusion_ppm.tolist()


def test_an_outlier_loses_weight_and_the_honest_keep_theirs() -> None:
    """A client that answers at random ends at the floor."""
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 8, 300)
    honest = [np.where(generator.random(300) < 0.8, truth, generator.integers(0, 8, 300)) for _ in range(5)]
    weights = client_weights(votes([*honest, generator.integers(0, 8, 300)]), mode="agreement").weight_ppm
    assert weights[-1] == MIN_WEIGHT_PPM
    assert (weights[:5] > 900_000).all()


def test_equal_weights_only_observe() -> None:
    """Under ``equal`` everyone counts fully, and the weight that behaviour would earn is still reported."""
    answers = np.zeros((5, 100), np.int64)
    answers[4] = 1
    weights = client_weights(votes(answers), mode="equal")
    assert (weights.weight_ppm == MAX_WEIGHT_PPM).all()
    assert weights.observed_ppm.tolist() == [MAX_WEIGHT_PPM] * 4 + [MIN_WEIGHT_PPM]


def test_few_prompts_judge_nobody() -> None:
    """One disagreement on two prompts moves a weight only slightly."""
    weights = client_weights(votes([[0, 0], [0, 0], [0, 0], [0, 1]]), mode="agreement").weight_ppm
    assert weights.min() > 900_000


def test_of_two_clients_nobody_is_the_outlier() -> None:
    """Two clients that never agree keep their full weight."""
    assert client_weights(votes([[0] * 50, [1] * 50]), mode="agreement").weight_ppm.tolist() == [MAX_WEIGHT_PPM] * 2


def test_those_that_are_wrong_together_are_named_and_keep_half_of_their_weight() -> None:
    """Two that always give one wrong answer stand out, each with the other; independent clients do not."""
    weights = client_weights(planted(), mode="agreement")
    assert (weights.collusion_ppm[4:] > 400_000).all()
    assert weights.partner.tolist() == [-1] * 4 + [5, 4]
    assert weights.weight_ppm[4:].tolist() == [MIN_WEIGHT_PPM] * 2
    assert (weights.weight_ppm[:4] > 900_000).all()


def test_models_of_one_family_keep_their_voice() -> None:
    """Three of six make half of their errors alike, as sites with one base model do: that is no collusion."""
    generator = np.random.default_rng(4)
    truth, family = generator.integers(0, 10, 1000), generator.integers(1, 10, 1000)

    def site(alike: float) -> np.ndarray:
        error = np.where(generator.random(1000) < alike, family, generator.integers(1, 10, 1000))
        return np.where(generator.random(1000) < 0.55, truth, (truth + error) % 10)

    answers = [site(0.5) for _ in range(3)] + [site(0.0) for _ in range(3)]
    found = client_weights(votes(answers), mode="agreement")
    assert (found.behaviour_ppm > 880_000).all()
    copied = client_weights(votes([answers[0], *answers[:5]]), mode="agreement")
    assert copied.collusion_ppm[:2].min() > 900_000


def test_to_be_right_together_is_no_offence() -> None:
    """Two that are nearly always right agree more than any other pair, and keep their full weight."""
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 8, 400)
    rows = [
        np.where(generator.random(400) < share, truth, generator.integers(0, 8, 400)) for share in (1, 1, *[0.5] * 6)
    ]
    weights = client_weights(votes(np.stack(rows)), mode="agreement")
    assert not weights.collusion_ppm.any()
    assert weights.weight_ppm[:2].tolist() == [MAX_WEIGHT_PPM] * 2


def test_two_that_copy_each_other_are_found_by_their_errors() -> None:
    """A mimic shares its victim's errors as nobody else does; both are named, since nobody can say who copied."""
    generator = np.random.default_rng(4)
    truth = generator.integers(0, 8, 400)
    rows = [np.where(generator.random(400) < 0.7, truth, generator.integers(0, 8, 400)) for _ in range(7)]
    weights = client_weights(votes(np.stack([*rows, rows[0]])), mode="agreement")
    assert (weights.collusion_ppm > 0).tolist() == [True] + [False] * 6 + [True]


@given(_ANSWERS, st.sampled_from(["equal", "agreement", "anchored"]))
def test_the_weights_in_force_are_those_of_the_full_account(answers: np.ndarray, mode: WeightMode) -> None:
    """The short way, which influence takes for each client, gives the same integers."""
    evidence = votes(answers)
    anchors = anchor_counts(evidence, {0: 1})
    account = client_weights(evidence, mode=mode, anchors=anchors)
    in_force = weights_in_force(evidence, mode=mode, anchors=anchors, past=None)
    assert in_force.tolist() == account.weight_ppm.tolist()


def test_texts_are_weighed_by_meaning() -> None:
    """Two wordings of one answer agree; two that give one far answer are wrong together."""
    generator = np.random.default_rng(6)
    angle = {"aa": 0.0, "ab": 0.2, "ba": 1.4, "bb": 1.6}
    directions = {name: (np.cos(turn), np.sin(turn)) for name, turn in angle.items()}
    honest = [[("aa", "ab")[one] for one in generator.integers(0, 2, 60)] for _ in range(4)]
    far = [[("ba", "bb")[one] for one in generator.integers(0, 2, 60)] for _ in range(2)]
    weights = client_weights(texts([*honest, *far], directions), mode="agreement")
    assert weights.weight_ppm.tolist() == [MAX_WEIGHT_PPM] * 4 + [MIN_WEIGHT_PPM] * 2


def test_clients_without_a_common_prompt_are_typical() -> None:
    """Somebody who answered what nobody else did is not an outlier for it."""
    answers = np.full((4, 60), -1)
    answers[:3, :40] = 0
    answers[3, 40:] = 0
    assert client_weights(votes(answers), mode="agreement").weight_ppm.tolist() == [MAX_WEIGHT_PPM] * 4
