"""Release what a population's records vote for, as one noisy histogram, at a cost that ignores its size.

Each entity casts exactly one vote over all (prompt, candidate) cells. Adding or removing one entity therefore changes
exactly one count by exactly one, and one exact discrete Gaussian release protects the whole histogram. The released
numbers are integers, so the attacks on floating-point noise (Mironov 2012) do not apply.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING, NewType, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian
from semfed_secure.privacy.parameters import ENTITY_ID, MIN_ENTITIES, Number, is_entity_id, valid_count, valid_noise

if TYPE_CHECKING:
    from collections.abc import Iterable

Vote: TypeAlias = tuple[str, int, int]
"""Entity id, index of the prompt, index of the candidate."""
Counts: TypeAlias = NDArray[np.int64]
NoisyCounts = NewType("NoisyCounts", NDArray[np.int64])
"""Counts that carry their noise: all that may leave this module's caller."""

MAX_CELLS = 2_000_000
"""20 000 prompts with 100 candidates each: the most prompts that one set holds."""

FALSE_VOICE = 0.01
"""Most often that a prompt without a single vote may speak all the same: one in a hundred."""
_LEAST = np.iinfo(np.int64).min


def count_votes(votes: Iterable[Vote], shape: tuple[int, int]) -> Counts:
    """Count one vote of each entity into a (prompts, candidates) histogram.

    An entity that casts several votes is reduced by a rule that reads its own votes only: its most frequent cell
    counts; among equals the one whose SHA-256 with the entity's id is least, so that the votes of many entities
    spread over the prompts. So adding or removing one entity changes exactly one count by exactly one, whatever it
    casts.

    Raises:
        ConfigurationError: SF141 for a shape without cells or above `MAX_CELLS`; SF142 for votes without entity or of
            fewer than two entities; SF105 for a vote outside the shape.
    """
    prompts, candidates = valid_shape(shape)
    ballots: dict[str, Counter[tuple[int, int]]] = {}
    for position, (entity_id, prompt, candidate) in enumerate(votes):
        if not is_entity_id(entity_id):
            raise ConfigurationError("SF142", f"vote {position} has no entity id that is {ENTITY_ID}", vote=position)
        if not (0 <= prompt < prompts and 0 <= candidate < candidates):
            raise ConfigurationError("SF105", f"vote {position} names no cell of {prompts} x {candidates}")
        ballots.setdefault(entity_id, Counter())[prompt, candidate] += 1
    if len(ballots) < MIN_ENTITIES:
        raise ConfigurationError("SF142", f"votes of at least {MIN_ENTITIES} entities are needed")
    counts = np.zeros((prompts, candidates), dtype=np.int64)
    for entity_id, ballot in ballots.items():
        # INVARIANT: one increment per entity; this line is the sensitivity.
        counts[_one_cell(entity_id, ballot)] += 1
    return counts


def _one_cell(entity_id: str, ballot: Counter[tuple[int, int]]) -> tuple[int, int]:
    most = max(ballot.values())
    cells = [cell for cell, times in ballot.items() if times == most]
    return min(cells, key=lambda cell: hashlib.sha256(f"{cell[0]},{cell[1]},{entity_id}".encode()).digest())


def add_noise(counts: Counts, *, sigma: Number) -> NoisyCounts:
    """Add exact discrete Gaussian noise of scale ``sigma`` to every cell, empty ones too.

    zCDP with rho = 1 / (2 sigma^2) for counts of `count_votes`. `DiscreteGaussian` draws the noise exactly; there is no
    seed.

    Raises:
        ConfigurationError: SF141 for ``sigma``.
    """
    noise = DiscreteGaussian.from_system(valid_noise(sigma))
    return NoisyCounts(counts + noise.draw(counts.size).reshape(counts.shape))


def release_histogram(votes: Iterable[Vote], shape: tuple[int, int], *, sigma: Number) -> NoisyCounts:
    """Count one vote per entity and add the noise: the mechanism ``record_histogram``.

    The result is zCDP with rho = 1 / (2 sigma^2) per entity, add or remove one; its cost is
    `mechanisms.record_histogram_cost` and must be reserved in the ledger before this call.

    Raises:
        ConfigurationError: as `count_votes` and `add_noise`.
    """
    scale = valid_noise(sigma)
    return add_noise(count_votes(votes, shape), sigma=scale)


def votes_from_counts(noisy: NoisyCounts, *, sigma: Number, clearance: float = 1.0) -> tuple[int, ...]:
    """The candidate each prompt's noisy counts speak for, or -1 to abstain.

    Post-processing of a release: costs nothing. A prompt speaks when its highest count stands out from noise (a prompt
    that nobody voted on speaks with probability at most `FALSE_VOICE`) and leads the second by at least one vote
    and ``clearance`` standard deviations of the difference of two noises, sqrt(2) sigma.

    Raises:
        ConfigurationError: SF141 for ``sigma``.
    """
    scale = valid_noise(sigma)
    least = _least_count(scale, noisy.shape[1])
    margin = max(1.0, clearance * 2**0.5 * scale)
    ordered = np.sort(np.pad(noisy, ((0, 0), (1, 0)), constant_values=_LEAST), axis=1)
    top, second = ordered[:, -1], np.maximum(0, ordered[:, -2])
    best = np.where((top >= least) & (top - second >= margin), np.argmax(noisy, axis=1), -1)
    return tuple(int(choice) for choice in best)


def _least_count(sigma: float, candidates: int) -> int:
    """The least count that noise alone reaches in any of ``candidates`` cells with probability <= `FALSE_VOICE`."""
    above_zero = np.exp(-(np.arange(1, math.ceil(12 * sigma) + 2) ** 2) / (2 * sigma**2))
    tail = np.cumsum(above_zero[::-1])[::-1] / (1 + 2 * above_zero.sum())
    return int(np.argmax(candidates * np.append(tail, 0) <= FALSE_VOICE)) + 1


def valid_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """``shape`` where one histogram can have it: ask before anything is reserved for its release.

    Raises:
        ConfigurationError: SF141 for a shape without cells or above `MAX_CELLS`.
    """
    prompts = valid_count("prompts", shape[0], MAX_CELLS)
    candidates = valid_count("candidates", shape[1], MAX_CELLS)
    valid_count("prompts x candidates", prompts * candidates, MAX_CELLS)
    return prompts, candidates
