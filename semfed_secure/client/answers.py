"""From a model to outputs: which candidate it prefers, what it writes, how often it is right."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.llm.model import TokenModel
from semfed_secure.wire.messages import ABSTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.client.records import LabelledPrompt
    from semfed_secure.llm.model import Model
    from semfed_secure.wire.prompts import PromptSet

EVALUATION_TOKENS = 16
"""Room for an open-ended answer when a model is scored."""


def vote_on(model: Model, prompts: PromptSet) -> tuple[int, ...]:
    """Index of the best-scored candidate per prompt, `ABSTAIN` where the model has no preference or no candidate.

    Ties go to the first candidate, so that the same scores always give the same votes. Where the model reads the best
    candidate and another one as the same, it abstains on that prompt, and votes on the others: two members that propose
    such texts take no more from a site than that.
    """
    choices = [prompts.candidates_of(prompt) for prompt in prompts.prompts]
    return best_candidates(model, [prompt.text for prompt in prompts.prompts], choices)


def best_candidates(model: Model, texts: Sequence[str], choices: Sequence[tuple[str, ...]]) -> tuple[int, ...]:
    """The same for any texts, each with its own candidates; texts that share candidates are scored together."""
    votes = [ABSTAIN] * len(texts)
    places_of: dict[tuple[str, ...], list[int]] = {}  # proposed candidates are other ones at every prompt
    for place, own in enumerate(choices):
        places_of.setdefault(own, []).append(place)
    for candidates, places in places_of.items():
        if not candidates:
            continue
        scores = np.asarray(model.score([texts[place] for place in places], candidates), dtype=np.float64)
        if scores.shape != (len(places), len(candidates)):
            raise ValueError(f"the model scored shape {scores.shape}, expected {(len(places), len(candidates))}")
        unclear = alike(model, candidates)
        for place, row in zip(places, scores, strict=True):
            best = _best(row)
            votes[place] = ABSTAIN if best in unclear else best
    return tuple(votes)


def alike(model: Model, candidates: Sequence[str]) -> frozenset[int]:
    """Indexes of the candidates that ``model`` reads as another one; none where it cannot say."""
    return model.alike(candidates) if isinstance(model, TokenModel) else frozenset()


def prompts_with_alike(model: Model, prompts: PromptSet) -> int:
    """On how many prompts some candidates read the same to ``model``.

    A number of the public prompts and the tokenizer alone: it may stand in a log, and tells of no record.
    """
    lists = Counter(prompts.candidates_of(prompt) for prompt in prompts.prompts)
    return sum(times for candidates, times in lists.items() if alike(model, candidates))


def write_on(model: Model, prompts: PromptSet, *, max_new_tokens: int) -> tuple[str | None, ...]:
    """One text per prompt; None where the model abstains or writes nothing but white space."""
    answers = model.answer([prompt.text for prompt in prompts.prompts], max_new_tokens=max_new_tokens)
    if len(answers) != len(prompts.prompts):
        raise ValueError(f"the model gave {len(answers)} answers, expected {len(prompts.prompts)}")
    return tuple(answer.strip() or None if answer is not None else None for answer in answers)


def answers_right(model: Model, labelled: Sequence[LabelledPrompt]) -> list[bool]:
    """For each labelled prompt whether the model gets it exactly right (candidates: best scored; else: same text).

    Text is compared without regard to case and surrounding white space.
    """
    right = [False] * len(labelled)
    closed = [place for place, row in enumerate(labelled) if row.candidates]
    rows = [labelled[place] for place in closed]
    chosen = best_candidates(model, [row.prompt for row in rows], [row.candidates for row in rows])
    for place, row, vote in zip(closed, rows, chosen, strict=True):
        right[place] = vote != ABSTAIN and row.candidates[vote] == row.answer
    free = [place for place, row in enumerate(labelled) if not row.candidates]
    asked = [labelled[place].prompt for place in free]
    written = model.answer(asked, max_new_tokens=EVALUATION_TOKENS) if free else []
    for place, text in zip(free, written, strict=True):
        right[place] = _same(text, labelled[place].answer)
    return right


def _same(text: str | None, answer: str) -> bool:
    return text is not None and text.strip().casefold() == answer.strip().casefold()


def _best(row: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> int:
    """First index of the greatest finite score."""
    finite = np.where(np.isfinite(row), row, -np.inf)
    return int(np.argmax(finite)) if np.isfinite(row).any() else ABSTAIN
