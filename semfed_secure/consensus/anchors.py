"""Weights from gold prompts: what each client got right where the server alone knows the answer.

Gold evidence is no opinion of the crowd, so it may take far more of a weight than behaviour does, and it helps a strong
client against a weak majority. What few prompts say is drawn towards the mean of the roster, and no client is given
more than a third of the whole weight: half of it where there are three or four clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import (
    FLOOR_PPM,
    MAX_WEIGHT_PPM,
    MIN_WEIGHT_PPM,
    PPM,
    BoolArray,
    Evidence,
    IntArray,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PSEUDO_COUNTS = 4
"""Prompts of the roster's mean that are added to every client's anchors."""
_FEWEST_CLIENTS = 3  # of two, the one would decide every prompt
_FEWEST_CLIENTS_FOR_A_THIRD = 5


@dataclass(frozen=True, slots=True)
class AnchorCounts:
    """How the clients fared on the gold prompts; an anchor that a client abstained on does not count.

    Attributes:
        prompts: Places of the gold prompts in the prompt set.
        right: Gold prompts that each client answered as the server knows them, int64 ``(clients,)``.
        seen: Gold prompts that it answered at all, int64 ``(clients,)``.
    """

    prompts: tuple[int, ...]
    right: IntArray
    seen: IntArray

    def without(self, client: int) -> AnchorCounts:
        """The same counts as if ``client`` had not taken part."""
        return AnchorCounts(self.prompts, np.delete(self.right, client), np.delete(self.seen, client))


def anchor_counts(evidence: Evidence, gold: Mapping[int, int]) -> AnchorCounts:
    """Hold the clients' answers against the gold ones.

    An answer is right where the evidence says that it means the same: of votes, where it is the same candidate; of
    texts, where the embedder and the guards let the two stand in one group.

    Args:
        evidence: The answers of the round.
        gold: The gold answer by place of its prompt, as the evidence numbers answers.
    """
    prompts = tuple(sorted(gold))
    answers = evidence.answers[:, list(prompts)]
    right = np.zeros(answers.shape, bool)
    for place, prompt in enumerate(prompts):
        for given in {int(answer) for answer in answers[:, place] if answer >= 0}:
            right[answers[:, place] == given, place] = evidence.same_meaning(given, gold[prompt])
    return AnchorCounts(prompts, right.sum(axis=1).astype(np.int64), (answers >= 0).sum(axis=1).astype(np.int64))


def right_share(right_ppm: IntArray, seen_ppm: IntArray) -> IntArray:
    """Share of right answers, drawn towards the roster's by `PSEUDO_COUNTS` prompts; equal counts give equal shares.

    Args:
        right_ppm: Right answers, in millionths of one.
        seen_ppm: Answers, likewise.
    """
    roster = (int(right_ppm.sum()) + PPM) * PPM // (int(seen_ppm.sum()) + 2 * PPM)
    share: IntArray = (right_ppm + PSEUDO_COUNTS * roster) * PPM // (seen_ppm + PSEUDO_COUNTS * PPM)
    return share


def anchored_weights(share: IntArray, independence: IntArray) -> tuple[IntArray, BoolArray]:
    """Weights by the square of ``share``, the heaviest `MAX_WEIGHT_PPM`, and whose weight the cap took part of.

    Of that weight those that are wrong together keep their ``independence``, at least a half.

    Every weight lies in ``[FLOOR_PPM, MAX_WEIGHT_PPM]``; no client has more than a third of the sum, or half of it
    where there are three or four clients. One or two clients count alike.
    """
    clients = len(share)
    if clients < _FEWEST_CLIENTS:
        return np.full(clients, MAX_WEIGHT_PPM, np.int64), np.zeros(clients, bool)
    square = share * share
    earned = np.maximum(square * MAX_WEIGHT_PPM // max(int(square.max()), 1), FLOOR_PPM)
    weights = np.maximum(earned * np.maximum(independence, MIN_WEIGHT_PPM) // PPM, FLOOR_PPM)
    cap = _cap(weights, 3 if clients >= _FEWEST_CLIENTS_FOR_A_THIRD else 2)
    capped: IntArray = np.minimum(weights, cap)
    scaled: IntArray = -(-capped * MAX_WEIGHT_PPM // int(capped.max()))  # rounded up, so that the cap still holds
    return scaled, weights > cap


def _cap(weights: IntArray, parts: int) -> int:
    """The greatest weight that is at most one of ``parts`` equal parts of what the weights, cut to it, come to."""
    ordered = sorted(weights.tolist(), reverse=True)
    for heavy in range(1, parts):
        cap = sum(ordered[heavy:]) // (parts - heavy)
        if ordered[heavy] <= cap:
            break
    return int(cap)
