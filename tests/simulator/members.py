"""What a member may do, one class each: the honest one, and every liar that is one of them with valid keys."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.crypto.keys import SealingKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import PeerError
from semfed_secure.ids import sha256
from semfed_secure.testing import TransportWrapper, flipped
from semfed_secure.units import OutputKind
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    STATEMENT_LIMITS,
    Contribution,
    ContributionStatement,
    MessageType,
    Payload,
    commit,
    encode_contribution,
    encode_payload,
    encode_statement,
    parse_contribution,
    parse_statement,
    statement_info,
)
from tests.simulator.world import FIRST, SECOND, TRUTH, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId
    from tests.simulator.seats import Seat

LIE = dict.fromkeys(TRUTH, "eye")
"""What liars answer where they get to answer."""


class Honest:
    """Does what the software does: each step of each round, and once more when the network failed."""

    knows = TRUTH

    def play(self, seat: Seat) -> Iterator[Phase]:
        """Take every step; each ``yield`` says when the next one is due."""
        for round_id in seat.world.rounds:
            yield Phase.OPEN
            seat.step(round_id, "join", lambda joined: joined, self.knows)
            yield Phase.OPEN
            if seat.ended[round_id, "join"] == "done":
                seat.step(round_id, "contribute", lambda joined: joined.contribute(), self.knows)
        if seat.world.kind is OutputKind.TEXT:
            for round_id in seat.world.rounds:
                yield Phase.OPENING
                self.open(seat, round_id)
        for round_id in seat.world.rounds:
            yield Phase.CLOSED
            seat.collect(round_id, self.knows)

    def open(self, seat: Seat, round_id: RoundId) -> None:
        """Open what was committed to, which waiting for the consensus does; there is none yet."""
        seat.step(round_id, "open", lambda joined: joined.wait_for_consensus(), self.knows)


class Restarting(Honest):
    """Honest, and each step is taken by another process."""

    def play(self, seat: Seat) -> Iterator[Phase]:
        """Forget everything between the steps."""
        for phase in super().play(seat):
            yield phase
            seat.restart()


class Liar(Honest):
    """A member with valid keys whose software does something else; what must come of it stands at each `Seat.post`."""

    knows = LIE

    def play(self, seat: Seat) -> Iterator[Phase]:
        """Lie in every round while it is open, then look at the result like everybody."""
        for round_id in seat.world.rounds:
            yield Phase.OPEN
            body = finished(seat, round_id)
            yield from self.lie(seat, round_id, body)
        for round_id in seat.world.rounds:
            yield Phase.CLOSED
            seat.collect(round_id, self.knows)

    @abstractmethod
    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """What happens instead of posting ``body`` once."""


class Silent(Liar):
    """Finishes its contribution and never sends it."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Nothing."""
        yield from ()


class Late(Liar):
    """Sends when the round is over."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Wait, then post."""
        if round_id == seat.world.rounds[-1]:
            yield Phase.CLOSED
            for each in seat.world.rounds:
                seat.post(each, finished(seat, each), expect="SF304")


class Replaying(Liar):
    """Sends its own bytes and everybody else's, again and again: each gets the one receipt it got before."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Own bytes three times, then those of others that arrived in this round, then all of it after the end."""
        first = seat.post(round_id, body, expect="admitted")
        yield Phase.OPEN
        assert seat.post(round_id, body, expect="admitted", again=True) == first
        arrived = [
            each
            for each in seat.world.transcript.posted(end="server")
            if each.member in seat.world.honest and each.asked == (round_id,) and each.answered
        ]
        for each in arrived:
            assert each.sent is not None
            assert each.answered is not None
            said = seat.post(round_id, each.sent, expect="admitted", again=True)
            assert said == each.answered
        if round_id == seat.world.rounds[-1]:
            yield Phase.CLOSED
            assert seat.post(round_id, body, expect="admitted", again=True) == first


