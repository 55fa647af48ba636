"""Questions and right answers as lessons: closed ones fork by fork, open ones token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from semfed_secure.llm.reading import Reading
from semfed_secure.llm.split import States

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from semfed_secure.llm.questions import Wording
    from semfed_secure.llm.split import SplitModel

Row = tuple[str, str, int]
"""Prompt, right answer, owner."""
Read = Callable[[Reading], States]
OPEN_TOKENS = 24
"""Tokens of an open answer that are learnt; longer ones are cut."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """Questions of one shape with their right answers.

    A closed question is decided among the tokens ``among`` at its one active token; an open one is answered token by
    token over the whole vocabulary.

    Attributes:
        states: What the frozen layers leave of the questions (and, for open ones, of the answers).
        targets: Right tokens, int64 ``(questions, active)``; for closed questions positions in ``among``. -1 beyond.
        among: Tokens to choose from; None for open questions.
        owners: Whose question it is, int64 ``(questions,)``.
    """

    states: States
    targets: Tensor
    among: Tensor | None
    owners: Tensor

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.owners)

    def take(self, rows: Tensor) -> Lesson:
        """Some of the questions."""
        states = self.states.take(rows)
        return Lesson(states, self.targets[rows, : states.hidden.shape[1]], self.among, self.owners[rows])

    def pieces(self, split: SplitModel, rows: Tensor) -> Iterator[Lesson]:
        """``rows`` in pieces small enough for one pass."""
        choices = split.head.out_features if self.among is None else len(self.among)
        for run in self.states.runs(rows, floats=self.targets.shape[1] * choices) if len(rows) else ():
            yield self.take(run)

    def losses(self, split: SplitModel) -> Tensor:
        """One loss per question, ``(questions,)``: the mean over its own answer's tokens, never over a batch's."""
        hidden = split.top(self.states)
        counted = self.targets >= 0
        each = functional.cross_entropy(
            split.logits(hidden[counted], self.among), self.targets[counted], reduction="none"
        )
        sums = torch.zeros(len(self)).index_add(0, counted.nonzero()[:, 0], each)
        return sums / counted.sum(1)


def closed_lesson(wording: Wording, rows: Sequence[Row], candidates: Sequence[str], read: Read) -> list[Lesson]:
    """One lesson per fork of the candidates: which way the right answer goes there."""
    lessons = []
    for fork in wording.forks(candidates):
        branch = dict(zip(candidates, fork.branch, strict=True))
        passing = [row for row in rows if branch[row[1]] >= 0]
        if not passing:
            continue
        tokens = tuple((*wording.prompt(prompt), *fork.shared) for prompt, _, _ in passing)
        active = 1 + len(fork.shared)
        targets = torch.full((len(passing), active), -1)
        targets[:, -1] = torch.tensor([branch[answer] for _, answer, _ in passing])
        lessons.append(
            Lesson(
                states=read(Reading(tokens, (active,) * len(passing))),
                targets=targets,
                among=torch.tensor(fork.tokens),
                owners=torch.tensor([owner for _, _, owner in passing]),
            )
        )
    return lessons


def open_lesson(wording: Wording, rows: Sequence[Row], read: Read) -> Lesson:
    """The whole answer and its end, each token predicted from all before it."""
    tokens, active, answers = [], [], []
    for prompt, answer, _ in rows:
        right = [*wording.completion(answer)[:OPEN_TOKENS], wording.end]
        tokens.append((*wording.prompt(prompt), *right[:-1]))
        active.append(len(right))
        answers.append(right)
    targets = torch.full((len(rows), max(active)), -1)
    for place, right in enumerate(answers):
        targets[place, : len(right)] = torch.tensor(right)
    return Lesson(
        states=read(Reading(tuple(tokens), tuple(active))),
        targets=targets,
        among=None,
        owners=torch.tensor([owner for _, _, owner in rows]),
    )
