"""The arms of `learning.py`: which label each public prompt gets, by whom it is chosen; -1 is none.

The rules are `semfed_secure.consensus`'s own, under the terms of the demo's round of votes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus import Outcomes, Votes, client_weights
from semfed_secure.consensus.anchors import anchor_counts
from semfed_secure.consensus.outcome import PPM
from semfed_secure.wire.messages import ConsensusRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from learning_tasks import Ints

    from semfed_secure.consensus.weights import WeightMode

ANCHORS = 50
"""Public prompts whose right answers the server knows; nobody learns from these, in any arm."""
NONCE = bytes(32)  # of the round: decides ties only
SUPPORT, MARGIN = 340_000, 150_000  # of the demo


def rule(clients: int, *, abstain: bool = True, weights: WeightMode = "equal") -> ConsensusRule:
    """The demo's rule, also for two clients where a third is left out; without abstention the plurality decides."""
    return ConsensusRule(
        name="weighted_plurality",
        min_clients=min(3, clients) if abstain else 1,
        min_support_ppm=SUPPORT if abstain else 0,
        min_margin_ppm=MARGIN if abstain else 0,
        similarity_ppm=0,
        trim_ppm=0,
        weights=weights,
    )


def evidence(votes: Ints, labels: int, ids: Ints) -> Votes:
    """The votes of a roster, ``(clients, prompts)``, as the server has them."""
    return Votes(votes, np.full(votes.shape[1], labels, np.int64), tuple(map(str, ids.tolist())), NONCE)


def chosen(
    votes: Ints, gold: Ints, *, labels: int, ids: Ints, without: Sequence[int], rng: np.random.Generator
) -> tuple[dict[str, Ints], Outcomes]:
    """The labels of every arm of one roster, and what the plurality alone says (support, before any threshold).

    Args:
        votes: ``(clients, prompts)``.
        gold: The right labels: for the oracle, and for the anchors, which are the first prompts.
        labels: How many there are.
        ids: What names the prompts, for ties.
        without: The weak clients, whom one arm leaves out.
        rng: Draws the random client.
    """
    everybody = evidence(votes, labels, ids)
    equal = np.full(len(votes), PPM, np.int64)
    plain = everybody.consensus(equal, rule=rule(len(votes), abstain=False))
    strong = np.delete(votes, list(without), axis=0)
    anchors = anchor_counts(everybody, {place: int(gold[place]) for place in range(ANCHORS)})
    weigh = partial(client_weights, everybody, anchors=anchors)
    weighted: dict[WeightMode, Ints] = {
        mode: everybody.consensus(weigh(mode=mode).weight_ppm, rule=rule(len(votes), weights=mode)).label
        for mode in ("agreement", "anchored")
    }
    found = {
        "random": votes[rng.integers(0, len(votes), votes.shape[1]), np.arange(votes.shape[1])],
        "best": votes[int(np.argmax((votes == gold).sum(1)))],
        "medoid": plain.label,
        "ours": everybody.consensus(equal, rule=rule(len(votes))).label,
        "without": evidence(strong, labels, ids).consensus(equal[: len(strong)], rule=rule(len(strong))).label,
        **weighted,
    }
    return found, plain
