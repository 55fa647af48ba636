"""From proposals to a vote: what can be a candidate, and the prompts of a round with those that were published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.wire.prompts import MAX_CANDIDATE_BYTES, PromptSet, folded, is_readable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from semfed_secure.wire.results import PromptResult


def can_be_candidate(text: str, *, beside: Collection[str] = ()) -> bool:
    """Whether ``text`` is short, readable, on one line with single spaces, and none of the labels ``beside`` it.

    Blanks are no difference to a model, which could not choose between two that differ in them alone.
    """
    plain = " ".join(text.split()) == text and is_readable(text) and len(text.encode()) <= MAX_CANDIDATE_BYTES
    return plain and folded(text) not in set(map(folded, beside))


def voting_set(asked: PromptSet, results: Sequence[PromptResult]) -> PromptSet:
    """The prompts that can be voted on: those with two candidates or more, first their own, then the proposed ones.

    It hangs on its arguments alone, so whoever holds the published results checks a round of votes by its digest.

    Args:
        asked: The prompts of the round of proposals.
        results: What it published, in their order.
    """
    pairs = zip(asked.prompts, results, strict=True)
    listed = [(prompt, asked.candidates_of(prompt) + result.candidates) for prompt, result in pairs]
    prompts = tuple(replace(prompt, candidates=candidates) for prompt, candidates in listed if len(candidates) > 1)
    return PromptSet(asked.name, prompts)
