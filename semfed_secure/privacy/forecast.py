"""What a release can be good for, told before anything is spent: how often the consensus would be right.

Only declared, public numbers enter: how many clients, prompts and candidates there are, the declared bound on the
population, the noise. No record, vote or count is looked at, so a forecast costs nothing and may be shown to anybody.
It is a best case: everybody on the roster answers, every population is as large as the bound says and resembles the
prompts. A forecast below a floor is therefore a reason to refuse; one above it is no promise.

What cannot be told from public numbers is how much a population knows. `KNOWING` of the votes are taken to be right,
the others guess. The figures are simulated with a fixed seed (this is no noise that protects anybody) by the rule that
turns real counts into votes: the same numbers give the same figure everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.privacy.histogram import NoisyCounts, votes_from_counts
from semfed_secure.privacy.parameters import MAX_POPULATION, valid_count, valid_grid_sigma, valid_noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from semfed_secure.wire.messages import ConsensusRule

    _Counting = Callable[[Generator, NDArray[np.float64], int], NDArray[np.int64]]

KNOWING = 0.5
"""Share of voters that know the answer; the others choose any candidate."""
LIKENESS = 0.62
"""Cosine of two sentence embeddings that mean the same (0.72), less that of two that do not (0.10)."""
CLIENT_KNOWING = 0.714
"""The same for a whole client's model: right three times in four among eight candidates."""
MAX_FORECAST = 100_000
"""Clients, shards and candidates that a forecast is made for."""

_TRIALS, _CELLS, _FEWEST = 20_000, 2_000_000, 1_000
_EXACT_BELOW = 4.0  # from here on a rounded normal is a discrete Gaussian to within the error of the simulation


@dataclass(frozen=True, slots=True)
class Forecast:
    """A figure and what it rests on; ``right_ppm`` is None where public numbers allow none."""

    right_ppm: int | None
    rests_on: str


def histogram_accuracy(
    *,
    clients: int,
    prompts: int,
    candidates: int,
    entities: int,
    sigma: float,
    knowing: float = KNOWING,
    rule: ConsensusRule | None = None,
) -> float:
    """P(the consensus agrees on the right candidate) where entities vote under ``record_histogram``.

    Each of ``entities`` casts its one vote on any of ``prompts``, so a prompt gets their ratio of votes from each
    client. The number of prompts does not change the noise.

    Args:
        clients: How many answer.
        prompts: How many questions share the votes.
        candidates: Answers to choose from.
        entities: Declared bound on the population of each client.
        sigma: Noise of one cell.
        knowing: Share of voters that know; the others guess.
        rule: When a prompt counts as agreed; without it whatever leads.

    Raises:
        ConfigurationError: SF141.
    """
    share = 1 / valid_count("prompts", prompts)
    people = valid_count("entities", entities, MAX_POPULATION)

    def counts(rng: Generator, right: NDArray[np.float64], trials: int) -> NDArray[np.int64]:
        return rng.multinomial(rng.binomial(people, share, trials), right)

    return _by_counts(counts, clients, candidates, valid_noise(sigma), knowing, rule)


def shard_accuracy(
    *,
    clients: int,
    prompts: int,
    candidates: int,
    shards: int,
    noise_multiplier: float,
    knowing: float = KNOWING,
    rule: ConsensusRule | None = None,
) -> float:
    """P(the consensus agrees on the right candidate) under ``shard_votes``.

    One entity is in one shard, whose vote it may move from one candidate to another on every prompt: the L2
    sensitivity is sqrt(2 * prompts), and the noise of a cell is that times ``noise_multiplier``.

    Raises:
        ConfigurationError: SF141.
    """
    sigma = valid_noise(noise_multiplier) * sqrt(2 * valid_count("prompts", prompts))
    voters = valid_count("shards", shards, MAX_FORECAST)

    def counts(rng: Generator, right: NDArray[np.float64], trials: int) -> NDArray[np.int64]:
        return rng.multinomial(voters, right, trials)

    return _by_counts(counts, clients, candidates, sigma, knowing, rule)