class Equivocating(Liar):
    """Sends a second, different contribution, valid by itself."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """One answer, then another one; the first stands, and the second is answered the same when it comes again."""
        seat.post(round_id, body, expect="admitted")
        yield Phase.OPEN
        other = answered(seat, body, votes=(1, 1, 1, 1, 1, 1))
        refusal = seat.post(round_id, other, expect="SF309")
        assert seat.post(round_id, other, expect="SF309", again=True) == refusal


class Garbling(Liar):
    """Sends bytes with one flipped bit: in the sealed blob in one round, in the signed part in the other."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """A refusal does not fill the slot: a contribution made anew would be admitted."""
        if round_id == FIRST:
            seat.post(round_id, flipped(body, -1 - seat.random.randrange(100)), expect="SF311")
            yield Phase.OPEN
            seat.post(round_id, answered(seat, body, votes=(3, 3, 3, 3, 3, 3)), expect="admitted")
        else:
            nonce = body.index(taken(body).nonce)
            seat.post(round_id, flipped(body, nonce + seat.random.randrange(32)), expect="SF305")


class Truncating(Liar):
    """Sends the beginning of its contribution."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Cut anywhere, the bytes are no contribution."""
        for _ in range(3):
            seat.post(round_id, body[: seat.random.randrange(len(body))], expect="SF302")
        yield from ()


class Forwarding(Liar):
    """Carries its own contribution from one round to the other, as it is, and signed anew for the other round."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """What was sealed for one round opens in no other."""
        if round_id == FIRST:
            seat.post(FIRST, body, expect="admitted")
            self._carried = body
        else:
            yield Phase.OPEN
            seat.post(SECOND, self._carried, expect="SF304")
            blob = parse_contribution(self._carried).sealed[0]
            statement = replace(taken(body), ciphertext_digests=(sha256(blob),))
            seat.post(SECOND, signed(seat, statement, blob), expect="SF312")


class Copying(Liar):
    """Has no answers of its own: takes somebody else's contribution and puts its own name on it, or theirs."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Waits until somebody has answered; what was sealed under one name opens under no other."""
        yield Phase.OPEN
        arrived = [
            each.sent
            for each in seat.world.transcript.posted(end="server")
            if each.member in seat.world.honest and each.asked == (round_id,) and each.answered and each.sent
        ]
        if arrived:
            theirs = seat.random.choice(arrived)
            blob, statement = parse_contribution(theirs).sealed[0], taken(theirs)
            mine = replace(statement, sender=seat.name, signing_key_id=seat.keys.signing.key_id)
            seat.post(round_id, signed(seat, mine, blob), expect="SF312")
            seat.post(round_id, signed(seat, replace(statement, created_at_ms=99), blob), expect="SF307")


class Revoked(Liar):
    """Is revoked after it was admitted, and goes on."""

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Nothing new is taken from it, and what was taken does not count; its old receipt is what it was."""
        first = seat.post(round_id, body, expect="admitted")
        yield Phase.OPEN
        seat.world.revoke(seat.name)
        seat.post(round_id, answered(seat, body, votes=(1, 1, 1, 1, 1, 1)), expect="SF306")
        assert seat.post(round_id, body, expect="admitted", again=True) == first


LIARS = (Silent, Late, Replaying, Equivocating, Garbling, Truncating, Forwarding, Copying)


# -- what liars make of bytes -------------------------------------------------------------------------------


class _Held(TransportWrapper):
    """Keeps a finished contribution from leaving."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.body = b""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Hold it back."""
        self.body = body
        raise PeerError("SF341", "held back")


def finished(seat: Seat, round_id: RoundId) -> bytes:
    """The contribution that the member's own software finished, not sent; the same bytes each time."""
    held = _Held(seat.line)
    client = seat.client(LIE)
    joined = client.join(round_id)
    joined._transport = held
    try:
        joined.contribute()
    except PeerError as error:
        if error.code != "SF341":
            raise
    return held.body


def taken(body: bytes) -> ContributionStatement:
    """The statement in a contribution."""
    envelope = parse_signed(parse_contribution(body).statement, limits=signed_limits(STATEMENT_LIMITS))
    return parse_statement(envelope.payload)


def signed(seat: Seat, statement: ContributionStatement, *blobs: bytes) -> bytes:
    """A contribution with this member's signatures on any statement."""
    message = sign(MessageType.STATEMENT, encode_statement(statement), seat.keys.signing)
    return encode_contribution(Contribution(message, blobs))


def answered(seat: Seat, body: bytes, *, votes: tuple[int, ...]) -> bytes:
    """Another contribution of the same member to the same round, valid in every part."""
    statement = taken(body)
    terms = seat.world.federation.coordinator.store.terms(statement.round_id).manifest
    payload = Payload(salt=seat.random.randbytes(32), kind=OutputKind.VOTES, votes=votes)
    plaintext = encode_payload(payload)
    other = replace(
        statement,
        commitment=commit(payload.salt, plaintext),
        ciphertext_digests=(),
    )
    blob = seal(plaintext, info=statement_info(other), to=SealingKey.parse(terms.recipient_key))
    return signed(seat, replace(other, ciphertext_digests=(sha256(blob),)), blob)
