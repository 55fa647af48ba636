"""Candidates of a round of proposals: whoever proposes, and however often, the list tells of nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.consensus import candidates
from semfed_secure.consensus.outcome import tie_key
from tests.consensus.evidence import NONCE, equal, rule, texts

TEXTS = tuple("abcdefgh")
proposals = st.lists(
    st.tuples(*[st.sampled_from((*TEXTS, None))] * 3), min_size=1, max_size=7
)  # one row for each client, three prompts
seeds = st.integers(0, 2**32 - 1)
APART = {text: np.eye(8)[place] for place, text in enumerate(TEXTS)}
"""Texts of which no two are alike."""


def near(seed: int) -> dict[str, Any]:
    """Texts of which some are alike."""
    generator = np.random.default_rng(seed)
    return {text: generator.standard_normal(3) for text in TEXTS}


def listed(rows: Any, directions: Any, weights: Any = None, **terms: Any) -> list[tuple[str, ...]]:
    """The candidates of these proposals."""
    found = rule(name="proposals", **{"max_candidates": 64, **terms})
    ids = [f"p{index}" for index in range(len(rows[0]))]
    evidence = texts(rows, directions)
    return candidates(
        evidence, equal(len(rows)) if weights is None else weights, rule=found, nonce=NONCE, prompt_ids=ids
    )


@settings(max_examples=60)
@given(proposals, seeds, st.randoms(use_true_random=False), st.integers(1, 8))
def test_permutation_of_the_clients_changes_no_candidate(rows: Any, seed: int, random: Any, most: int) -> None:
    """Also where the list is full."""
    places = list(range(len(rows)))
    random.shuffle(places)
    weights = np.random.default_rng(seed).integers(500_000, 1_000_000, len(rows))
    shuffled = listed([rows[place] for place in places], near(seed), weights[places], max_candidates=most)
    assert shuffled == listed(rows, near(seed), weights, max_candidates=most)


@settings(max_examples=60)
@given(proposals, seeds)
def test_every_candidate_was_proposed_and_every_proposal_is_like_one(rows: Any, seed: int) -> None:
    """No candidate from a client that abstained; nobody's meaning gets lost but where the list is full."""
    evidence = texts(rows, near(seed))
    for prompt, found in enumerate(listed(rows, near(seed))):
        given_ = {row[prompt] for row in rows if row[prompt] is not None}
        assert set(found) <= given_
        for text in given_:
            assert any(evidence.same_meaning(TEXTS.index(text), TEXTS.index(other)) for other in found)


@settings(max_examples=60)
@given(proposals, seeds)
def test_no_two_candidates_are_alike(rows: Any, seed: int) -> None:
    """Votes for one meaning are not split by who words it in another way."""
    evidence = texts(rows, near(seed))
    for found in listed(rows, near(seed)):
        for one in found:
            for other in set(found) - {one}:
                assert not evidence.same_meaning(TEXTS.index(one), TEXTS.index(other))


@given(proposals, st.data())
def test_a_duplicate_proposal_adds_no_candidate_and_moves_none(rows: Any, data: Any) -> None:
    """The list does not tell how many stand behind a text."""
    again = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    assert listed([*rows, *again], APART) == listed(rows, APART)


def test_the_order_is_that_of_the_tie_key() -> None:
    """Not of weight, of the alphabet, or of the clients."""
    rows = [(text,) for text in TEXTS] + [("h",)] * 5
    (found,) = listed(rows, APART)
    assert list(found) == sorted(TEXTS, key=lambda text: tie_key(NONCE, "p0", text.encode()))


@given(st.integers(1, 4), st.lists(st.sampled_from(TEXTS[1:]), max_size=7))
def test_liars_displace_no_group_that_outweighs_their_share_of_the_list(most: int, lies: list[str]) -> None:
    """A text that two honest clients propose is listed unless two liars stand behind every place of a full list."""
    rows = [("a",), ("a",), *((lie,) for lie in lies[: 2 * most - 1])]
    assert "a" in listed(rows, APART, max_candidates=most)[0]


def test_the_heaviest_groups_fill_a_short_list() -> None:
    """Weight decides which groups are listed, and nothing of it where."""
    rows = [("a",), ("b",), ("b",), ("c",), ("c",), ("c",)]
    assert set(listed(rows, APART, max_candidates=2)[0]) == {"b", "c"}
    assert set(listed(rows, APART, min_support_ppm=300_000)[0]) == {"b", "c"}
    assert listed(rows, APART, min_clients=7) == [()]


def test_two_that_a_reader_takes_for_one_are_one_candidate() -> None:
    """Whatever the embedder says of case and style."""
    directions = {"Flu": np.eye(2)[0], "flu": np.eye(2)[1]}
    assert len(listed([("Flu",), ("flu",)], directions)[0]) == 1


def test_nobody_is_listed_where_nobody_answered() -> None:
    """An empty list, beside others."""
    assert listed([(None, "a"), (None, "a")], APART) == [(), ("a",)]


def test_proposals_agree_on_nothing() -> None:
    """However many say the same: what is voted on is no label yet."""
    outcomes = texts([("a",)] * 5, APART).consensus(equal(5), rule=rule(name="proposals", max_candidates=8))
    assert (outcomes.status.tolist(), outcomes.label.tolist()) == ([1], [-1])
