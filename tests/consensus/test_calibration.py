"""The threshold of an embedder: kept by its interval, bound to its weights, refused where pairs are too few."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.consensus.calibration import (
    Pair,
    calibrate,
    pair_cosines_ppm,
    parse_calibration,
    read_pairs,
)
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import sha256
from semfed_secure.privacy.attack import rate

PAIRS = [Pair(f"text {place}", f"text {place}", place % 2 == 0) for place in range(400)]


def measured(cosine: np.ndarray, share_ppm: int = 50_000, pairs: list[Pair] = PAIRS) -> object:
    """A calibration of these pairs."""
    return calibrate(pairs, cosine, embedder="e", weights_digest=sha256(b"e"), max_false_join_ppm=share_ppm)


@settings(max_examples=6)
@given(st.integers(0, 99), st.sampled_from([30_000, 50_000, 200_000]))
def test_it_is_the_lowest_threshold_whose_false_joins_are_surely_few(seed: int, share_ppm: int) -> None:
    """At it the upper end of the interval is kept, and one step lower it is not."""
    generator = np.random.default_rng(seed)
    cosine = (generator.normal(0.5, 0.15, 400).clip(-1, 0.99) * 1_000_000).astype(np.int64)
    different = cosine[1::2]
    found = measured(cosine, share_ppm)

    def highest(threshold: int) -> float:
        return rate(int((different >= threshold).sum()), 200).high * 1_000_000

    assert highest(found.similarity_ppm) <= share_ppm
    assert found.similarity_ppm == 200_000 or highest(found.similarity_ppm - 10_000) > share_ppm
    assert found.false_split.count == int((cosine[::2] < found.similarity_ppm).sum())


def test_a_pair_whose_guards_differ_does_not_join_whatever_its_cosine() -> None:
    """It counts as no false join, and as a false split; what the cosine alone would do is stated beside it."""
    pairs = [Pair("give 5 mg", "give 50 mg", False)] * 300 + [Pair("no fever", "fever is absent", True)] * 300
    found = measured(np.full(600, 990_000), pairs=pairs)
    assert (found.false_join.count, found.unguarded_false_join.count, found.false_split.count) == (0, 300, 0)
    assert found.similarity_ppm == 200_000


def test_too_few_pairs_promise_nothing() -> None:
    """Not one false join among twenty says too little about one in twenty."""
    for pairs in (PAIRS[:40], [replace(pair, same=False) for pair in PAIRS], []):
        with pytest.raises(ConfigurationError, match="SF104"):
            measured(np.zeros(len(pairs), np.int64), pairs=pairs)


@pytest.mark.parametrize("line", ["{", "3", '{"a": "x", "b": "y"}', '{"a": "x", "b": "y", "same": 1}', "[" * 9999])
def test_a_line_that_is_no_pair_is_named(line: str) -> None:
    """Its number, and what was expected."""
    assert read_pairs('{"a": "x", "b": "y", "same": true}') == [Pair("x", "y", True)]
    with pytest.raises(ConfigurationError, match="line 2: "):
        read_pairs('{"a": "x", "b": "y", "same": true}\n' + line)


def test_what_is_written_is_read_back_and_what_is_damaged_is_refused() -> None:
    """All of it, and only what was written."""
    found = measured(np.zeros(400, np.int64))
    document = json.loads(json.dumps(found.as_json()))
    assert parse_calibration(json.dumps(document)) == found
    for damage in ({"schema": 2}, {"similarity_ppm": -1}, {"weights_digest": "x"}, {"more": 1}, {"false_join": 3}):
        with pytest.raises(ConfigurationError, match="SF104"):
            parse_calibration(json.dumps(document | damage))


def test_the_cosine_of_a_pair_is_the_one_that_a_round_computes() -> None:
    """Row by row, in parts per million."""
    left, right = np.eye(3), np.array([[1.0, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert pair_cosines_ppm(left, right).tolist() == [707107, 1000000, 0]
