"""From a model's scores and texts to outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from semfed_secure.client.answers import answers_right, best_candidates, vote_on, write_on
from semfed_secure.client.records import LabelledPrompt
from semfed_secure.ids import PromptId
from semfed_secure.wire.messages import ABSTAIN
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PROMPTS = PromptSet(
    "p",
    (Prompt(PromptId("a"), "alpha"), Prompt(PromptId("b"), "beta", ("x", "beta", "y")), Prompt(PromptId("c"), "gamma")),
    ("gamma", "alpha"),
)


class Echo:
    """Prefers the candidate that equals the prompt, answers with the prompt in capitals."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        return [f" {prompt.upper()} " if prompt != "beta" else None for prompt in prompts]

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append((tuple(prompts), tuple(candidates)))
        return np.array([[0.0 if c == p else -1.0 for c in candidates] for p in prompts], dtype=np.float32)


class Rows(Echo):
    """Gives the same row of scores for every prompt."""

    def __init__(self, row: list[float]) -> None:
        super().__init__()
        self.row = row

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.row] * len(prompts), dtype=np.float32)


def test_votes_index_the_prompts_own_candidates() -> None:
    """Prompts with the same candidates are scored in one call; each vote stands at its prompt's place."""
    model = Echo()
    assert vote_on(model, PROMPTS) == (1, 1, 0)
    assert model.calls == [(("alpha", "gamma"), ("gamma", "alpha")), (("beta",), ("x", "beta", "y"))]


class _Counted(tuple[str, ...]):
    """Candidates that count how often they are compared."""

    __slots__ = ()
    compared = 0

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        _Counted.compared += 1
        return super().__eq__(other)


def test_prompts_with_candidates_of_their_own_are_not_compared_with_one_another() -> None:
    """As proposed candidates are: twice as many prompts take twice as long, not four times."""
    choices = [_Counted(("none of these", f"answer {n}")) for n in range(200)]
    assert set(best_candidates(Echo(), ["q"] * 200, choices)) == {0}
    assert _Counted.compared < 200


@pytest.mark.parametrize(
    ("row", "vote"),
    [
        ([0.0, 0.0], 0),
        ([-np.inf, -5.0], 1),
        ([np.nan, -5.0], 1),
        ([-np.inf, -np.inf], ABSTAIN),
        ([np.nan, np.inf], ABSTAIN),
    ],
)
def test_only_finite_scores_count(row: list[float], vote: int) -> None:
    """Ties go to the first candidate; a row without a finite score abstains."""
    assert best_candidates(Rows(row), ["q"], [("a", "b")]) == (vote,)


def test_a_prompt_without_candidates_is_no_vote() -> None:
    """Nothing to choose from: abstain."""
    assert best_candidates(Echo(), ["q"], [()]) == (ABSTAIN,)


def test_a_model_that_scores_another_shape_is_refused() -> None:
    """A wrong shape would put votes at wrong prompts."""
    with pytest.raises(ValueError, match="shape"):
        best_candidates(Rows([1.0]), ["q"], [("a", "b")])


def test_texts_are_stripped_and_abstentions_stay() -> None:
    """White space only is an abstention too."""
    assert write_on(Echo(), PROMPTS, max_new_tokens=4) == ("ALPHA", None, "GAMMA")


def test_right_answers_mix_closed_and_open_tasks() -> None:
    """Line by line, in the order of the set; text without regard to case."""
    rows = [
        LabelledPrompt("x", "x", ("x", "y")),
        LabelledPrompt("y", "x", ("x", "y")),
        LabelledPrompt("open", "Open"),
        LabelledPrompt("beta", "beta"),
    ]
    assert answers_right(Echo(), rows) == [True, False, True, False]
    assert answers_right(Echo(), []) == []
