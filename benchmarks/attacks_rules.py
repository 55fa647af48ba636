"""The rules that the attack grid compares, on the same admitted answers, and the figures of one consensus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from attacks_strategies import WORDINGS

from semfed_secure.consensus import (
    Conduct,
    Status,
    Vocabulary,
    Votes,
    anchor_counts,
    client_weights,
    rules,
    text_answers,
    tie_seed,
)
from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM

if TYPE_CHECKING:
    from collections.abc import Callable

    from attacks_rounds import Held
    from attacks_seats import Questions
    from attacks_strategies import Answers, Scene, Vectors

    from semfed_secure.consensus import ClientWeights, Evidence, Past
    from semfed_secure.wire.messages import ConsensusRule

ABSTAINED = -1


def medoid(vectors: Vectors, _faults: int) -> Vectors:
    """The client nearest to all others together, by the sum of cosines."""
    usable = np.isfinite(vectors).all(axis=2)
    plain = np.where(usable[..., None], vectors, 0.0)
    plain = plain / np.maximum(np.linalg.norm(plain, axis=2, keepdims=True), 1e-12)
    total = np.where(usable, np.einsum("pcd,pd->pc", plain, plain.sum(axis=1)), -np.inf)
    return plain[np.arange(len(plain)), total.argmax(axis=1)]


RULES: dict[str, Callable[[Vectors, int], Vectors]] = {
    "mean": lambda vectors, _: rules.mean(vectors),
    "coordinate median": lambda vectors, _: rules.coordinate_median(vectors),
    "trimmed mean": lambda vectors, faults: rules.trimmed_mean(vectors, faults=faults),
    "Krum": lambda vectors, faults: rules.krum(vectors, faults=_fewer(vectors, faults)),
    "multi-Krum": lambda vectors, faults: rules.multi_krum(vectors, faults=_fewer(vectors, faults)),
    "geometric median": lambda vectors, _: rules.geometric_median(vectors),
    "NNM + geometric median": lambda vectors, faults: rules.nearest_neighbour_mixing(vectors, faults=faults),
    "medoid": medoid,
}
"""Each is told the true number of liars, or the most that it can stand among so many members."""


def _fewer(vectors: Vectors, faults: int) -> int:
    return min(faults, (vectors.shape[1] - 3) // 2)


def nearest(points: Vectors, places: Vectors) -> Answers:
    """Which of each prompt's places is nearest to its point, by cosine; none for a point that is no point."""
    near = np.einsum("pkd,pd->pk", places, points) / np.linalg.norm(places, axis=2)
    return np.where(np.isfinite(points).all(axis=1), near.argmax(axis=1), ABSTAINED)


def by_rule(name: str, answers: Answers, liars: int, places: Vectors, *, own: Vectors | None = None) -> Answers:
    """The meaning that a rule over vectors releases at each prompt.

    Args:
        name: Of the rule.
        answers: The admitted answers, ``(members, prompts)``.
        liars: How many of the members lie.
        places: Where each meaning lies, ``(prompts, meanings, dimensions)``.
        own: Where each member's answer lies, ``(prompts, members, dimensions)``: the rule sees these, and the answer
            nearest to its result is released. Absent where every answer lies where its meaning does.
    """
    meanings = answers.T // WORDINGS
    prompts = np.arange(len(meanings))
    faults = min(liars, (len(answers) - 1) // 2)
    if own is None:
        return nearest(RULES[name](places[prompts[:, None], meanings], faults), places)
    return meanings[prompts, nearest(RULES[name](own, faults), own)]


@dataclass(frozen=True, slots=True)
class Answered:
    """The admitted answers of one round as the server's evidence, and what it makes of the members.

    Attributes:
        evidence: The answers.
        weights: What every mode would weigh.
        meant: The meaning of the evidence's answer to a prompt.
    """

    evidence: Evidence
    weights: ClientWeights
    meant: Callable[[int, int], int]

    def released(self, rule: ConsensusRule) -> Answers:
        """The meaning that our consensus agrees on at each prompt."""
        weights = {
            "equal": np.full(len(self.weights.anchored_ppm), MAX_WEIGHT_PPM, np.int64),
            "agreement": self.weights.observed_ppm,
            "anchored": self.weights.anchored_ppm,
        }
        outcomes = self.evidence.consensus(weights[rule.weights], rule=rule)
        agreed = outcomes.status == Status.AGREED
        labels = enumerate(outcomes.label.tolist())
        return np.array([self.meant(prompt, label) if agreed[prompt] else ABSTAINED for prompt, label in labels])

    @property
    def conduct(self) -> dict[int, Conduct]:
        """What a later round remembers of each row."""
        anchors = self.weights.anchors
        assert anchors is not None
        columns = (self.weights.behaviour_ppm, anchors.right, anchors.seen)
        return {row: Conduct(*map(int, each)) for row, each in enumerate(zip(*columns, strict=True))}


def answered(
    held: Held, answers: Answers, scene: Scene, questions: Questions, rule: ConsensusRule, past: Past
) -> Answered:
    """The same evidence, gold and past that the server has."""
    assert held.consensus is not None
    seed = tie_seed(held.manifest.nonce, held.consensus.commitments_root)
    ids = tuple(prompt.id for prompt in questions.prompts.prompts)
    rows = [questions.written(row) for row in answers]
    right = questions.written(scene.truth * WORDINGS)
    evidence: Evidence
    if not questions.texts:
        counts = np.full(len(ids), len(questions.prompts.candidates), np.int64)
        evidence = Votes(np.array(rows, np.int64), counts, ids, seed)
        gold = {int(prompt): right[prompt] for prompt in scene.gold}
        meant = lambda _, vote: vote  # noqa: E731
    else:
        texts = tuple(sorted({text for row in rows for text in row} | {right[prompt] for prompt in scene.gold}))
        assert questions.embedder is not None
        vocabulary = Vocabulary(texts, questions.embedder.embed(texts), rule.similarity_ppm)
        evidence = text_answers(rows, vocabulary, prompt_ids=ids, nonce=seed)
        gold = {int(prompt): texts.index(right[prompt]) for prompt in scene.gold}
        meant = lambda prompt, entry: questions.meaning(prompt, texts[entry])  # noqa: E731
    weights = client_weights(evidence, mode=rule.weights, anchors=anchor_counts(evidence, gold), past=past)
    return Answered(evidence, weights, meant)


def published(held: Held, questions: Questions) -> Answers:
    """The meaning of each label that the server published and an honest site verified."""
    assert held.consensus is not None
    labels = [result.label for result in held.consensus.results[0]]
    return np.array([ABSTAINED if label is None else questions.meaning(n, label) for n, label in enumerate(labels)])


def figures(released: Answers, scene: Scene, lies: Answers) -> Answers:
    """Prompts, agreed ones, right ones among them, and wrong ones with an answer that a liar gave; gold apart."""
    counted = ~np.isin(np.arange(len(scene.truth)), scene.gold)
    agreed = counted & (released != ABSTAINED)
    right = agreed & (released == scene.truth)
    lied = agreed & ~right & (lies // WORDINGS == released).any(axis=0)
    return np.array([counted.sum(), agreed.sum(), right.sum(), lied.sum()])
