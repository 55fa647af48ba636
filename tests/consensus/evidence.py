"""Small rules and evidence for the consensus tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.consensus import Vocabulary, Votes, text_answers
from semfed_secure.wire.messages import ConsensusRule

if TYPE_CHECKING:
    from semfed_secure.consensus.text import TextAnswers

NONCE = bytes(range(32))
PLURALITY = ConsensusRule(
    name="weighted_plurality",
    min_clients=1,
    min_support_ppm=0,
    min_margin_ppm=0,
    similarity_ppm=700_000,
    trim_ppm=0,
    weights="equal",
)


def rule(**changes: Any) -> ConsensusRule:
    """A rule that agrees on everything, but for ``changes``."""
    return replace(PLURALITY, **changes)


def votes(rows: Any, candidates: int = 8) -> Votes:
    """Vote evidence with the same number of candidates everywhere."""
    answers = np.array(rows, dtype=np.int64)
    prompts = answers.shape[1]
    return Votes(answers, np.full(prompts, candidates), tuple(f"p{index}" for index in range(prompts)), NONCE)


def texts(rows: Any, directions: dict[str, Any], similarity_ppm: int = 700_000) -> TextAnswers:
    """Text evidence from rows of texts and the vector of each text."""
    names = tuple(directions)
    vocabulary = Vocabulary(names, np.array([directions[name] for name in names], np.float32), similarity_ppm)
    return text_answers(rows, vocabulary, prompt_ids=[f"p{index}" for index in range(len(rows[0]))], nonce=NONCE)


def equal(clients: int) -> np.ndarray:
    """Full weight for everybody."""
    return np.full(clients, 1_000_000, np.int64)


def planted() -> Votes:
    """Six clients over 200 prompts: four mostly right and independent, two that always say the same wrong thing."""
    generator = np.random.default_rng(7)
    truth = generator.integers(0, 7, 200)
    honest = [np.where(generator.random(200) < 0.7, truth, generator.integers(0, 8, 200)) for _ in range(4)]
    wrong = (truth + 1) % 7
    return votes([*honest, wrong, wrong])
