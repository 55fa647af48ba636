"""The table of mechanisms: what each promises, and what one use of it costs.

The cost is computed from the declared parameters alone, so whoever reads a declaration or a ledger row can recompute
it. A mechanism that is not in `COSTS` cannot be charged and so cannot release.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from semfed_secure.privacy.accountant import UNBOUNDED, RdpCurve, dp_sgd_rdp, gaussian_rdp, times
from semfed_secure.privacy.histogram import MAX_CELLS
from semfed_secure.privacy.parameters import refuse, valid_count
from semfed_secure.privacy.shares import share_sigma, sum_of_shares_rdp
from semfed_secure.privacy.vectors import DIAMETER
from semfed_secure.units import Mechanism

Parameters = Mapping[str, str]
"""Parameters of one use, as text, exactly as they stand in declarations and in the ledger."""


def dp_sgd_cost(parameters: Parameters) -> RdpCurve:
    """Cost of one training run by `Mechanism.DP_SGD`: every output of the trained adapter is then free.

    Privacy unit: one entity with all its records; add or remove one.
    Sensitivity: `clip_norm` in L2, enforced by clipping each entity's summed gradient; noise is relative to it.
    Guarantee: Renyi DP of `steps` Poisson-sampled Gaussian releases, by exact discrete Gaussian noise on an integer
    grid whose standard deviation is 2^20 times `noise_multiplier` (`grid`).
    Assumes: batches are Poisson samples of entities at `sample_rate`, empty ones counted; the base model was never
    tuned on this population.
    """
    noise, rate, steps = _exactly(parameters, "noise_multiplier", "sample_rate", "steps")
    return dp_sgd_rdp(noise, rate, steps)


def record_histogram_cost(parameters: Parameters) -> RdpCurve:
    """Cost of one release by `Mechanism.RECORD_HISTOGRAM`, whatever the number of prompts and candidates.

    Privacy unit: one entity with all its records; add or remove one.
    Sensitivity: 1 in L1 and L2: `histogram.count_votes` gives each entity exactly one vote over all cells.
    Guarantee: zCDP with rho = 1 / (2 sigma^2), by exact discrete Gaussian noise on integers.
    Assumes: an entity's vote depends on its own records and public data only; that the population has at least
    two entities is public.
    """
    (sigma,) = _exactly(parameters, "sigma")
    return gaussian_rdp(sigma)


def shard_votes_cost(parameters: Parameters) -> RdpCurve:
    """Cost of one release by `Mechanism.SHARD_VOTES`; it grows with the number of prompts.

    Privacy unit: one entity with all its records; add or remove one.
    Sensitivity: sqrt(2 `prompts`) in L2: `shards.count_shard_votes` takes one vote of each shard for each prompt.
    Guarantee: zCDP with rho = `prompts` / sigma^2, by exact discrete Gaussian noise on integers.
    Assumes: each shard's model has seen the records of the entities of that shard (`shards.shard_of`) and public data
    only; the number of shards is public.
    """
    sigma, prompts = _exactly(parameters, "sigma", "prompts")
    return times(gaussian_rdp(sigma), 2 * valid_count("prompts", prompts, MAX_CELLS))


def gaussian_vector_cost(parameters: Parameters) -> RdpCurve:
    """Cost of `count` releases by `Mechanism.GAUSSIAN_VECTOR`, one vector each; no smaller dimension lowers it.

    Privacy unit: one entity with all its records; add or remove one. Any other change of the data is hidden alike.
    Sensitivity: 2 in L2, the diameter of the unit ball, into which `vectors.on_grid` clips each vector in integers;
    noise is relative to it.
    Guarantee: zCDP with rho = `count` / (2 noise_multiplier^2), by exact discrete Gaussian noise on an integer grid.
    Assumes: that a vector is released, and for which prompt, does not depend on private data.
    """
    noise, count = _exactly(parameters, "noise_multiplier", "count")
    return times(gaussian_rdp(noise), valid_count("count", count))


def distributed_cost(parameters: Parameters) -> RdpCurve:
    """Cost of `count` summed vectors by `Mechanism.DISTRIBUTED`, noised by the shares of `honest` clients.

    Privacy unit: one entity with all its records; add or remove one. Any other change of one client's data is hidden
    alike.
    Sensitivity: 2 in L2, the diameter of the unit ball, into which `vectors.on_grid` clips each client's vector;
    noise is relative to it.
    Guarantee: Renyi DP of a sum of `honest` discrete Gaussians on an integer grid (Kairouz, Liu, Steinke 2021,
    proposition 14), never that of a continuous Gaussian.
    Assumes: at least `honest` clients, this one among them, add their share and keep it to themselves, and nobody sees
    less than the sum of them.
    """
    noise, honest, dimension, count = _exactly(parameters, "noise_multiplier", "honest", "dimension", "count")
    one = sum_of_shares_rdp(share_sigma(noise, honest), honest, sensitivity=DIAMETER, dimension=dimension)
    return times(one, valid_count("count", count))


def unsafe_no_noise_cost(parameters: Parameters) -> RdpCurve:
    """Cost of a release by `Mechanism.UNSAFE_NO_NOISE`: infinite.

    Privacy unit: none.
    Sensitivity: unbounded.
    Guarantee: none; raw outputs leave.
    Assumes: the data are synthetic or public, which the policy must state by naming this mechanism.
    """
    _exactly(parameters)
    return UNBOUNDED


COSTS: Mapping[Mechanism, Callable[[Parameters], RdpCurve]] = MappingProxyType(
    {
        Mechanism.DP_SGD: dp_sgd_cost,
        Mechanism.RECORD_HISTOGRAM: record_histogram_cost,
        Mechanism.SHARD_VOTES: shard_votes_cost,
        Mechanism.GAUSSIAN_VECTOR: gaussian_vector_cost,
        Mechanism.DISTRIBUTED: distributed_cost,
        Mechanism.UNSAFE_NO_NOISE: unsafe_no_noise_cost,
    }
)


def cost_of(mechanism: Mechanism, parameters: Parameters) -> RdpCurve:
    """What one use of ``mechanism`` with ``parameters`` costs.

    Raises:
        ConfigurationError: SF141, a parameter is missing, unknown or outside its range.
    """
    return COSTS[mechanism](parameters)


def _exactly(parameters: Parameters, *names: str) -> tuple[str, ...]:
    if set(parameters) != set(names):
        # A parameter nobody reads would look like a promise nobody keeps.
        raise refuse("the mechanism's parameters", f"exactly: {', '.join(names) or 'none'}", len(parameters))
    return tuple(parameters[name] for name in names)
