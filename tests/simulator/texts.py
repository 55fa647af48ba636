"""What may go wrong where texts are committed to first, and opened when nobody can commit any more."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.crypto.keys import SealingKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.ids import Digest, hex_digest, sha256
from semfed_secure.server.forming import batch_root
from semfed_secure.server.receipts import placed
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import (
    COMMITMENTS_LIMITS,
    CONSENSUS_LIMITS,
    MessageType,
    Payload,
    commit,
    encode_commitments,
    encode_consensus,
    encode_contribution,
    encode_payload,
    parse_commitments,
    parse_consensus,
    parse_contribution,
    statement_info,
)
from tests.simulator.members import Liar, signed, taken
from tests.simulator.servers import Mischief, payload_of
from tests.simulator.world import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId
    from semfed_secure.wire.messages import Commitments, Contribution
    from tests.simulator.seats import Seat
    from tests.simulator.world import World

COPIED = ("heart",) * 6


class NeverOpening(Liar):
    """Commits, sees who else did, and keeps its texts to itself."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """The slot is filled, nothing counts, and the log says why."""
        seat.post(round_id, body, expect="committed")
        seat.world.expected[seat.name, round_id].append("SF316")
        yield Phase.OPENING


class OpeningAnother(Liar):
    """Commits to one answer, and opens another one that it likes better now."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Other bytes than the signed ones are held against nobody; the true ones may still come."""
        whole = opened(seat, round_id, texts=COPIED)
        bare = encode_contribution(replace(whole, sealed=()))
        seat.post(round_id, bare, expect="committed")
        yield Phase.OPENING
        other = opened(seat, round_id, texts=COPIED)
        seat.post(round_id, encode_contribution(replace(whole, sealed=other.sealed)), expect="SF311")
        seat.post(round_id, encode_contribution(whole), expect="admitted")
        seat.post(round_id, encode_contribution(other), expect="SF304")


class CommittingToNothing(Liar):
    """Commits to one payload and signs the digest of another, to decide later which one it was."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """The commitment decides."""
        whole = opened(seat, round_id, texts=COPIED, commitment=bytes(32))
        seat.post(round_id, encode_contribution(replace(whole, sealed=())), expect="committed")
        yield Phase.OPENING
        seat.post(round_id, encode_contribution(whole), expect="SF313")


class CommittingTwice(Liar):
    """Commits to two answers, to open the one that fits."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """The first stands."""
        first, second = opened(seat, round_id, texts=COPIED), opened(seat, round_id, texts=COPIED[::-1])
        seat.post(round_id, encode_contribution(replace(first, sealed=())), expect="committed")
        seat.post(round_id, encode_contribution(replace(second, sealed=())), expect="SF309")
        yield Phase.OPENING
        seat.post(round_id, encode_contribution(second), expect="SF309", again=True)
        seat.post(round_id, encode_contribution(first), expect="admitted")


class CommittingLate(Liar):
    """Waits for somebody's texts to arrive, and commits to them then."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """When the first text can be seen, nobody can commit any more."""
        yield Phase.OPENING
        seat.post(round_id, body, expect="SF304")
        yield Phase.CLOSED
        seat.post(round_id, encode_contribution(opened(seat, round_id, texts=COPIED)), expect="SF304")


TEXT_LIARS = (NeverOpening, OpeningAnother, CommittingToNothing, CommittingTwice, CommittingLate)


class _OtherCommitments(Mischief):
    """Shows a list of commitments of its own, well signed."""

    codes = frozenset({"SF329"})

    def commitments(self, round_id: RoundId) -> bytes:
        """Another list under the same place in the log."""
        commitments = parse_commitments(payload_of(super().commitments(round_id), COMMITMENTS_LIMITS))
        other = replace(commitments, statements=tuple(sorted(self.other(list(commitments.statements)))))
        return sign(MessageType.COMMITMENTS, encode_commitments(other), self.world.federation.context.keys.signing)

    @abstractmethod
    def other(self, statements: list) -> list:  # type: ignore[type-arg]
        """What it is made to hold."""


class LeavingOut(_OtherCommitments):
    """Forgets what the member committed to, but would read its texts."""

    def other(self, statements: list) -> list:  # type: ignore[type-arg]
        """Without the member's own."""
        posted = self.world.transcript.posted(end="member", member=self.name)
        own = {taken(each.sent).digest for each in posted if each.sent}
        return [each for each in statements if each not in own]


class KeepingASeat(_OtherCommitments):
    """Keeps a place free for a commitment that is made when the texts are known."""

    def other(self, statements: list) -> list:  # type: ignore[type-arg]
        """With one more."""
        return [*statements, sha256(b"to be made up later")]


LISTS = (LeavingOut, KeepingASeat)


class LoggingTwoLists(Mischief):
    """Shows the member a list with a seat kept free, under a log entry of its own, and a consensus over that list.

    The member cannot tell from the list: it is signed, logged, and holds its own statement. So its texts are read
    early; but no log entry publishes the consensus that it is shown, and both lists stand in the log for ever.
    """

    codes = frozenset({"SF325"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Nothing is shown yet."""
        super().__init__(inner, world, name)
        self._shown: bytes | None = None
        self._root = Digest(bytes(32))

    def commitments(self, round_id: RoundId) -> bytes:
        """The same second list each time."""
        if self._shown is None:
            self._shown = self._second(parse_commitments(payload_of(super().commitments(round_id), COMMITMENTS_LIMITS)))
        return self._shown

    def consensus(self, round_id: RoundId) -> bytes:
        """The true one, but for the list that it is said to be over."""
        consensus = parse_consensus(payload_of(super().consensus(round_id), CONSENSUS_LIMITS))
        other = replace(consensus, commitments_root=self._root)
        return sign(MessageType.CONSENSUS, encode_consensus(other), self.world.federation.context.keys.signing)

    def _second(self, true: Commitments) -> bytes:
        context = self.world.federation.context
        statements = tuple(sorted([*true.statements, sha256(b"to be made up when the texts are known")]))
        self._root = batch_root(statements)
        event = Event(
            type=EventType.COMMITMENTS_CLOSED,
            outcome="success",
            actor=context.member,
            round_id=true.round_id,
            details={"committed": len(statements), "commitments_root": hex_digest(self._root)},
        )
        with context.database.transaction() as tx:
            index = context.audit.append(event, tx)
            checkpoint, proof = placed(tx, context, index)
        place = {"log_index": index, "log_checkpoint": checkpoint, "inclusion_proof": proof}
        second = replace(true, statements=statements, **place)
        return sign(MessageType.COMMITMENTS, encode_commitments(second), context.keys.signing)


def opened(seat: Seat, round_id: RoundId, *, texts: tuple[str, ...], commitment: bytes | None = None) -> Contribution:
    """A contribution of this member with any texts, and any commitment."""
    from tests.simulator.members import finished

    statement = taken(finished(seat, round_id))
    terms = seat.world.federation.coordinator.store.terms(round_id).manifest
    payload = Payload(salt=seat.random.randbytes(32), kind=OutputKind.TEXT, texts=texts)
    plaintext = encode_payload(payload)
    if commitment is None:
        commitment = commit(payload.salt, plaintext)
    other = replace(statement, commitment=commitment, ciphertext_digests=())
    blob = seal(plaintext, info=statement_info(other), to=SealingKey.parse(terms.recipient_key))
    return parse_contribution(signed(seat, replace(other, ciphertext_digests=(sha256(blob),)), blob))
