"""Ways to the server without a network, honest and otherwise: each misbehaviour is one small class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.tiles import read_tile
from semfed_secure.client.replies import entry_tile, pick_entry
from semfed_secure.client.transport import RoundSummary
from semfed_secure.errors import PeerError
from semfed_secure.ids import RoundId
from semfed_secure.server.witnesses import newest_checkpoint, take_cosignature

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import Digest
    from semfed_secure.server.context import ServerContext
    from semfed_secure.server.coordinator import Coordinator


class LocalTransport:
    """The production `Transport`, answered by a coordinator in this process.

    Every call first lets the coordinator do what is due, as a running server does all the time. Refusals arrive as
    they do over HTTP.
    """

    def __init__(self, coordinator: Coordinator, context: ServerContext) -> None:
        """Ask ``coordinator``."""
        self._coordinator, self._context = coordinator, context

    def roster(self) -> bytes:
        """The newest roster file."""
        return self._context.rosters.data()

    def rounds(self) -> tuple[RoundSummary, ...]:
        """Every round and its state."""
        self._coordinator.advance()
        return tuple(RoundSummary(RoundId(head.round_id), head.state) for head in self._coordinator.rounds())

    def manifest(self, round_id: RoundId) -> bytes:
        """The signed manifest."""
        self._coordinator.advance()
        return _asked(lambda: self._coordinator.store.manifest(round_id))

    def prompts(self, digest: Digest) -> bytes:
        """The prompt set."""
        return _asked(lambda: self._coordinator.store.prompts(digest))

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """The receipt."""
        self._coordinator.advance()
        return _asked(lambda: self._coordinator.receive(round_id, body).receipt)

    def commitments(self, round_id: RoundId) -> bytes:
        """The signed list of commitments."""
        self._coordinator.advance()
        return _asked(lambda: self._coordinator.commitments(round_id))

    def consensus(self, round_id: RoundId) -> bytes:
        """The signed consensus."""
        self._coordinator.advance()
        return _asked(lambda: self._coordinator.consensus(round_id))

    def consensus_proof(self, round_id: RoundId) -> str:
        """Its place in the log."""
        return _asked(lambda: self._coordinator.consensus_proof(round_id).encode()).decode()

    def checkpoint(self) -> str:
        """The newest checkpoint, with cosignatures."""
        return newest_checkpoint(self._context)

    def cosign(self, note: str) -> None:
        """A witness's cosignature."""
        _asked(lambda: str(take_cosignature(self._context, note.encode())).encode())

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the log grew."""
        try:
            return self._context.audit.consistency_proof(old, new)
        except ValueError as error:
            raise PeerError("SF342", "the server refused: no such sizes") from error

    def log_entry(self, index: int, size: int) -> bytes:
        """One entry of the server's log."""
        with self._context.database.snapshot() as tx:
            bundle = read_tile(tx, entry_tile(index, size))
        return pick_entry(bundle or b"", index)


class TransportWrapper:
    """Passes everything on; sub-classes change one thing."""

    def __init__(self, inner: Transport) -> None:
        """Ask ``inner``."""
        self._inner = inner

    def answered(self, message: str, data: bytes) -> bytes:
        """What the client gets to see of an answer; ``message`` is the method that was called."""
        del message
        return data

    def sent(self, body: bytes) -> bytes:
        """What the server gets to see of a posted body."""
        return body

    def roster(self) -> bytes:
        """Passed on."""
        return self.answered("roster", self._inner.roster())

    def rounds(self) -> tuple[RoundSummary, ...]:
        """Passed on."""
        return self._inner.rounds()

    def manifest(self, round_id: RoundId) -> bytes:
        """Passed on."""
        return self.answered("manifest", self._inner.manifest(round_id))

    def prompts(self, digest: Digest) -> bytes:
        """Passed on."""
        return self.answered("prompts", self._inner.prompts(digest))

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Passed on."""
        return self.answered("post", self._inner.post(round_id, self.sent(body)))

    def commitments(self, round_id: RoundId) -> bytes:
        """Passed on."""
        return self.answered("commitments", self._inner.commitments(round_id))

    def consensus(self, round_id: RoundId) -> bytes:
        """Passed on."""
        return self.answered("consensus", self._inner.consensus(round_id))

    def consensus_proof(self, round_id: RoundId) -> str:
        """Passed on."""
        return self._inner.consensus_proof(round_id)

    def checkpoint(self) -> str:
        """Passed on."""
        return self._inner.checkpoint()

    def cosign(self, note: str) -> None:
        """Passed on."""
        self._inner.cosign(note)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Passed on."""
        return self._inner.consistency(old, new)

    def log_entry(self, index: int, size: int) -> bytes:
        """Passed on."""
        return self.answered("log_entry", self._inner.log_entry(index, size))


class Silent(TransportWrapper):
    """A site that never sends: declined, crashed or late, nobody can tell."""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Nothing is sent.

        Raises:
            PeerError: SF341, always.
        """
        raise PeerError("SF341", f"{len(body)} bytes for {round_id} were not sent")


class Unreachable(TransportWrapper):
    """A network that loses the first answers to a post, after the server has taken it."""

    def __init__(self, inner: Transport, *, losses: int = 1) -> None:
        """Lose ``losses`` answers."""
        super().__init__(inner)
        self.losses = losses
        self.posted: list[bytes] = []

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """The server hears it; the first answers get lost.

        Raises:
            PeerError: SF341 for each lost answer.
        """
        self.posted.append(body)
        receipt = self._inner.post(round_id, body)
        if len(self.posted) <= self.losses:
            raise PeerError("SF341", "the answer got lost")
        return receipt


class Garbling(TransportWrapper):
    """A site whose bundle arrives with one flipped bit in its last byte: inside the sealed blob."""

    def sent(self, body: bytes) -> bytes:
        """The body, broken."""
        return flipped(body, len(body) - 1)


class Altering(TransportWrapper):
    """A server, or somebody on the way, who alters answers: ``Altering(inner, manifest=lambda data: …)``.

    The names are those of the transport's methods; `flipped` makes the smallest alteration.
    """

    def __init__(self, inner: Transport, **alterations: Callable[[bytes], bytes]) -> None:
        """Alter the named answers."""
        super().__init__(inner)
        self._alterations = alterations

    def answered(self, message: str, data: bytes) -> bytes:
        """The answer, altered if it is one of the named."""
        alter = self._alterations.get(message)
        return data if alter is None else alter(data)


def flipped(data: bytes, at: int) -> bytes:
    """``data`` with the lowest bit of byte ``at`` flipped; negative counts from the end."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def _asked(ask: Callable[[], bytes]) -> bytes:
    """What a coordinator's refusal looks like after HTTP: SF342 with the server's code."""
    try:
        return ask()
    except PeerError as error:
        raise PeerError("SF342", f"the server refused: {error.code}", server_code=error.code) from error
