"""What is asked in the attack grid, and how honest sites answer it: seeded, so that every run asks the same."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from attacks_seats import Questions
from attacks_strategies import WORDINGS, Duplicated, Mimic, Scene, VectorStrategy

from semfed_secure.ids import PromptId
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attacks_strategies import Answers, Strategy, Vectors

    from semfed_secure.ids import Digest
    from semfed_secure.server.embedder import Embedder

MEANINGS = 8
DIMENSIONS = 16
ALIKE = 0.45
"""Cosine of two candidates of one prompt, as real embedders see answers to one question."""
SAME = 0.72
"""Cosine of two honest vectors that mean the same, where vectors themselves are sent."""
GOLD_SHARE = 8
"""Of this many prompts, the server knows the answer of one; no figure counts those."""
ACCURACIES = {"even": (0.75, 0.75), "uneven": (0.5, 0.9)}
"""The weakest and the best honest site; the others stand evenly between them."""
NOTHING = "No statement can be made."


@dataclass(frozen=True, slots=True)
class Stage:
    """What is asked: the questions, and where each meaning lies, ``(prompts, meanings, dimensions)``."""

    questions: Questions
    vectors: Vectors

    def scene(self, members: int, liars: int, sites: str, seed: int, turn: int) -> tuple[Scene, Answers]:
        """One round, and who lies in it; the truth stays what it is from turn to turn."""
        prompts, meanings = self.vectors.shape[:2]
        still = np.random.default_rng([seed, members])
        truth = still.integers(0, meanings, prompts)
        target = (truth + still.integers(1, meanings, prompts)) % meanings
        accuracies = still.permutation(np.linspace(*ACCURACIES[sites], members))
        places = still.permutation(members)
        gold = np.sort(still.permutation(prompts)[: prompts // GOLD_SHARE])
        chance = np.random.default_rng([seed, members, 1 + turn])
        right = chance.random((members, prompts)) < accuracies[:, None]
        meant = np.where(right, truth, (truth + chance.integers(1, meanings, right.shape)) % meanings)
        answers = meant * WORDINGS + self._wording(chance, meant)
        lying, honest = np.sort(places[:liars]), np.sort(places[liars:])
        scene = Scene(
            truth=truth,
            target=target,
            honest=answers[honest],
            own=answers[lying],
            wordings=self.wordings,
            vectors=self.vectors,
            gold=gold,
            constant=meanings if self.questions.texts else 0,
            turn=turn,
            chance=np.random.default_rng([seed, members, 101 + turn]),
        )
        return scene, lying

    @property
    def wordings(self) -> Answers:
        """How many wordings each meaning has."""
        if not self.questions.texts:
            return np.ones(self.vectors.shape[:2], np.int64)
        return np.array([[len(texts) for texts in row[:-1]] for row in self.questions.texts])

    def _wording(self, chance: np.random.Generator, meant: Answers) -> Answers:
        """Half of the time the first wording, which is the title, else any other."""
        many = self.wordings[np.arange(meant.shape[1]), meant]
        other = 1 + chance.integers(0, np.maximum(many - 1, 1))
        return np.where((many == 1) | (chance.random(meant.shape) < 0.5), 0, other)


def votes(prompts: int) -> Stage:
    """Prompts with candidates in a synthetic space."""
    chance = np.random.default_rng(0)
    parts = np.linalg.qr(chance.standard_normal((prompts, DIMENSIONS, DIMENSIONS)))[0][:, : MEANINGS + 1]
    vectors = np.sqrt(ALIKE) * parts[:, :1] + np.sqrt(1 - ALIKE) * parts[:, 1:]
    candidates = tuple(f"answer {number}" for number in range(MEANINGS))
    return Stage(Questions(PromptSet("votes", _asked(prompts), candidates)), vectors.astype(np.float32))


def texts(prompts: int, embedder: Embedder, wordings: Sequence[tuple[str, Sequence[tuple[str, ...]]]]) -> Stage:
    """Prompts whose answers are texts: one right meaning and wrong ones of the same field.

    Args:
        prompts: How many.
        embedder: By which texts are compared.
        wordings: Fields, each with its meanings, each in some wordings, the usual one first.
    """
    chance = random.Random(0)
    asked = []
    while len(asked) < prompts:
        for _, meanings in wordings:
            drawn = chance.sample(meanings, MEANINGS)
            if len({text for meaning in drawn for text in meaning}) == sum(map(len, drawn)):
                asked.append((*drawn, (NOTHING,)))
    chance.shuffle(asked)
    del asked[prompts:]
    titles = embedder.embed([row[place][0] for row in asked for place in range(MEANINGS)])
    questions = Questions(PromptSet("texts", _asked(prompts)), tuple(asked), embedder)
    return Stage(questions, titles.reshape(prompts, MEANINGS, -1))


def codes() -> list[tuple[str, list[tuple[str, ...]]]]:
    """The chapters of ICD-10-CM, with every category that has a title and two other names or more."""
    import simple_icd_10_cm as icd  # noqa: PLC0415 - slow to load, and only texts need it

    chapters = defaultdict(list)
    for code in icd.get_all_codes():
        if not icd.is_chapter(code) and not icd.is_block(code):
            names = tuple(dict.fromkeys((icd.get_description(code), *icd.get_inclusion_term(code))))[:WORDINGS]
            if len(names) > 2:
                chapters[icd.get_ancestors(code)[-1]].append(names)
    return [(chapter, names) for chapter, names in chapters.items() if len(names) >= 2 * MEANINGS]


@dataclass
class Remembering:
    """An embedder that embeds each text once in its life."""

    inner: Embedder
    known: dict[str, Vectors] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The inner one's."""
        return self.inner.name

    @property
    def weights_digest(self) -> Digest:
        """The inner one's."""
        return self.inner.weights_digest

    @property
    def dimension(self) -> int:
        """The inner one's."""
        return self.inner.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row per text."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.inner.embed(new), strict=True))
        return np.stack([self.known[text] for text in texts])


def _asked(prompts: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(PromptId(f"p{number}"), f"What is case {number}?") for number in range(prompts))


def as_vectors(scene: Scene, strategy: Strategy, chance: np.random.Generator) -> tuple[Vectors, Answers]:
    """What members would send if vectors were taken, ``(prompts, members, dimensions)``, and the liars' answers."""
    prompts = np.arange(len(scene.truth))
    honest = _noisy(scene.vectors[prompts[:, None], scene.honest.T // WORDINGS], chance)
    lies = strategy.answers(scene)
    if isinstance(strategy, VectorStrategy):
        one = strategy.vectors(honest, scene.vectors[prompts, scene.target])
        sent = np.repeat(one[:, None], len(lies), axis=1)
    elif isinstance(strategy, Mimic):
        same = (scene.honest == lies[0]).all(axis=1).argmax()
        sent = np.repeat(honest[:, [same]], len(lies), axis=1)
    else:
        sent = _noisy(scene.vectors[prompts[:, None], lies.T // WORDINGS], chance)
        if isinstance(strategy, Duplicated):
            sent = np.repeat(sent[:, :1], len(lies), axis=1)
    return np.concatenate([honest, sent], axis=1).astype(np.float32), lies


def _noisy(vectors: Vectors, chance: np.random.Generator) -> Vectors:
    noise = chance.standard_normal(vectors.shape)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    return np.sqrt(SAME) * vectors + np.sqrt(1 - SAME) * noise
