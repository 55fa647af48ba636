"""Prompts and answers as tokens, and what a choice among candidates comes down to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Fork:
    """A place where candidates part: after ``shared`` tokens, each of ``tokens`` leads on to some of them.

    ``branch[c]`` is the position in ``tokens`` of candidate ``c``, or -1 where it does not pass this fork.
    """

    shared: tuple[int, ...]
    tokens: tuple[int, ...]
    branch: tuple[int, ...]


class Wording:
    """Turns texts into tokens, the same way for training and for answering.

    A completion follows its prompt after one space, and an open answer ends with the end-of-text token. Of a prompt
    longer than ``most`` tokens the last ones count, whatever stands before: one text cannot take all memory.
    """

    def __init__(self, tokenizer: Any, *, most: int) -> None:
        """Use a model's own tokenizer.

        Raises:
            ConfigurationError: SF131 if it names no end-of-text token.
        """
        if tokenizer.eos_token_id is None:
            raise ConfigurationError("SF131", "the tokenizer names no end-of-text token")
        self._tokenizer, self._most = tokenizer, most
        self.end: int = tokenizer.eos_token_id

    def prompt(self, text: str) -> list[int]:
        """The tokens of a prompt, with whatever the tokenizer opens a text with; at least one, at most ``most``."""
        tokens: list[int] = self._tokenizer(text).input_ids
        return tokens[-self._most :] or [self.end]

    def completion(self, text: str) -> list[int]:
        """The tokens of an answer after its prompt, without an end."""
        tokens: list[int] = self._tokenizer(" " + text.strip(), add_special_tokens=False).input_ids
        return tokens

    def text(self, tokens: Sequence[int]) -> str:
        """The text of an answer's tokens."""
        written: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return written

    def forks(self, candidates: Sequence[str]) -> tuple[Fork, ...]:
        """Every place where the candidates part, shortest first.

        The model's choice at each fork, one after another, singles out one candidate: its probability among the
        candidates is the product over the forks it passes. Names that part at their first token have one fork; those
        that are `alike` part nowhere.
        """
        rows = self._rows(candidates)
        heads = sorted({row[:depth] for row in rows for depth in range(len(row))}, key=lambda head: (len(head), head))
        found = []
        for head in heads:
            following = [row[len(head)] if row[: len(head)] == head and len(row) > len(head) else -1 for row in rows]
            tokens = tuple(sorted(set(following) - {-1}))
            if len(tokens) > 1:
                found.append(Fork(head, tokens, tuple(tokens.index(t) if t >= 0 else -1 for t in following)))
        return tuple(found)

    def alike(self, candidates: Sequence[str]) -> frozenset[int]:
        """Indexes of candidates whose tokens are those of another one, too."""
        rows = self._rows(candidates)
        times = Counter(rows)
        return frozenset(index for index, row in enumerate(rows) if times[row] > 1)

    def _rows(self, candidates: Sequence[str]) -> list[tuple[int, ...]]:
        # The end distinguishes a candidate that is the beginning of another.
        return [(*self.completion(candidate), self.end) for candidate in candidates]
