"""Which cosine makes two texts one answer: the threshold of an embedder, measured on public pairs of known meaning.

The figure holds for the weights that it was measured with, and for pairs like those it was measured on. What is
measured is what a round does: two texts join if their cosine reaches the threshold and their guards agree.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.consensus.geometry import cosines_ppm, quantise
from semfed_secure.consensus.guards import guard
from semfed_secure.consensus.outcome import PPM
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import hex_digest, parse_digest, sha256
from semfed_secure.privacy.attack import Rate, rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from semfed_secure.consensus.outcome import IntArray
    from semfed_secure.ids import Digest

_SCHEMA = 1
_STEP_PPM = 10_000
_LOWEST_PPM = 200_000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two public texts, and whether they mean the same."""

    a: str
    b: str
    same: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """The least cosine at which two texts may be one answer, and how often that is wrong.

    Attributes:
        embedder: Its name.
        weights_digest: The weights it was measured with; it says nothing about others.
        pairs_digest: SHA-256 over the pairs.
        similarity_ppm: The recommended threshold.
        max_false_join_ppm: The share of different pairs joined that was to be kept.
        false_join: Different pairs that join at the threshold, with a 95 % interval.
        false_split: Pairs of one meaning that do not.
        unguarded_false_join: Different pairs that would join if nothing but the cosine counted.
    """

    embedder: str
    weights_digest: Digest
    pairs_digest: Digest
    similarity_ppm: int
    max_false_join_ppm: int
    false_join: Rate
    false_split: Rate
    unguarded_false_join: Rate

    def as_json(self) -> dict[str, object]:
        """Plain objects, ready for JSON."""
        digests = {name: hex_digest(getattr(self, name)) for name in ("weights_digest", "pairs_digest")}
        return {"schema": _SCHEMA} | asdict(self) | digests


def read_pairs(lines: str) -> list[Pair]:
    """Pairs from JSON lines with ``a``, ``b`` and ``same``.

    Raises:
        ConfigurationError: SF104, naming the line.
    """
    return [_pair(number, line) for number, line in enumerate(lines.splitlines(), 1)]


def _pair(number: int, line: str) -> Pair:
    try:
        row = json.loads(line)
        pair = Pair(row["a"], row["b"], row["same"])
    except (ValueError, RecursionError, KeyError, TypeError):
        pair = None
    if pair is None or (type(pair.a), type(pair.b), type(pair.same)) != (str, str, bool):
        raise ConfigurationError("SF104", f'line {number}: {{"a": "…", "b": "…", "same": true}} was expected')
    return pair


def pair_cosines_ppm(left: NDArray[np.floating], right: NDArray[np.floating]) -> IntArray:
    """Cosine of each row of ``left`` with that of ``right``, as a round computes it."""
    cosine: IntArray = cosines_ppm(np.stack([quantise(left), quantise(right)], axis=1))[:, 0, 1]
    return cosine


def calibrate(
    pairs: Sequence[Pair], cosine: IntArray, *, embedder: str, weights_digest: Digest, max_false_join_ppm: int
) -> Calibration:
    """The lowest threshold at which false joins stay below ``max_false_join_ppm``.

    Below, because the upper end of the 95 % interval does. Thresholds are tried downwards in steps of 0.01 until the
    first that fails, so the interval stays true although the threshold was chosen by it.

    Args:
        pairs: Of both sorts.
        cosine: Of each pair, by `pair_cosines_ppm`.
        embedder: Its name.
        weights_digest: Of its weights.
        max_false_join_ppm: The largest share of pairs of different meaning that may join.

    Raises:
        ConfigurationError: SF104, the pairs are too few, or join even at cosine 1.
    """
    same = np.array([pair.same for pair in pairs], dtype=bool)
    agree = np.array([guard(pair.a).agrees(guard(pair.b)) for pair in pairs], dtype=bool)
    threshold = PPM + _STEP_PPM
    while threshold > _LOWEST_PPM and _kept(cosine, ~same, agree, threshold - _STEP_PPM, max_false_join_ppm):
        threshold -= _STEP_PPM
    if threshold > PPM or not same.any():
        raise ConfigurationError(
            "SF104", "more pairs of each sort were expected, or a larger share of false joins to be allowed"
        )
    near = cosine >= threshold
    return Calibration(
        embedder=embedder,
        weights_digest=weights_digest,
        pairs_digest=sha256(json.dumps([[pair.a, pair.b, pair.same] for pair in pairs]).encode()),
        similarity_ppm=threshold,
        max_false_join_ppm=max_false_join_ppm,
        false_join=_rate((near & agree)[~same]),
        false_split=_rate(~(near & agree)[same]),
        unguarded_false_join=_rate(near[~same]),
    )


def parse_calibration(text: str) -> Calibration:
    """Read what `Calibration.as_json` wrote.

    Raises:
        ConfigurationError: SF104.
    """
    try:
        row: dict[str, Any] = json.loads(text)
        schema, threshold = row.pop("schema"), int(row["similarity_ppm"])
        digests = {name: parse_digest(row[name]) for name in ("weights_digest", "pairs_digest")}
        rates = {name: Rate(**row[name]) for name in ("false_join", "false_split", "unguarded_false_join")}
        calibration = Calibration(**row | digests | rates)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        schema = threshold = -1
    if schema != _SCHEMA or not 0 <= threshold <= PPM:
        raise ConfigurationError("SF104", "a calibration of `semfed server calibrate` was expected")
    return calibration


def _kept(
    cosine: IntArray, different: NDArray[np.bool_], agree: NDArray[np.bool_], threshold: int, most_ppm: int
) -> bool:
    joined = (cosine >= threshold) & agree
    return _rate(joined[different]).high * PPM <= most_ppm


def _rate(hits: NDArray[np.bool_]) -> Rate:
    return rate(int(hits.sum()), len(hits))
