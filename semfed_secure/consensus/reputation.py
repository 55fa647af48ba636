"""What earlier rounds of the same server say of each client.

Every round that has passed halves what a round before it counts for, and only the last `ROUNDS` are read. What a client
earns is never above what the present round alone would give, so that good years buy no bad round; and never above what
the present and the earlier rounds give together, so that who misbehaved regains its standing by halves. Weights by gold
prompts are told in terms of the heaviest: where that one's past is bad, the others' figures rise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from semfed_secure.consensus.outcome import PPM, IntArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROUNDS = 8
"""Earlier rounds that count; one more would count for less than half a per cent of the present one."""


class Conduct(NamedTuple):
    """How one client fared in one round, by that round alone.

    Attributes:
        behaviour_ppm: What its agreement with the others earned.
        right: Gold prompts it answered rightly.
        seen: Gold prompts it answered.
    """

    behaviour_ppm: int
    right: int
    seen: int


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier evidence of each client, the round ``n`` before this one counted ``2 ** -n`` times, in millionths.

    Attributes:
        behaviour_ppm: Sum of behaviours, int64 ``(clients,)``.
        rounds_ppm: Rounds in that sum, int64 ``(clients,)``.
        right_ppm: Gold prompts answered rightly, int64 ``(clients,)``.
        seen_ppm: Gold prompts answered, int64 ``(clients,)``.
    """

    behaviour_ppm: IntArray
    rounds_ppm: IntArray
    right_ppm: IntArray
    seen_ppm: IntArray

    def without(self, client: int) -> Past:
        """The same past as if ``client`` had not taken part."""
        columns = (self.behaviour_ppm, self.rounds_ppm, self.right_ppm, self.seen_ppm)
        return Past(*(np.delete(column, client) for column in columns))


def past_of(earlier: Sequence[Mapping[str, Conduct]], members: Sequence[str]) -> Past:
    """The past of ``members``; a round that a client did not take part in says nothing of it, and still passes.

    Args:
        earlier: Conduct by member id in each earlier round, the newest first; all but `ROUNDS` are left aside.
        members: Member id of each row of the evidence.
    """
    sums = np.zeros((4, len(members)), np.int64)
    for ago, conducts in enumerate(earlier[:ROUNDS], 1):
        for row, member in enumerate(members):
            if member in conducts:
                conduct = conducts[member]
                found = (conduct.behaviour_ppm, PPM, conduct.right * PPM, conduct.seen * PPM)
                sums[:, row] += np.array(found, np.int64) >> ago
    return Past(*sums)


def remembered(behaviour_ppm: IntArray, past: Past) -> IntArray:
    """Behaviour of this round, or its mean with the past where that is lower."""
    mean: IntArray = (behaviour_ppm + past.behaviour_ppm) * PPM // (PPM + past.rounds_ppm)
    return np.minimum(behaviour_ppm, mean)
