"""What a consensus rule says about every prompt, and how ties end.

Integer arithmetic throughout: shares are parts per million, rounded down, so that every
machine, shard size and engine gives the same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from semfed_secure.wire.messages import ConsensusRule

PPM = 1_000_000
MIN_WEIGHT_PPM = 500_000
"""No behaviour takes more than half of a client's weight: a wrong suspicion must stay cheap."""
MAX_WEIGHT_PPM = PPM
ABSTAIN = -1

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Status(IntEnum):
    """Whether clients may train on a prompt's label; only ``AGREED`` is trained on."""

    TOO_FEW = 0
    CONTESTED = 1
    AGREED = 2


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One entry per prompt, in prompt order.

    A label is `ABSTAIN` unless its status is `Status.AGREED`: nobody trains on a contested leader.

    Attributes:
        status: `Status` codes, int64 ``(prompts,)``.
        label: Index of the released answer, or `ABSTAIN`, int64 ``(prompts,)``.
        support_ppm: Weight of the winning group over the weight of all that answered, int64 ``(prompts,)``.
        margin_ppm: Lead over the heaviest rival group, over the same weight, int64 ``(prompts,)``.
        certified_tolerance: How many clients could answer anything without changing the winner, int64 ``(prompts,)``.
        members: Whose answer stands in the winning group, bool ``(clients, prompts)``.
        core: The members that outlived the trimming, bool ``(clients, prompts)``.
    """

    status: IntArray
    label: IntArray
    support_ppm: IntArray
    margin_ppm: IntArray
    certified_tolerance: IntArray
    members: BoolArray
    core: BoolArray


class Evidence(Protocol):
    """The admitted answers of one round, of either output kind."""

    @property
    def answers(self) -> IntArray:
        """Index of each answer, or `ABSTAIN`, ``(clients, prompts)``."""
        ...

    def agreements(self) -> IntArray:
        """On how many prompts each two clients said the same, ``(clients, clients)``."""
        ...

    def consensus(self, weights: IntArray, *, rule: ConsensusRule) -> Outcomes:
        """Apply the rule with these weights."""
        ...

    def without(self, client: int) -> Evidence:
        """The same round as if ``client`` had not taken part."""
        ...

    def same_meaning(self, first: int, second: int) -> bool:
        """Whether two answers count as one."""
        ...


def status_of(*, answered: IntArray, support_ppm: IntArray, margin_ppm: IntArray, rule: ConsensusRule) -> IntArray:
    """Judge each prompt: enough clients, enough support, enough margin.

    Fewer than ``rule.min_clients`` answers are always `Status.TOO_FEW`, whatever they say.
    """
    agreed = (support_ppm >= rule.min_support_ppm) & (margin_ppm >= rule.min_margin_ppm)
    judged = np.where(agreed, int(Status.AGREED), int(Status.CONTESTED))
    enough = answered >= max(rule.min_clients, 1)
    return np.where(enough, judged, int(Status.TOO_FEW)).astype(np.int64)


def tolerance(winner_count: IntArray, rival_count: IntArray, rule: ConsensusRule) -> IntArray:
    """How many clients could change their answers at will, and the winner would still win.

    With weights in ``[low, high]``, ``f`` liars leave the winner at least ``(a - f) * low`` and give no
    rival more than ``(b + f) * high``; the result is the largest ``f`` for which the first is greater,
    and 0 where there is none. With equal weights that is ``floor((a - b - 1) / 2)``.
    """
    low = MAX_WEIGHT_PPM if rule.weights == "equal" else MIN_WEIGHT_PPM
    lead = winner_count * low - rival_count * MAX_WEIGHT_PPM
    certified: IntArray = np.maximum((lead - 1) // (low + MAX_WEIGHT_PPM), 0)
    return certified


def tie_key(nonce: bytes, prompt_id: str, label: bytes) -> bytes:
    """Order of tied labels: SHA-256 over the round's nonce, the prompt and the label, never an index."""
    prompt = prompt_id.encode()
    return hashlib.sha256(nonce + len(prompt).to_bytes(4, "big") + prompt + label).digest()
