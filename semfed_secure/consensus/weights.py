"""How much each client counts, judged by its behaviour over all prompts of the round.

Label-free: a client that agrees with the others as much as is usual here keeps its full weight, an
outlier loses up to half of it. Where the weak are the majority, agreement speaks against the strong,
which is why ``equal`` is the default and the bound is narrow. Pairs that agree far beyond the usual are
reported as a collusion score and never punished: honest clients that are right also agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, MIN_WEIGHT_PPM, PPM, Evidence, IntArray

_PSEUDO_COUNTS = 16  # prompts of typical agreement added to every pair, so that few prompts judge nobody
_SIGMAS_SQUARED = 36  # six standard deviations before a pair's agreement is called unusual
_FEWEST_CLIENTS = 3  # of two that disagree, nobody can say which is the outlier


@dataclass(frozen=True, slots=True)
class ClientWeights:
    """What each client's behaviour shows, int64 ``(clients,)`` each.

    Attributes:
        weight_ppm: The weight the rule uses.
        observed_ppm: The weight ``agreement`` would give, reported also where ``equal`` is in force.
        agreement_ppm: Median agreement with the other clients, shrunk to the round's typical value.
        collusion_ppm: Agreement with its closest peer above the typical, where that exceeds six sigma; else 0.
    """

    weight_ppm: IntArray
    observed_ppm: IntArray
    agreement_ppm: IntArray
    collusion_ppm: IntArray


def client_weights(evidence: Evidence, *, mode: Literal["equal", "agreement"]) -> ClientWeights:
    """Weigh the clients of one round.

    Every weight lies in ``[MIN_WEIGHT_PPM, MAX_WEIGHT_PPM]``, and permuting the clients permutes the
    weights and changes nothing else.
    """
    present = (evidence.answers >= 0).astype(np.int64)
    shared, same = present @ present.T, evidence.agreements()
    clients = present.shape[0]
    full = np.full(clients, MAX_WEIGHT_PPM, np.int64)
    if clients < _FEWEST_CLIENTS:
        return ClientWeights(full, full, full, np.zeros(clients, np.int64))
    pairs = _pair_agreement(shared, same)
    agreement = np.array([_median(np.delete(row, client)) for client, row in enumerate(pairs)], np.int64)
    typical = _median(agreement)
    observed = np.clip(agreement * PPM // max(typical, 1), MIN_WEIGHT_PPM, MAX_WEIGHT_PPM)
    return ClientWeights(
        weight_ppm=observed if mode == "agreement" else full,
        observed_ppm=observed,
        agreement_ppm=agreement,
        collusion_ppm=_collusion(pairs, shared, typical),
    )


def _pair_agreement(shared: IntArray, same: IntArray) -> IntArray:
    apart = ~np.eye(len(shared), dtype=bool)
    pooled = int(same[apart].sum()) * PPM // max(int(shared[apart].sum()), 1)
    pairs: IntArray = (same * PPM + _PSEUDO_COUNTS * pooled) // (shared + _PSEUDO_COUNTS)
    return pairs


def _median(values: IntArray) -> int:
    ordered = np.sort(values)
    return int(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


def _collusion(pairs: IntArray, shared: IntArray, typical: int) -> IntArray:
    excess = np.maximum(pairs - typical, 0)
    np.fill_diagonal(excess, 0)
    unusual = excess * excess * shared > _SIGMAS_SQUARED * typical * (PPM - typical)
    closest: IntArray = np.where(unusual, excess, 0).max(axis=1)
    return closest
