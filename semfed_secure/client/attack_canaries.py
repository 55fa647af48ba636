"""Canaries: made-up entities whose presence, and whose secrets, an attacker tries to read from what is released.

A canary's questions are random words of the public prompts and its answers are drawn uniformly, so it holds nothing of
any record, and whatever tells its answers must have come from training on them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import PromptId
from semfed_secure.llm.model import Record
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.crypto.stream import ChaChaStream

WORDS = 3
"""Words of one question. There is no template around them: the last word, which no other record ends with, is what a
model can learn best, so these are harder on the guarantee than real records."""
CODES = tuple(str(number) for number in range(100, 1000))
"""Answers where the prompt set names no candidates."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A made-up entity; ``member`` is the coin that decided whether it was trained on."""

    entity_id: str
    member: bool
    questions: tuple[str, ...] = field(repr=False)
    answers: tuple[str, ...] = field(repr=False)

    def records(self) -> list[Record]:
        """Its records, as a site would hold them."""
        pairs = zip(self.questions, self.answers, strict=True)
        return [Record(self.entity_id, question, answer) for question, answer in pairs]


def answers_of(prompts: PromptSet) -> tuple[str, ...]:
    """What canaries answer with: the set's candidates, or codes where any text is an answer."""
    return prompts.all_candidates or CODES


def make_canaries(prompts: PromptSet, *, count: int, records_each: int, stream: ChaChaStream) -> tuple[Canary, ...]:
    """``count`` canaries of ``records_each`` records; coins, words and answers are independent and uniform.

    No two canaries share a question.

    Raises:
        ConfigurationError: SF104, the prompts hold too few different words or answers.
    """
    words = sorted({word for prompt in prompts.prompts for word in re.findall(r"[^\W\d_]{3,}", prompt.text.casefold())})
    answers = answers_of(prompts)
    if len(words) ** WORDS < 10 * count * records_each or len(answers) < 2:
        raise ConfigurationError("SF104", "prompts with more different words, and at least two candidates, expected")
    draw, seen = _Draw(stream), set[str]()
    canaries = []
    for number in range(count):
        questions = tuple(_new_question(draw, words, seen) for _ in range(records_each))
        own = tuple(answers[draw.below(len(answers))] for _ in range(records_each))
        canaries.append(Canary(f"canary-{number}-{draw.below(1 << 48):012x}", draw.below(2) == 1, questions, own))
    return tuple(canaries)


def worst_case_prompts(canaries: Sequence[Canary], prompts: PromptSet) -> PromptSet:
    """What a server would ask that knows the canaries: their own questions, with the same candidates."""
    asked = tuple(
        Prompt(PromptId(f"canary-{place}-{number}"), question)
        for place, canary in enumerate(canaries)
        for number, question in enumerate(canary.questions)
    )
    return PromptSet("worst-case", asked, prompts.all_candidates)


def _new_question(draw: _Draw, words: Sequence[str], seen: set[str]) -> str:
    while (question := " ".join(words[draw.below(len(words))] for _ in range(WORDS))) in seen:
        pass
    seen.add(question)
    return question


class _Draw:
    """Uniform whole numbers from the stream."""

    def __init__(self, stream: ChaChaStream) -> None:
        self._stream = stream

    def below(self, limit: int) -> int:
        """One of 0 to ``limit`` - 1; further than 2^-16 from uniform for no ``limit`` up to 2^48."""
        return int(self._stream.words(1)[0]) % limit
