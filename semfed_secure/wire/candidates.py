"""From proposals to a vote: what can be a candidate, and the prompts of a round with those that were published."""

from __future__ import annotations

import re
import unicodedata
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
_LETTERS = re.compile(r"[^\W\d_]+")
_GREEK_AS_LATIN = frozenset(
    map(chr, (0x391, 0x392, *range(0x395, 0x398), 0x399, 0x39A, 0x39C, 0x39D, 0x39F, 0x3A1, 0x3A4, 0x3A5, 0x3A7))
) | frozenset(map(chr, (0x3B9, 0x3BD, 0x3BF, 0x3C5)))
"""Greek letters that look Latin: fourteen capitals, and the small iota, nu, omicron and upsilon."""
_FRAME_BYTES, _FRAME_ITEMS = 128, 16  # more than id, topic and keys of one prompt take


def can_be_candidate(text: str, *, beside: Collection[str] = ()) -> bool:
    """Whether ``text`` is short, readable, on one line with single spaces, and none of the labels ``beside`` it.

    Blanks are no difference to a model, which could not choose between two that differ in them alone. A word of two
    alphabets, such as a Latin one with a Cyrillic letter in it, is no candidate either.
    """
    plain = " ".join(text.split()) == text and is_readable(text) and not _UNSEEN & set(text)
    fits = plain and len(text.encode()) <= MAX_CANDIDATE_BYTES and not _mixes_alphabets(text)
    return fits and folded(text) not in set(map(folded, beside))


def _mixes_alphabets(text: str) -> bool:
    """Whether letters of two alphabets stand in one word, so that a reader may take it for another word.

    Alphabets are those with capitals, told by the names of their letters. Scripts without, such as Chinese or Arabic,
    stand beside any; so do Greek letters that do not look Latin, as a protein's alpha. A digit or hyphen ends a word.
    """
    if text.isascii():
        return False
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if unicodedata.category(char)[0] != "M")
    for word in _LETTERS.findall(plain):
        alphabets = {unicodedata.name(char).partition(" ")[0] for char in word if char.lower() != char.upper()}
        if not _GREEK_AS_LATIN & set(word):
            alphabets.discard("GREEK")
        if len(alphabets) > 1:
            return True
    return False


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
