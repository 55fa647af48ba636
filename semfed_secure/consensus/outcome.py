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

from semfed_secure.ids import Digest, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.wire.messages import ConsensusRule

PPM = 1_000_000
MIN_WEIGHT_PPM = 500_000
"""No behaviour takes more than half of a client's weight: a wrong suspicion must stay cheap."""
MAX_WEIGHT_PPM = PPM
FLOOR_PPM = 20_000
"""Gold answers may take more, and never everything."""
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

    def part(self, prompts: slice) -> Outcomes:
        """Those of some prompts."""
        return Outcomes(*(getattr(self, name)[..., prompts] for name in Outcomes.__slots__))


def join(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of consecutive prompts as one."""
    return Outcomes(*(np.concatenate([getattr(one, name) for one in parts], axis=-1) for name in Outcomes.__slots__))


class Evidence(Protocol):
    """The admitted answers of one round, of either output kind."""

    @property
    def answers(self) -> IntArray:
        """Index of each answer, or `ABSTAIN`, ``(clients, prompts)``."""
        ...

    def agreements(self, among: BoolArray | None = None) -> IntArray:
        """On how many prompts each two clients said the same, ``(clients, clients)``.

        With ``among``, ``(clients, prompts)``, only answers marked there count.
        """
        ...

    def outweighed(self, weights: IntArray) -> BoolArray:
        """Whose answer has less weight behind it than another answer to its prompt, ``(clients, prompts)``."""
        ...

    def consensus(self, weights: IntArray, *, rule: ConsensusRule) -> Outcomes:
        """Apply the rule with these weights."""
        ...

    def without(self, client: int) -> Evidence:
        """The same round as if ``client`` had not taken part."""
        ...

    def part(self, prompts: slice) -> Evidence:
        """The answers to some prompts, with what a consensus on them asks for and no more."""
        ...

    def same_meaning(self, first: int, second: int) -> bool:
        """Whether two answers count as one."""
        ...


def status_of(*, answered: IntArray, support_ppm: IntArray, margin_ppm: IntArray, rule: ConsensusRule) -> IntArray:
    """Judge each prompt: enough clients, enough support, enough margin.

    Fewer than ``rule.min_clients`` answers are always `Status.TOO_FEW`, whatever they say; proposals never agree.
    """
    agreed = (support_ppm >= rule.min_support_ppm) & (margin_ppm >= rule.min_margin_ppm)
    agreed &= rule.name != "proposals"
    judged = np.where(agreed, int(Status.AGREED), int(Status.CONTESTED))
    enough = answered >= max(rule.min_clients, 1)
    return np.where(enough, judged, int(Status.TOO_FEW)).astype(np.int64)


def tolerance(
    winner_count: IntArray,
    rival_count: IntArray,
    *,
    top: IntArray,
    rival: IntArray,
    weights: IntArray,
    rule: ConsensusRule,
) -> IntArray:
    """How many clients could change their answers at will, and the winner would still win.

    Under ``equal`` an answer moves no weight: ``f`` liars take at most twice their weight from the lead, and the
    result is the largest ``f`` for which twice the ``f`` heaviest clients weigh less than the lead; with ``a`` against
    ``b`` clients that is ``floor((a - b - 1) / 2)``.

    Under ``agreement`` answers move weights inside ``[low, high]``: the liars leave the winner at least
    ``(a - f) * low`` and give no rival more than ``(b + f) * high``, and the first must be greater.

    Under ``anchored`` an answer to this prompt moves no weight to less than half or more than double of what it is, cap
    and scale included: half of what the liars leave the winner must be more than twice the rival with them. An answer
    to a gold prompt moves more, and is certified nothing by `evaluate`.
    """
    if rule.weights == "agreement":
        spare = winner_count * MIN_WEIGHT_PPM - rival_count * MAX_WEIGHT_PPM
        by_count: IntArray = np.maximum((spare - 1) // (MIN_WEIGHT_PPM + MAX_WEIGHT_PPM), 0)
        return by_count
    heaviest = np.cumsum(np.sort(weights)[::-1])
    if rule.weights == "anchored":
        rounding = 10 * len(weights)
        return np.searchsorted(5 * heaviest, top - 4 * rival - rounding, side="left").astype(np.int64)
    return np.searchsorted(2 * heaviest, top - rival, side="left").astype(np.int64)


def tie_seed(nonce: bytes, commitments_root: Digest) -> Digest:
    """What ties are broken by: nobody knew it when they committed, and nobody changes it by what they open."""
    return sha256(nonce + commitments_root)


def tie_key(nonce: bytes, prompt_id: str, label: bytes) -> bytes:
    """Order of tied labels: SHA-256 over the round's nonce, the prompt and the label, never an index."""
    prompt = prompt_id.encode()
    return hashlib.sha256(nonce + len(prompt).to_bytes(4, "big") + prompt + label).digest()
