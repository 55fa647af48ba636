"""From proposals to a vote: what can be a candidate, and the prompts of a round with those that were published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.wire.prompts import (
    MAX_CANDIDATE_BYTES,
    MAX_CANDIDATES,
    PROMPT_SET_LIMITS,
    PromptSet,
    folded,
    is_readable,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from semfed_secure.wire.results import PromptResult

_UNSEEN = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, *range(0xFE00, 0xFE10)))
) | frozenset(map(chr, (0xFFA0, *range(0xE0100, 0xE01F0))))
"""Letters and marks that Unicode calls printable, and that nobody sees: fillers, joiners, variation selectors."""
_FRAME_BYTES, _FRAME_ITEMS = 128, 16  # more than id, topic and keys of one prompt take


def can_be_candidate(text: str, *, beside: Collection[str] = ()) -> bool:
    """Whether ``text`` is short, readable, on one line with single spaces, and none of the labels ``beside`` it.

    Blanks are no difference to a model, which could not choose between two that differ in them alone.
    """
    plain = " ".join(text.split()) == text and is_readable(text) and not _UNSEEN & set(text)
    fits = plain and len(text.encode()) <= MAX_CANDIDATE_BYTES
    return fits and folded(text) not in set(map(folded, beside))


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


def can_be_voted_on(asked: PromptSet, most: int) -> bool:
    """Whether the wire carries the prompts with ``most`` proposed candidates each, however long these are.

    Asked before a round of proposals opens: else those that propose could make its vote impossible by long texts.
    """
    own = {
        labels: sum(len(label.encode()) + 3 for label in labels) for labels in map(asked.candidates_of, asked.prompts)
    }
    size = items = 0
    for prompt in asked.prompts:
        labels = asked.candidates_of(prompt)
        size += _FRAME_BYTES + len(prompt.text.encode()) + own[labels] + most * (MAX_CANDIDATE_BYTES + 3)
        items += _FRAME_ITEMS + len(labels) + most
    limits = PROMPT_SET_LIMITS
    longest = max(map(len, own), default=0) + most
    return longest <= MAX_CANDIDATES and size <= limits.max_bytes and items <= limits.max_items
