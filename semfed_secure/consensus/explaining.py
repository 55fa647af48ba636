"""A client's weight in words and figures, for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, PPM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.consensus.weights import ClientWeights, WeightMode


def why(weights: ClientWeights, row: int, members: Sequence[str], *, mode: WeightMode) -> str:
    """Why a client weighs what it does, and what it would weigh where the mode in force only observes."""
    sentences = {
        "equal": ["Counts fully, as everybody does."],
        "agreement": [f"Counts {_share(weights.observed_ppm[row])} for its behaviour."],
        "anchored": [f"Counts {_share(weights.anchored_ppm[row])} for its answers to gold prompts."],
    }[mode]
    if mode != "agreement":
        sentences.append(f"Behaviour would give {_share(weights.observed_ppm[row])}.")
    sentences += _behaviour(weights, row, members)
    if weights.anchors is not None:
        if mode != "anchored":
            sentences.append(f"Gold prompts would give {_share(weights.anchored_ppm[row])}.")
        sentences += _gold(weights, row)
    return " ".join(sentences)


def _behaviour(weights: ClientWeights, row: int, members: Sequence[str]) -> list[str]:
    sentences = [f"It agrees with the median client on {_share(weights.agreement_ppm[row])} of prompts."]
    if weights.partner[row] >= 0:
        peer, excess = members[int(weights.partner[row])], _share(weights.collusion_ppm[row])
        sentences.append(f"It gives the same losing answers as {peer}, {excess} above the usual where 1 is always.")
    if weights.observed_ppm[row] < weights.behaviour_ppm[row]:
        sentences.append(f"This round alone would give {_share(weights.behaviour_ppm[row])}; earlier rounds lower it.")
    return sentences


def _gold(weights: ClientWeights, row: int) -> list[str]:
    assert weights.anchors is not None  # INVARIANT: asked of rounds with gold prompts only
    sentences = [f"It answered {weights.anchors.right[row]} of {weights.anchors.seen[row]} rightly."]
    if weights.past is not None and weights.past.seen_ppm[row]:
        right, seen = (_share(column[row]) for column in (weights.past.right_ppm, weights.past.seen_ppm))
        sentences.append(f"Earlier rounds count as {right} of {seen} more, where that is worse.")
    if weights.capped[row]:
        share = _share(int(weights.anchored_ppm[row]) * PPM // int(weights.anchored_ppm.sum()))
        sentences.append(f"It was cut to the cap, {share} of the whole.")
    return sentences


def _share(ppm: int) -> str:
    return f"{int(ppm) / MAX_WEIGHT_PPM:.2f}"
