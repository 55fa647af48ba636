"""Votes of models that were trained on disjoint shards of the entities: the mechanism ``shard_votes``.

Whatever one entity does, it changes one shard's model, and so at most one vote for each prompt. How the models are made
does not matter: they may be trained without any privacy, as nothing of them leaves but the noised counts.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.histogram import MAX_CELLS, Counts, NoisyCounts, add_noise
from semfed_secure.privacy.parameters import ENTITY_ID, Number, is_entity_id, refuse, valid_count, valid_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_SHARDS, MAX_SHARDS = 64, 100_000
"""Fewer shards have too few votes to be heard through the noise that hides one of them."""
ABSTAIN = -1


def shard_of(entity_id: str, shards: Number) -> int:
    """The one shard that all records of an entity belong to.

    It follows from the id alone, so that an entity that comes or goes moves no other one.

    Raises:
        ConfigurationError: SF141 for fewer than `MIN_SHARDS` shards; SF142 for text that names no entity.
    """
    count = _valid_shards(shards)
    if not is_entity_id(entity_id):
        raise ConfigurationError("SF142", f"an entity's id must be {ENTITY_ID}")
    return int.from_bytes(hashlib.sha256(b"semfed shard:" + entity_id.encode()).digest()) % count


def count_shard_votes(votes: NDArray[np.int64], candidates: Number) -> Counts:
    """Count the votes of each shard, ``(shards, prompts)``, `ABSTAIN` for none, into (prompts, candidates).

    One shard's row moves at most one vote for each prompt: two counts by one, so sqrt(2 prompts) in L2.

    Raises:
        ConfigurationError: SF141 for fewer than `MIN_SHARDS` shards or too many cells; SF105 for a vote for no
            candidate.
    """
    if votes.ndim != 2 or votes.dtype.kind != "i":
        raise refuse("votes", "whole numbers, one of each shard for each prompt", votes)
    shards, prompts = _valid_shards(votes.shape[0]), valid_count("prompts", votes.shape[1], MAX_CELLS)
    choices = valid_count("candidates", candidates, MAX_CELLS)
    valid_count("prompts x candidates", prompts * choices, MAX_CELLS)
    if votes.min() < ABSTAIN or votes.max() >= choices:
        raise ConfigurationError("SF105", f"a vote names none of {choices} candidates")
    counts = np.zeros((prompts, choices), dtype=np.int64)
    each = np.arange(prompts)
    for shard in range(shards):
        cast = votes[shard] != ABSTAIN
        # INVARIANT: one increment per shard and prompt; this line is the sensitivity.
        counts[each[cast], votes[shard][cast]] += 1
    return counts


def release_shard_votes(votes: NDArray[np.int64], candidates: Number, *, sigma: Number) -> NoisyCounts:
    """Count the votes of the shards and add exact discrete Gaussian noise of scale ``sigma`` to every cell.

    The result is zCDP with rho = prompts / sigma^2 per entity, add or remove one, if shard i was trained on the
    entities of `shard_of` i alone. Its cost is `mechanisms.shard_votes_cost` and must be reserved in the ledger before
    this call; `histogram.votes_from_counts` reads it for nothing.

    Raises:
        ConfigurationError: as `count_shard_votes`, and SF141 for ``sigma``.
    """
    scale = valid_noise(sigma)
    return add_noise(count_shard_votes(votes, candidates), sigma=scale)


def _valid_shards(shards: Number) -> int:
    count = valid_count("shards", shards, MAX_SHARDS)
    if count < MIN_SHARDS:
        raise refuse("shards", f"at least {MIN_SHARDS}", count)
    return count
