"""Texts as tokens, and choices among candidates as forks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.questions import Wording
from tests.llm import tiny

WORDING = Wording(tiny.tokenizer(), most=512)


def test_names_that_part_at_their_first_token_have_one_fork() -> None:
    """The usual case costs one look at the prompt."""
    (fork,) = WORDING.forks(["lung", "heart", "skin"])  # all begin with the token of a space
    assert list(fork.shared) == WORDING.completion("")
    assert sorted(fork.branch) == [0, 1, 2]


@given(st.lists(st.text("abc ", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=8, unique=True))
def test_forks_single_out_each_candidate(candidates: list[str]) -> None:
    """Following the branches of one candidate leads to it and to no other."""
    forks = WORDING.forks(candidates)
    paths = [
        tuple((fork.shared, fork.tokens[branch]) for fork in forks if (branch := fork.branch[c]) >= 0)
        for c in range(len(candidates))
    ]
    assert len(set(paths)) == len(candidates)
    for candidate, path in zip(candidates, paths, strict=True):
        row = (*WORDING.completion(candidate), WORDING.end)
        assert all(row[: len(shared) + 1] == (*shared, token) for shared, token in path)


@given(st.text(max_size=60), st.integers(1, 20))
def test_of_a_long_prompt_the_last_tokens_count(text: str, most: int) -> None:
    """Never more than ``most``, never none, and nothing changes for a prompt that fits."""
    whole = WORDING.prompt(text)
    assert Wording(tiny.tokenizer(), most=most).prompt(text) == whole[-most:]


def test_candidates_that_read_the_same_part_nowhere_and_are_named() -> None:
    """The others keep the forks that they would have without the second one."""
    assert WORDING.forks(["lung", " lung "]) == ()
    alone, doubled = (WORDING.forks(["lung", "heart", *more]) for more in ((), (" lung ",)))
    assert [(fork.shared, fork.tokens, fork.branch[:2]) for fork in doubled] == [
        (fork.shared, fork.tokens, fork.branch) for fork in alone
    ]
    assert {fork.branch[0] == fork.branch[2] for fork in doubled} == {True}
    assert WORDING.alike(["lung", "heart", " lung "]) == {0, 2}
    assert WORDING.alike(["lung", "heart"]) == frozenset()


def test_an_empty_prompt_has_a_token() -> None:
    """There is always one token to speak from."""
    assert WORDING.prompt("") == [WORDING.end]


@given(st.text(max_size=30))
def test_an_answer_reads_as_it_was_written(text: str) -> None:
    """Tokens of a completion give its text back."""
    assert WORDING.text(WORDING.completion(text)).strip() == text.strip()


def test_a_tokenizer_without_an_end_is_refused() -> None:
    """An answer could never end: SF131."""
    endless = tiny.tokenizer()
    endless.eos_token = None
    with pytest.raises(ConfigurationError) as caught:
        Wording(endless, most=9)
    assert caught.value.code == "SF131"
