"""How much each client counts, judged by its behaviour over all prompts of the round and of rounds before.

Behaviour is label-free. A client that agrees with the others as much as is usual here keeps its full weight, an outlier
loses up to half of it. So do clients that are *wrong together*: where their answer is outweighed, independent clients
rarely give the same one, however good or bad they are. Models of one family do somewhat more often; that much is let
pass. To be right together is no offence; a score of plain agreement makes it one. Where the weak are the majority, all
this speaks against the strong: that is why ``equal`` is the default and the bound is narrow, and what gold prompts are
for (`semfed_secure.consensus.anchors`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from semfed_secure.consensus.anchors import AnchorCounts, anchored_weights, right_share
from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, MIN_WEIGHT_PPM, PPM, BoolArray, Evidence, IntArray
from semfed_secure.consensus.reputation import Past, past_of, remembered

WeightMode = Literal["equal", "agreement", "anchored"]

_PSEUDO_COUNTS = 16  # prompts of typical agreement added to every pair, so that few prompts judge nobody
_WRONG_PSEUDO_COUNTS = 8  # the same of prompts on which both of a pair are outweighed, which are fewer
_SIGMAS_SQUARED = 25  # five standard deviations before a pair is called unusual
_TOLERATED_PPM = 250_000  # honest sites with models of one family are wrong together about this much more than others
_PASSES = 2  # the second finds those that won while they were not yet found out
_FEWEST_CLIENTS = 3  # of two that disagree, nobody can say which is the outlier


@dataclass(frozen=True, slots=True)
class ClientWeights:
    """What each client's behaviour shows, int64 ``(clients,)`` each unless it says otherwise.

    Attributes:
        weight_ppm: The weight the rule uses.
        observed_ppm: The weight ``agreement`` would give, reported also where another mode is in force.
        anchored_ppm: The weight ``anchored`` would give; full without gold prompts.
        capped: Whose anchored weight was cut to its share of the whole, bool.
        behaviour_ppm: As ``observed_ppm``, by this round alone: what later rounds remember.
        agreement_ppm: Median agreement with the other clients, shrunk to the round's typical value.
        collusion_ppm: How much more often than usual it was wrong together with its closest peer, beyond what models
            of one family are, where that is more than five sigma; else 0.
        partner: Row of that peer, or -1.
        anchors: The gold prompts, as they came.
        past: The earlier rounds, as they came.
    """

    weight_ppm: IntArray
    observed_ppm: IntArray
    anchored_ppm: IntArray
    capped: BoolArray
    behaviour_ppm: IntArray
    agreement_ppm: IntArray
    collusion_ppm: IntArray
    partner: IntArray
    anchors: AnchorCounts | None
    past: Past | None


def client_weights(
    evidence: Evidence, *, mode: WeightMode, anchors: AnchorCounts | None = None, past: Past | None = None
) -> ClientWeights:
    """Weigh the clients of one round.

    Behaviour never takes more than half of a weight. Equal evidence gives equal weights; permuting the clients permutes
    the weights and changes nothing else.

    Args:
        evidence: The answers of the round.
        mode: ``equal`` only observes; ``agreement`` weighs by behaviour; ``anchored`` by gold prompts, and of that
            weight takes up to a half of those that are wrong together.
        anchors: How the clients fared on the gold prompts.
        past: How they fared in earlier rounds.
    """
    clients = len(evidence.answers)
    pairs = _pairs(evidence)
    behaviour, agreement, wrong_together = _behaviour(evidence, pairs)
    before = past or _nothing(clients)
    observed = remembered(behaviour, before)
    anchored, capped = _anchored(evidence, pairs, anchors, before)
    full = np.full(clients, MAX_WEIGHT_PPM, np.int64)
    collusion = wrong_together.max(axis=1, initial=0)
    return ClientWeights(
        weight_ppm={"equal": full, "agreement": observed, "anchored": anchored}[mode],
        observed_ppm=observed,
        anchored_ppm=anchored,
        capped=capped,
        behaviour_ppm=behaviour,
        agreement_ppm=agreement,
        collusion_ppm=collusion,
        partner=np.where(collusion > 0, wrong_together.argmax(axis=1), -1) if clients else collusion,
        anchors=anchors,
        past=past,
    )


def weights_in_force(
    evidence: Evidence, *, mode: WeightMode, anchors: AnchorCounts | None, past: Past | None
) -> IntArray:
    """``weight_ppm`` of `client_weights`, without the work of the other modes."""
    before = past or _nothing(len(evidence.answers))
    if mode == "agreement":
        return remembered(_behaviour(evidence, _pairs(evidence))[0], before)
    if mode == "anchored":
        return _anchored(evidence, _pairs(evidence), anchors, before)[0]
    return np.full(len(evidence.answers), MAX_WEIGHT_PPM, np.int64)


def _nothing(clients: int) -> Past:
    return past_of((), [""] * clients)


def _anchored(
    evidence: Evidence, pairs: IntArray, anchors: AnchorCounts | None, before: Past
) -> tuple[IntArray, BoolArray]:
    clients = len(evidence.answers)
    full = np.full(clients, MAX_WEIGHT_PPM, np.int64)
    if anchors is None or clients < _FEWEST_CLIENTS:
        return full, np.zeros(clients, bool)
    right, seen = anchors.right * PPM, anchors.seen * PPM
    alone, together = right_share(right, seen), right_share(right + before.right_ppm, seen + before.seen_ppm)
    share = np.minimum(alone, together)
    by_gold, _ = anchored_weights(share, full)
    return anchored_weights(share, _independence(_wrong_together(evidence, pairs, by_gold)))


def _behaviour(evidence: Evidence, pairs: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Weight by behaviour, median agreement, and by pair how much more often than usual the two are wrong together."""
    clients = len(pairs)
    if clients < _FEWEST_CLIENTS:
        full = np.full(clients, MAX_WEIGHT_PPM, np.int64)
        return full, full, np.zeros((clients, clients), np.int64)
    agreement = _medians(pairs)
    typical = max(_median(agreement), 1)
    wrong_together = _wrong_together(evidence, pairs, agreement)
    standing = np.clip(agreement * PPM // typical, MIN_WEIGHT_PPM, MAX_WEIGHT_PPM)
    behaviour = np.clip(standing * _independence(wrong_together) // PPM, MIN_WEIGHT_PPM, MAX_WEIGHT_PPM)
    return behaviour, agreement, wrong_together


def _wrong_together(evidence: Evidence, pairs: IntArray, standing: IntArray) -> IntArray:
    """By pair, how much more often than usual the two give one answer that the others, so weighed, outweigh."""
    # To find out who is wrong, those that agree more than is usual are first taken for one another's copies.
    independence = _independence(_excess(pairs, _median(_medians(pairs))))
    for _ in range(_PASSES):
        wrong = evidence.outweighed(standing * independence // PPM)
        wrong_together = _unusual(_both(wrong), evidence.agreements(wrong))
        independence = _independence(wrong_together)
    return wrong_together


def _pairs(evidence: Evidence) -> IntArray:
    """By pair, the share of prompts on which the two agree."""
    return _pair_shares(_both(evidence.answers >= 0), evidence.agreements(), _PSEUDO_COUNTS)


def _both(marked: BoolArray) -> IntArray:
    """On how many prompts both of each two clients are marked."""
    counts = marked.astype(np.int64)
    return counts @ counts.T


def _pair_shares(shared: IntArray, same: IntArray, pseudo_counts: int) -> IntArray:
    apart = ~np.eye(len(shared), dtype=bool)
    pooled = int(same[apart].sum()) * PPM // max(int(shared[apart].sum()), 1)
    pairs: IntArray = (same * PPM + pseudo_counts * pooled) // (shared + pseudo_counts)
    return pairs


def _medians(pairs: IntArray) -> IntArray:
    return np.array([_median(np.delete(row, client)) for client, row in enumerate(pairs)], np.int64)


def _median(values: IntArray) -> int:
    ordered = np.sort(values)
    return int(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


def _excess(pairs: IntArray, usual: int) -> IntArray:
    """How far each pair lies above the usual share, as a share of what is left above it."""
    excess: IntArray = np.maximum(pairs - usual, 0) * PPM // max(PPM - usual, 1)
    np.fill_diagonal(excess, 0)
    return excess


def _unusual(shared: IntArray, same: IntArray) -> IntArray:
    pairs = _pair_shares(shared, same, _WRONG_PSEUDO_COUNTS)
    usual = max(_median(pairs[~np.eye(len(pairs), dtype=bool)]), 1)
    above = np.maximum(pairs - usual, 0)
    unusual = above * above * shared > _SIGMAS_SQUARED * usual * (PPM - usual)
    beyond = np.maximum(_excess(pairs, usual) - _TOLERATED_PPM, 0) * PPM // (PPM - _TOLERATED_PPM)
    found: IntArray = np.where(unusual, beyond, 0)
    return found


def _independence(excess: IntArray) -> IntArray:
    """Share of a client's voice that is its own: of ``k`` that always say the same, one ``k``-th."""
    independence: IntArray = PPM * PPM // (PPM + excess.sum(axis=1))
    return independence
