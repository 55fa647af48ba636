"""An attacker who knows all but one entity tells neighbouring data sets apart no better than each mechanism promises.

The attacker sees releases of both data sets and guesses by the likelihood ratio, the best that there is. Its advantage
(true less false positives) is bounded with confidence, and compared with the exact one of the noise that is claimed.
Each named mutant gives it more, and the same check must say so.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import beta, norm

from semfed_secure.privacy import grid, histogram, shards, shares, vectors
from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian
from semfed_secure.privacy.shards import MIN_SHARDS

RELEASES = 1000
DOUBT = 1e-7
NOISE = 1.0  # every mechanism below promises the privacy of one release at this noise multiplier
BEST = 2 * norm.cdf(1 / (2 * NOISE)) - 1  # the advantage that a Gaussian at it allows


def bounds(hits, tries):
    """Clopper-Pearson: the share lies outside with probability `DOUBT` at most."""
    low = beta.ppf(DOUBT / 2, hits, tries - hits + 1) if hits else 0.0
    return low, beta.ppf(1 - DOUBT / 2, hits + 1, tries - hits) if hits < tries else 1.0


def check(release):
    """Fail unless the best attacker has the claimed advantage at most, and is a real one: half of it at least.

    ``release`` gives, of each release, a number that grows with the likelihood ratio; with the entity, and without it.
    """
    present, absent = release(True), release(False)
    # The best cut is chosen on one half and judged on the other, so that the bounds hold for it.
    half = RELEASES // 2
    cuts = np.quantile(np.concatenate([present[:half], absent[:half]]), np.linspace(0.02, 0.98, 49))
    cut = max(cuts, key=lambda at: np.mean(present[:half] > at) - np.mean(absent[:half] > at))
    true_low, true_high = bounds(int((present[half:] > cut).sum()), half)
    false_low, false_high = bounds(int((absent[half:] > cut).sum()), half)
    assert true_low - false_high <= BEST, "the attacker has more than the claim allows"
    assert true_high - false_low >= BEST / 2, "the attacker of this test is too weak to show anything"


def histogram_release(present):
    """An entity casts five votes for the same cell, or is not there; the rest is known. Each prompt is one release."""
    known = [(f"known-{prompt}", prompt, 1) for prompt in range(RELEASES)]
    votes = [(f"me-{prompt}", prompt, 0) for prompt in range(RELEASES)] * 5 * present
    return histogram.release_histogram(known + votes, (RELEASES, 2), sigma=NOISE)[:, 0]


GRADIENT = 100 * np.eye(1, 16, dtype=np.float32)


def gradient_release(present, records=6):
    """Steps of DP-SGD: a canary whose every record pulls hard into one direction, among three other entities."""
    others = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    own = np.repeat(GRADIENT, records, axis=0)[: records * present]
    rows = np.concatenate([others, by_entity(own)])
    steps = [grid.values_of(grid.GridNoise(NOISE).add_to(grid.clipped_sum([rows], 1)), 1) for _ in range(RELEASES)]
    return np.array(steps)[:, 0]


def by_entity(rows):
    """The gradients of one entity's records as one vector."""
    return rows.sum(0, keepdims=True)


PROMPTS = 9


def shard_release(present, records=6):
    """One entity turns every vote of the shards that see its records; models without it vote for candidate 0."""
    votes = np.zeros((MIN_SHARDS, PROMPTS), dtype=np.int64)
    for record in range(records * present):
        votes[shard_of_record("me", record)] = 1
    sigma = NOISE * (2 * PROMPTS) ** 0.5
    noisy = np.array([shards.release_shard_votes(votes, 2, sigma=sigma) for _ in range(RELEASES)])
    return (noisy[:, :, 1] - noisy[:, :, 0]).sum(1)


def shard_of_record(entity, record):
    """All records of an entity belong to its shard."""
    return shards.shard_of(entity, MIN_SHARDS)


def embeddings(present):
    """The same embedding again and again, and with the entity its opposite, far longer than one."""
    return np.full((RELEASES, 16), -50 if present else 50, dtype=np.float32)


def vector_release(present):
    """Each row is one release."""
    return -vectors.release_vectors(embeddings(present), noise_multiplier=NOISE).sum(1)


HONEST = 4


def share_release(present):
    """Sums of what four honest clients send; one of them has the entity."""
    sent = [0 * embeddings(present)] * (HONEST - 1) + [embeddings(present)]
    return -sum(shares.noisy_share(rows, noise_multiplier=NOISE, honest=HONEST) for rows in sent).sum(1)


@dataclass
class Quiet:
    """Noise of half the scale."""

    noise: DiscreteGaussian

    @classmethod
    def from_system(cls, sigma):
        return cls(DiscreteGaussian.from_system(float(sigma) / 2))

    def draw(self, count):
        return self.noise.draw(count)


def unclipped_sum(parts, clip_norm):
    """What `clipped_sum` would give without clipping."""
    return np.rint(np.concatenate([part.sum(0, dtype=float) for part in parts]) * grid.UNITS / clip_norm).astype(int)


def votes_of_records(votes, shape):
    """What `count_votes` would give if every record voted."""
    counts = np.zeros(shape, dtype=np.int64)
    for _, prompt, candidate in votes:
        counts[prompt, candidate] += 1
    return counts


MECHANISMS = {
    "record_histogram": histogram_release,
    "dp_sgd": gradient_release,
    "shard_votes": shard_release,
    "gaussian_vector": vector_release,
    "distributed": share_release,
}
MUTANTS = {
    ("record_histogram", "noise halved"): (histogram, "DiscreteGaussian", Quiet),
    ("record_histogram", "record instead of entity"): (histogram, "count_votes", votes_of_records),
    ("dp_sgd", "noise halved"): (grid, "DiscreteGaussian", Quiet),
    ("dp_sgd", "no clipping"): (grid, "clipped_sum", unclipped_sum),
    ("dp_sgd", "record instead of entity"): (None, "by_entity", lambda rows: rows),
    ("shard_votes", "noise halved"): (histogram, "DiscreteGaussian", Quiet),
    ("shard_votes", "record instead of entity"): (
        None,
        "shard_of_record",
        lambda entity, record: shards.shard_of(f"{entity}-{record}", MIN_SHARDS),
    ),
    ("gaussian_vector", "noise halved"): (vectors, "DiscreteGaussian", Quiet),
    ("gaussian_vector", "no clipping"): (vectors, "clipped_sum", unclipped_sum),
    ("gaussian_vector", "radius for diameter"): (vectors, "DIAMETER", grid.UNITS),
    ("distributed", "noise halved"): (shares, "DiscreteGaussian", Quiet),
    ("distributed", "no clipping"): (vectors, "clipped_sum", unclipped_sum),
    ("distributed", "share of the scale instead of the variance"): (
        shares,
        "share_sigma",
        lambda noise, honest: noise * vectors.DIAMETER / honest,
    ),
}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_best_attacker_gains_no_more_than_is_claimed(mechanism):
    """For each noisy mechanism as it is."""
    check(MECHANISMS[mechanism])


@pytest.mark.parametrize(("mechanism", "mutant"), MUTANTS)
def test_each_mutant_gives_the_attacker_more(mechanism, mutant, monkeypatch):
    """The same check, on a mechanism that is broken in one place, fails."""
    module, name, broken = MUTANTS[mechanism, mutant]
    if module is None:
        monkeypatch.setitem(globals(), name, broken)
    else:
        monkeypatch.setattr(module, name, broken)
    with pytest.raises(AssertionError, match="more than the claim"):
        check(MECHANISMS[mechanism])
