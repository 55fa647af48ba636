"""What may happen to a member's line: exchanged and broken answers, and a network that loses, repeats and reorders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.crypto.signing import sign
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.testing import flipped
from semfed_secure.wire.messages import CONSENSUS_LIMITS, MessageType, encode_consensus, parse_consensus
from tests.simulator.servers import (
    BorrowedWitnesses,
    ForkedLog,
    ForkedManifest,
    ForkedRoster,
    Mischief,
    OldRoster,
    RewoundLog,
    StrangersLog,
    SubstitutedKey,
    TwoManifests,
    UnprovenLog,
    UnwitnessedLog,
    payload_of,
)

if TYPE_CHECKING:
    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId
    from tests.simulator.world import World

# -- answers ------------------------------------------------------------------------------------------------


class SwappedConsensus(Mischief):
    """Gives out the consensus of the other round."""

    codes, rounds = frozenset({"SF325"}), 2

    def consensus(self, round_id: RoundId) -> bytes:
        """Of the one that was not asked for."""
        (other,) = (name for name in self.world.rounds if name != round_id)
        return super().consensus(other)


class InventedConsensus(Mischief):
    """Signs labels that nobody can have voted for."""

    codes = frozenset({"SF325"})

    def consensus(self, round_id: RoundId) -> bytes:
        """Well signed."""
        consensus = parse_consensus(payload_of(super().consensus(round_id), CONSENSUS_LIMITS))
        results = tuple(
            tuple(replace(result, label="liver") if result.label else result for result in part)
            for part in consensus.results
        )
        message = encode_consensus(replace(consensus, results=results))
        return sign(MessageType.CONSENSUS, message, self.world.federation.context.keys.signing)


class OthersReceipt(Mischief):
    """Answers a contribution with the receipt of somebody else."""

    codes = frozenset({"SF326"})

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Somebody's, as soon as there is one; else that of this member's other round."""
        own = super().post(round_id, body)
        others = [
            each.answered
            for each in self.world.transcript.posted(end="server")
            if each.answered is not None and each.answered != own
        ]
        if not others:
            raise PeerError("SF341", "nobody else has answered yet")
        return self.random.choice(others)


# -- the network, which is not a matter of trust ------------------------------------------------------------


class Dropping(Mischief):
    """Loses requests on their way, and answers on theirs."""

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Lose a handful."""
        super().__init__(inner, world, name)
        self._left = 5

    def _maybe(self, what: str) -> None:
        if self._left and self.random.random() < 0.4:
            self._left -= 1
            raise PeerError("SF341", f"{what} got lost")

    def roster(self) -> bytes:
        """Lost, or not."""
        self._maybe("roster")
        return super().roster()

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Lost before the server hears it, or after, or not."""
        self._maybe("contribution")
        receipt = super().post(round_id, body)
        self._maybe("receipt")
        return receipt

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Lost, or not."""
        self._maybe("proof")
        return super().consistency(old, new)

    def log_entry(self, index: int, size: int) -> bytes:
        """Lost, or not."""
        self._maybe("entry")
        return super().log_entry(index, size)

    def consensus(self, round_id: RoundId) -> bytes:
        """Lost, or not."""
        self._maybe("consensus")
        return super().consensus(round_id)


class Reordering(Mischief):
    """Lets contributions arrive in another order than they were sent, and more than once."""

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Nothing is held back yet."""
        super().__init__(inner, world, name)
        self._held: list[tuple[RoundId, bytes]] = []
        self._heard: set[bytes] = set()

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Held back at first; what is held arrives later, all of it at once, in any order, twice."""
        if body not in self._heard:
            self._heard.add(body)
            self._held.append((round_id, body))
        if self.random.random() < 0.5:
            raise PeerError("SF341", "no answer in time")
        self.random.shuffle(self._held)
        for each in self._held:
            for _ in range(2):
                super().post(*each)
        self._held.clear()
        return super().post(round_id, body)


ANSWERS = ("roster", "manifest", "prompts", "post", "consensus", "log_entry")
"""What a member gets to see of a round of votes, by the calls of `Transport`."""


class GarblingAnswers(Mischief):
    """Flips one bit in one kind of answer, each time."""

    codes = frozenset({"SF321", "SF322", "SF324", "SF325", "SF326", "SF327"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Choose the kind of answer."""
        super().__init__(inner, world, name)
        self._kind = self.random.choice(ANSWERS)

    def answered(self, message: str, data: bytes) -> bytes:
        """One bit of it."""
        return self.change(data) if message == self._kind else data

    def change(self, data: bytes) -> bytes:
        """What is left of an answer."""
        return flipped(data, self.random.randrange(len(data)))


class TruncatingAnswers(GarblingAnswers):
    """Gives the beginning of one kind of answer, each time."""

    def change(self, data: bytes) -> bytes:
        """The beginning of it."""
        return data[: self.random.randrange(len(data))]


class Withholding(Mischief):
    """Takes contributions and never gives out a consensus."""

    codes = frozenset({"SF401"})

    def consensus(self, round_id: RoundId) -> bytes:
        """Not yet, it says."""
        raise ConsensusError("SF401", f"{round_id} is not published yet")


LYING_SERVERS = (
    SubstitutedKey,
    OldRoster,
    ForkedRoster,
    TwoManifests,
    ForkedManifest,
    RewoundLog,
    ForkedLog,
    UnprovenLog,
    StrangersLog,
    UnwitnessedLog,
    BorrowedWitnesses,
    SwappedConsensus,
    InventedConsensus,
    OthersReceipt,
    GarblingAnswers,
    TruncatingAnswers,
    Withholding,
)
BAD_NETWORKS = (Dropping, Reordering)
