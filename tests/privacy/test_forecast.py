"""The forecast of utility: against the production code on made-up people, against published figures, and its limits."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from semfed_secure.consensus.votes import vote_consensus
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy import forecast
from semfed_secure.privacy.accountant import noise_multiplier_for
from semfed_secure.privacy.forecast import gradient_noise, histogram_accuracy, shard_accuracy, vector_accuracy
from semfed_secure.privacy.histogram import NoisyCounts, release_histogram, votes_from_counts
from semfed_secure.wire.messages import ConsensusRule

TOLERANCE = 0.05
"""Of a share of prompts: three standard errors of the simulations below, and what the forecast leaves out."""
RULE = ConsensusRule(
    name="weighted_plurality",
    min_clients=3,
    min_support_ppm=500_000,
    min_margin_ppm=1,
    similarity_ppm=0,
    trim_ppm=0,
    weights="equal",
)
# 1 / mu of the Gaussian mechanism that is exactly (epsilon, 1e-6) private: what the published figures rest on.
EXACT = {4: 1 / 0.838, 8: 1 / 1.532}


def agreed_and_right(votes, candidates: int) -> float:
    """Share of prompts on which production's consensus agrees on candidate 0."""
    prompts = votes.shape[1]
    outcome = vote_consensus(
        votes,
        np.full(len(votes), 1_000_000),
        candidate_counts=np.full(prompts, candidates),
        rule=RULE,
        nonce=b"\0" * 32,
        prompt_ids=[str(prompt) for prompt in range(prompts)],
    )
    return float((outcome.label == 0).mean())


@pytest.mark.parametrize(
    ("clients", "candidates", "entities", "sigma"),
    [(5, 4, 2400, 1.2), (5, 8, 4000, 4.2), (9, 3, 1600, 2.0), (4, 6, 8000, 0.7)],
)
def test_the_forecast_of_a_histogram_is_what_production_gives(clients, candidates, entities, sigma) -> None:
    """Made-up entities vote, production counts, noises, reads and agrees: within 5 points of the forecast.

    In eight rounds, because noise has no seed: what is seen then lies within a point, one standard deviation.
    """
    prompts, rng = 400, np.random.default_rng(clients)
    guess = 0.5 / candidates
    shares = [0.5 + guess, *[guess] * (candidates - 1)]

    def one() -> tuple[int, ...]:
        asked, said = rng.integers(prompts, size=entities), rng.choice(candidates, size=entities, p=shares)
        ballots = ((f"e{n}", int(p), int(c)) for n, (p, c) in enumerate(zip(asked, said, strict=True)))
        return votes_from_counts(release_histogram(ballots, (prompts, candidates), sigma=sigma), sigma=sigma)

    seen = np.mean([agreed_and_right(np.array([one() for _ in range(clients)]), candidates) for _ in range(8)])
    told = histogram_accuracy(
        clients=clients, prompts=prompts, candidates=candidates, entities=entities, sigma=sigma, rule=RULE
    )
    assert told == pytest.approx(seen, abs=TOLERANCE)


@pytest.mark.parametrize(("clients", "candidates", "shards", "prompts"), [(5, 4, 64, 100), (9, 8, 128, 500)])
def test_the_forecast_of_shards_is_what_production_gives(clients, candidates, shards, prompts) -> None:
    """Votes of disjoint shards, noised for the L2 distance that one entity makes over all prompts: within 5 points."""
    rng = np.random.default_rng(shards)
    multiplier = noise_multiplier_for("8", "1e-6")
    sigma = multiplier * (2 * prompts) ** 0.5
    guess = 0.5 / candidates
    told = shard_accuracy(
        clients=clients, prompts=prompts, candidates=candidates, shards=shards, noise_multiplier=multiplier, rule=RULE
    )
    counts = rng.multinomial(shards, [0.5 + guess, *[guess] * (candidates - 1)], size=(20, clients, prompts))
    noisy = np.rint(counts + rng.normal(0, sigma, counts.shape)).astype(np.int64)
    rounds = [np.array([votes_from_counts(NoisyCounts(one), sigma=sigma) for one in each]) for each in noisy]
    seen = float(np.mean([agreed_and_right(votes, candidates) for votes in rounds]))
    assert told == pytest.approx(seen, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("clients", "epsilon", "prompts", "published"),
    [(20, 8, 50, 0.17), (20, 8, 1, 0.56), (5, 8, 1, 0.31), (20, 8, 500, 0.14), (100, 4, 50, 0.17), (20, 4, 50, 0.15)],
)
def test_noise_on_embeddings_gives_the_published_figures(clients, epsilon, prompts, published) -> None:
    """Eight candidates: seventeen in a hundred for 20 clients, epsilon 8 and 50 prompts; each within 2 points."""
    told = vector_accuracy(clients=clients, prompts=prompts, candidates=8, noise_multiplier=EXACT[epsilon])
    assert told == pytest.approx(published, abs=0.02)


