"""Shards: the same bytes whatever their size."""

from __future__ import annotations

import math
import pickle
from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus import Evidence, Vocabulary, evaluate, text_answers
from semfed_secure.consensus.influence import influences
from semfed_secure.consensus.sharding import InTurn, ShardRunner
from tests.consensus.evidence import NONCE, equal, rule, votes

_CIRCLE = {f"text {chr(97 + step)}": (math.cos(step * math.pi / 6), math.sin(step * math.pi / 6)) for step in range(12)}
_ROWS = st.lists(st.tuples(*[st.sampled_from([None, *_CIRCLE])] * 5), min_size=2, max_size=6)
_IDS = [f"p{index}" for index in range(5)]


class _Pickling(InTurn):
    """What another process would get, and what would come back from it."""

    def map(self, task, shards):
        task, shards = pickle.loads(pickle.dumps((task, shards)))
        return pickle.loads(pickle.dumps(super().map(task, shards)))


def _same(one: object, other: object) -> bool:
    return all(
        np.asarray(getattr(one, field.name)).tobytes() == np.asarray(getattr(other, field.name)).tobytes()
        for field in fields(one)
    )


def _is_that_of_the_whole(runner: ShardRunner, evidence: Evidence, terms: object) -> None:
    outcomes, weights = evaluate(evidence, terms)
    assert _same(runner.consensus(evidence, weights.weight_ppm, rule=terms), outcomes)
    without = [equal(len(evidence.answers) - 1)] * len(evidence.answers)
    expected = influences(evidence, outcomes, without, rule=terms)
    assert runner.influences(evidence, outcomes, without, rule=terms) == expected


@given(_ROWS, st.integers(1, 6))
def test_texts_in_shards_of_any_size_are_the_round_itself(rows: list[tuple[str | None, ...]], size: int) -> None:
    """Graphs, consensus and influence, also where a shard holds no text at all, and the vocabulary one of nobody."""
    runner, terms = ShardRunner(_Pickling(), size), rule(name="semantic_group", trim_ppm=200_000, min_clients=2)
    vocabulary = Vocabulary(tuple(_CIRCLE), np.array([*_CIRCLE.values()], np.float32), 700_000)
    whole = text_answers(rows, vocabulary, prompt_ids=_IDS, nonce=NONCE)
    joined = runner.text_answers(rows, vocabulary, prompt_ids=_IDS, nonce=NONCE)
    assert joined.answers.tobytes() == whole.answers.tobytes()
    assert joined.vertices.tobytes() == whole.vertices.tobytes()
    for one, other in zip(joined.graphs, whole.graphs, strict=True):
        assert (one.entries, one.neighbours) == (other.entries, other.neighbours)
        assert one.cosine.tobytes() == other.cosine.tobytes()
    _is_that_of_the_whole(runner, joined, terms)


@given(st.lists(st.lists(st.integers(-1, 2), min_size=5, max_size=5), min_size=2, max_size=6), st.integers(1, 6))
def test_votes_in_shards_of_any_size_are_the_round_itself(rows: list[list[int]], size: int) -> None:
    """Consensus and influence."""
    _is_that_of_the_whole(ShardRunner(_Pickling(), size), votes(rows), rule(min_support_ppm=400_000))