def vector_accuracy(
    *,
    clients: int,
    prompts: int,
    candidates: int,
    noise_multiplier: float,
    knowing: float = CLIENT_KNOWING,
    likeness: float = LIKENESS,
) -> float:
    """P(the candidate nearest to the mean of all vectors is the right one) under ``gaussian_vector``.

    An entity may turn a client's unit vector into any other: the L2 sensitivity is 2 for each prompt and
    2 * sqrt(prompts) in all. A candidate is scored along its own direction, so the dimension of the embedding plays
    no part: fewer dimensions do not help.

    Args:
        clients: How many answer.
        prompts: Over how many the noise is spread.
        candidates: Answers to choose from, whose directions are taken to be unrelated.
        noise_multiplier: Noise of one coordinate over the sensitivity of the whole release.
        knowing: Share of clients that know.
        likeness: `LIKENESS`.

    Raises:
        ConfigurationError: SF141.
    """
    many, choices = _sizes(clients, candidates)
    noise = 2 * valid_noise(noise_multiplier) * sqrt(valid_count("prompts", prompts)) / sqrt(many)
    rng, trials = _begin(choices)
    answers = rng.multinomial(many, _right_first(knowing, choices), trials)
    scores = likeness * answers / many + rng.normal(0, noise, answers.shape)
    return float((scores.argmax(axis=1) == 0).mean())


def gradient_noise(*, noise_multiplier: float, expected_entities: float, steps: int) -> float:
    """Noise over the largest possible signal of a ``dp_sgd`` run, along one direction of its weights.

    Every step averages gradients of at most the clipping norm over ``expected_entities`` and adds noise of
    ``noise_multiplier`` clipping norms, so at best the signal of all steps is ``steps`` clipping norms and their noise
    the square root of that. 1 or more says that even perfectly agreeing records drown. How often the trained model is
    right does not follow from public numbers: no accuracy is forecast, and nothing is refused on this figure.

    Raises:
        ConfigurationError: SF141.
    """
    return valid_noise(noise_multiplier) / expected_entities / sqrt(valid_count("steps", steps))


def _by_counts(
    counts: _Counting, clients: int, candidates: int, sigma: float, knowing: float, rule: ConsensusRule | None
) -> float:
    many, choices = _sizes(clients, candidates)
    rng, trials = _begin(choices)
    told = counts(rng, _right_first(knowing, choices), trials)
    noisy = NoisyCounts(told + _noise(rng, valid_grid_sigma(sigma), told.shape))
    spoken = np.asarray(votes_from_counts(noisy, sigma=sigma))
    shares = np.bincount(spoken + 1, minlength=choices + 1) / trials  # abstention first
    wrong = np.full(choices - 1, shares[2:].sum() / max(1, choices - 1))
    answers = rng.multinomial(many, np.r_[shares[1], wrong, shares[0]], trials)[:, :choices]
    return float(_right(answers, rule).mean())


def _right(answers: NDArray[np.int64], rule: ConsensusRule | None) -> NDArray[np.float64]:
    """Of how many answers the first candidate is the agreed one; of equals each wins as often."""
    top, answered = answers.max(axis=1), answers.sum(axis=1)
    leaders = (answers == top[:, None]).sum(axis=1)
    won = np.where((answers[:, 0] == top) & (top > 0), 1 / leaders, 0.0)
    if rule is None:
        return won
    second = np.sort(np.pad(answers, ((0, 0), (1, 0))), axis=1)[:, -2]
    parts = 1_000_000 / np.maximum(answered, 1)
    enough = (answered >= rule.min_clients) & (top * parts >= rule.min_support_ppm)
    found: NDArray[np.float64] = np.where(enough & ((top - second) * parts >= rule.min_margin_ppm), won, 0.0)
    return found


def _noise(rng: Generator, sigma: float, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Discrete Gaussian noise for a simulation; never for a release."""
    if sigma >= _EXACT_BELOW:
        return np.rint(rng.normal(0, sigma, shape)).astype(np.int64)
    values = np.arange(-64, 65)
    weights = np.exp(-(values**2) / (2 * sigma**2))
    return rng.choice(values, size=shape, p=weights / weights.sum())


def _right_first(knowing: float, candidates: int) -> NDArray[np.float64]:
    """How a voter votes: the right candidate first, the others alike."""
    guess = (1 - knowing) / candidates
    return np.array([knowing + guess, *[guess] * (candidates - 1)])


def _sizes(clients: int, candidates: int) -> tuple[int, int]:
    return valid_count("clients", clients, MAX_FORECAST), valid_count("candidates", candidates, MAX_FORECAST)


def _begin(candidates: int) -> tuple[Generator, int]:
    return np.random.default_rng(0), max(_FEWEST, min(_TRIALS, _CELLS // candidates))
