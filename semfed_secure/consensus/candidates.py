"""From proposals to candidates: for each prompt one text of each semantic group, in an order that tells of nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import ABSTAIN, PPM, IntArray, tie_key
from semfed_secure.consensus.text import text_consensus
from semfed_secure.wire.prompts import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from semfed_secure.consensus.text import Graph, TextAnswers
    from semfed_secure.wire.messages import ConsensusRule


def candidates(
    evidence: TextAnswers, weights: IntArray, *, rule: ConsensusRule, nonce: bytes, prompt_ids: Sequence[str]
) -> list[tuple[str, ...]]:
    """The released text of each prompt's heaviest groups; none where fewer than ``rule.min_clients`` answered.

    Permuting the clients changes nothing. Every candidate is a text that an answering client gave, and no two of one
    prompt are equal or neighbours. A group is listed if it is among the ``rule.max_candidates`` heaviest and has
    ``rule.min_support_ppm`` of the weight that answered; the list stands in the order of `tie_key`, not of weight.

    Args:
        evidence: The proposals as graphs.
        weights: Parts per million, ``(clients,)``.
        rule: The rule ``proposals``.
        nonce: What ties end by.
        prompt_ids: Identifier of each prompt.
    """
    alone = replace(rule, name="semantic_group", min_clients=1, min_support_ppm=0, min_margin_ppm=0)
    present = evidence.vertices >= 0
    total = weights @ present
    open_ = present.sum(axis=0) >= max(rule.min_clients, 1)
    chosen: list[list[int]] = [[] for _ in prompt_ids]
    rest = present & open_
    while rest.any():
        left = replace(
            evidence,
            answers=np.where(rest, evidence.answers, ABSTAIN),
            vertices=np.where(rest, evidence.vertices, ABSTAIN),
        )
        outcomes = text_consensus(left, weights, rule=alone)
        mass = weights @ outcomes.members
        enough = (mass > 0) & (mass * PPM >= rule.min_support_ppm * total)
        for prompt in np.flatnonzero(enough).tolist():
            graph = evidence.graphs[prompt]
            vertex = graph.entries.index(int(outcomes.label[prompt]))
            if not any(_same(evidence, graph, vertex, other) for other in chosen[prompt]):
                chosen[prompt].append(vertex)
        listing = np.array([len(one) < rule.max_candidates for one in chosen])
        rest &= ~outcomes.members & enough & listing  # what follows is no heavier than what was not enough
    lists = zip(prompt_ids, _texts(evidence, chosen), strict=True)
    return [in_order(texts, nonce=nonce, prompt_id=prompt_id) for prompt_id, texts in lists]


def in_order(texts: Iterable[str], *, nonce: bytes, prompt_id: str) -> tuple[str, ...]:
    """The candidates of a prompt by their `tie_key`: an order that tells nothing, and that every reader can check."""
    return tuple(sorted(texts, key=lambda text: tie_key(nonce, prompt_id, text.encode())))


def _same(evidence: TextAnswers, graph: Graph, one: int, other: int) -> bool:
    """Whether two vertices are neighbours, or a reader takes their texts for one."""
    if graph.neighbours[one] >> other & 1:
        return True
    texts = evidence.vocabulary.texts
    return folded(texts[graph.entries[one]]) == folded(texts[graph.entries[other]])


def _texts(evidence: TextAnswers, chosen: Sequence[Sequence[int]]) -> list[list[str]]:
    texts = evidence.vocabulary.texts
    return [
        [texts[graph.entries[vertex]] for vertex in vertices]
        for graph, vertices in zip(evidence.graphs, chosen, strict=True)
    ]