def test_the_forecast_of_vectors_is_that_of_real_vectors_of_any_dimension() -> None:
    """Unit vectors of 48 and of 384 dimensions, noised and averaged, are as often nearest to the right candidate."""
    clients, prompts, candidates, multiplier, knowing = 20, 10, 8, 0.6, 0.7
    asked = {"clients": clients, "prompts": prompts, "candidates": candidates, "noise_multiplier": multiplier}
    told = vector_accuracy(**asked, knowing=knowing, likeness=1)
    rng = np.random.default_rng(5)
    guess = (1 - knowing) / candidates
    for dimension in (48, 384):
        directions = np.linalg.qr(rng.normal(size=(dimension, candidates)))[0].T
        said = rng.choice(candidates, size=(1500, clients), p=[knowing + guess, *[guess] * (candidates - 1)])
        noise = rng.normal(0, 2 * multiplier * prompts**0.5 / clients**0.5, (1500, dimension))
        means = directions[said].mean(axis=1) + noise
        seen = float(((means @ directions.T).argmax(axis=1) == 0).mean())
        assert told == pytest.approx(seen, abs=TOLERANCE)


def test_more_noise_prompts_or_fewer_people_never_help() -> None:
    """Down the ladder the forecast falls, from nearly always right to no better than nobody speaking."""
    base = {"clients": 5, "prompts": 100, "candidates": 8, "entities": 2000, "sigma": 1.2}
    for name, ladder in (("sigma", [0.7, 2, 6, 20]), ("prompts", [50, 200, 800]), ("entities", [4000, 1000, 200])):
        told = [histogram_accuracy(**base | {name: value}) for value in ladder]
        assert told == sorted(told, reverse=True)
        assert told[0] > 0.95
        assert told[-1] < 0.3


def test_the_same_numbers_give_the_same_figure() -> None:
    """A forecast is no draw of luck: asked twice it says the same."""
    asked = {"clients": 5, "prompts": 100, "candidates": 8, "entities": 1000, "sigma": 3.0}
    assert histogram_accuracy(**asked) == histogram_accuracy(**asked)


def test_a_forecast_takes_public_numbers_and_nothing_else() -> None:
    """No argument can carry a record, a vote or a count: each is one number, or the announced rule of the round."""
    for function in (histogram_accuracy, shard_accuracy, vector_accuracy, gradient_noise):
        kinds = {parameter.annotation for parameter in inspect.signature(function).parameters.values()}
        assert kinds <= {"int", "float", "ConsensusRule | None"}, function.__name__
    assert not {"storage", "open", "Path"} & set(vars(forecast))


def test_training_noise_is_that_of_a_simulated_run() -> None:
    """Noise over signal of averaged, clipped, agreeing gradients, measured along one direction: within 5 %."""
    entities, steps, multiplier = 50, 16, 3.0
    rng = np.random.default_rng(3)
    noise = rng.normal(0, multiplier / entities, (4000, steps)).sum(axis=1)
    told = gradient_noise(noise_multiplier=multiplier, expected_entities=entities, steps=steps)
    assert told == pytest.approx(noise.std() / steps, rel=0.05)


@pytest.mark.parametrize(
    "change",
    [{"clients": 0}, {"candidates": 0}, {"prompts": 0}, {"entities": 0}, {"sigma": 0.0}, {"sigma": float("nan")}],
    ids=str,
)
def test_hostile_numbers_are_refused(change) -> None:
    """Nothing is forecast for a round without clients, candidates, prompts, people or noise: SF141."""
    asked = {"clients": 5, "prompts": 100, "candidates": 8, "entities": 1000, "sigma": 3.0}
    with pytest.raises(ConfigurationError, match="SF141"):
        histogram_accuracy(**asked | change)


def test_a_single_candidate_is_always_right_where_somebody_speaks() -> None:
    """The edge of the table: one candidate, many votes."""
    assert histogram_accuracy(clients=3, prompts=2, candidates=1, entities=1000, sigma=1.0) == 1
