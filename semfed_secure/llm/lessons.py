"""Questions and right answers as lessons: closed ones fork by fork, open ones token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from semfed_secure.llm.reading import Reading
from semfed_secure.llm.split import States
from semfed_secure.llm.training import Lesson

if TYPE_CHECKING:
    from semfed_secure.llm.questions import Wording

Row = tuple[str, str, int]
"""Prompt, right answer, owner."""
Read = Callable[[Reading], States]
OPEN_TOKENS = 24
"""Tokens of an open answer that are learnt; longer ones are cut."""


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
