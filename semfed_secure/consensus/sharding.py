"""A round in shards of prompts: each goes through the same functions as the whole round does.

Prompts are independent of each other but for the clients' weights, which need the answers to all of them. So a round
passes over its shards three times: who resembles whom; then, with the weights, the consensus; then each client's
influence, which is a sum over shards. No prompt's figures depend on what else is in its shard: the bytes are the same
whatever the size of the shards, and wherever and in whatever order they are worked on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import add
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from semfed_secure.consensus.influence import Influence, influences
from semfed_secure.consensus.outcome import ABSTAIN, Evidence, IntArray, Outcomes, join
from semfed_secure.consensus.text import TextAnswers, Vocabulary, text_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from semfed_secure.wire.messages import ConsensusRule

_Shard = TypeVar("_Shard")
_Result = TypeVar("_Result")


class Engine(Protocol):
    """Where shards are worked on."""

    def map(self, task: Callable[[_Shard], _Result], shards: Sequence[_Shard]) -> list[_Result]:
        """What ``task`` makes of each shard, in their order; ``task`` and shards can be pickled."""
        ...


class InTurn:
    """Works on one shard after another, here."""

    def map(self, task: Callable[[_Shard], _Result], shards: Sequence[_Shard]) -> list[_Result]:
        """What ``task`` makes of each shard, in their order."""
        return [task(shard) for shard in shards]


@dataclass(frozen=True, slots=True)
class ShardRunner:
    """Works on a round in shards; its results are those of the functions that each method names, byte for byte."""

    engine: Engine
    prompts_per_shard: int

    def text_answers(
        self, texts: Sequence[Sequence[str | None]], vocabulary: Vocabulary, *, prompt_ids: Sequence[str], nonce: bytes
    ) -> TextAnswers:
        """`semfed_secure.consensus.text_answers`."""
        place = {text: entry for entry, text in enumerate(vocabulary.texts)}
        shards = [_cut(texts, vocabulary, place, prompt_ids, nonce, part) for part in self._parts(len(prompt_ids))]
        parts = self.engine.map(_arrange, [shard for shard, _ in shards])
        return TextAnswers(
            answers=np.concatenate(
                [np.append(used, ABSTAIN)[part.answers] for part, (_, used) in zip(parts, shards, strict=True)], axis=1
            ),
            vocabulary=vocabulary,
            graphs=tuple(
                replace(graph, entries=tuple(used[list(graph.entries)].tolist()))
                for part, (_, used) in zip(parts, shards, strict=True)
                for graph in part.graphs
            ),
            vertices=np.concatenate([part.vertices for part in parts], axis=1),
        )

    def consensus(self, evidence: Evidence, weights: IntArray, *, rule: ConsensusRule) -> Outcomes:
        """`Evidence.consensus`."""
        parts = [evidence.part(part) for part in self._parts(evidence.answers.shape[1])]
        return join(self.engine.map(_Consensus(weights, rule), parts))

    def influences(
        self, evidence: Evidence, outcomes: Outcomes, weights_without: Sequence[IntArray], *, rule: ConsensusRule
    ) -> tuple[Influence, ...]:
        """`semfed_secure.consensus.influence.influences`."""
        parts = [(evidence.part(part), outcomes.part(part)) for part in self._parts(evidence.answers.shape[1])]
        first, *others = self.engine.map(_Influences(tuple(weights_without), rule), parts)
        for other in others:
            first = tuple(map(add, first, other))
        return first

    def _parts(self, prompts: int) -> list[slice]:
        starts = range(0, max(prompts, 1), self.prompts_per_shard)
        return [slice(start, start + self.prompts_per_shard) for start in starts]


HERE = ShardRunner(InTurn(), 64)
"""Works on a round in this process."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of some prompts, and no more of the vocabulary than they hold."""

    rows: tuple[tuple[str | None, ...], ...]
    vocabulary: Vocabulary
    prompt_ids: tuple[str, ...]
    nonce: bytes


@dataclass(frozen=True, slots=True)
class _Consensus:
    weights: IntArray
    rule: ConsensusRule

    def __call__(self, evidence: Evidence) -> Outcomes:
        return evidence.consensus(self.weights, rule=self.rule)


@dataclass(frozen=True, slots=True)
class _Influences:
    weights_without: tuple[IntArray, ...]
    rule: ConsensusRule

    def __call__(self, shard: tuple[Evidence, Outcomes]) -> tuple[Influence, ...]:
        return influences(*shard, self.weights_without, rule=self.rule)


def _cut(
    texts: Sequence[Sequence[str | None]],
    vocabulary: Vocabulary,
    place: dict[str, int],
    prompt_ids: Sequence[str],
    nonce: bytes,
    part: slice,
) -> tuple[_Texts, IntArray]:
    """A shard, and where the entries of its vocabulary stand in the whole one."""
    rows = tuple(tuple(row[part]) for row in texts)
    used = np.array(sorted({place[text] for row in rows for text in row if text is not None}), np.int64)
    here = replace(vocabulary, texts=tuple(vocabulary.texts[entry] for entry in used), vectors=vocabulary.vectors[used])
    return _Texts(rows, here, tuple(prompt_ids[part]), nonce), used


def _arrange(shard: _Texts) -> TextAnswers:
    evidence = text_answers(shard.rows, shard.vocabulary, prompt_ids=shard.prompt_ids, nonce=shard.nonce)
    return evidence.part(slice(None))  # the vocabulary need not come back
