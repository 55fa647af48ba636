"""From proposals to a vote: the prompts of one round with the candidates that another published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.wire.prompts import PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.wire.results import PromptResult


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
