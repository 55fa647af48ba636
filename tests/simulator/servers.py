"""What a server may lie about: its keys, the roster, its manifests, its log; one class each, with its code."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.notes import Note, parse_note
from semfed_secure.crypto.keys import OpeningKey, SigningKey
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import PeerError
from semfed_secure.testing import TransportWrapper
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    MANIFEST_LIMITS,
    RECEIPT_LIMITS,
    MessageType,
    encode_manifest,
    encode_receipt,
    parse_manifest,
    parse_receipt,
)

if TYPE_CHECKING:
    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId
    from semfed_secure.wire.cbor import Limits
    from semfed_secure.wire.messages import RoundManifest
    from tests.simulator.world import World


class Mischief(TransportWrapper):
    """Does something to one member's line; the server at its end is honest.

    Attributes:
        codes: What the member says that it was shown. Without any, it must come through unharmed.
        rounds: How many rounds it takes to be seen.
        witnesses: How many must vouch for the server's log, in the world that it needs.
    """

    codes: ClassVar[frozenset[str]] = frozenset()
    rounds: ClassVar[int] = 1
    witnesses: ClassVar[int] = 0

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Stand between the member ``name`` and what is further on."""
        super().__init__(inner)
        self.world, self.name, self.random = world, name, world.random

    def signed_manifest(self, data: bytes, **changes: object) -> bytes:
        """The manifest with ``changes``, signed with the server's own key."""
        manifest = replace(_manifest(data), **changes)  # type: ignore[arg-type]
        return sign(MessageType.MANIFEST, encode_manifest(manifest), self.world.federation.context.keys.signing)


# -- keys ---------------------------------------------------------------------------------------------------


class SubstitutedKey(Mischief):
    """Announces rounds in the server's name, with keys of its own to sign and to seal to."""

    codes = frozenset({"SF321"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Make the keys."""
        super().__init__(inner, world, name)
        self._signing, self._opening = SigningKey.generate(), OpeningKey.generate()

    def manifest(self, round_id: RoundId) -> bytes:
        """The true terms, but one can read what is sealed to them."""
        manifest = replace(_manifest(super().manifest(round_id)), recipient_key=self._opening.public.encode())
        return sign(MessageType.MANIFEST, encode_manifest(manifest), self._signing)


# -- rosters ------------------------------------------------------------------------------------------------


class _AnotherRoster(Mischief):
    """Shows the newest roster once, and later another."""

    codes = frozenset({"SF322"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Let a second roster be published, before any member looks."""
        super().__init__(inner, world, name)
        self._first = inner.roster()
        world.federation.publish_roster(sequence=2)
        self._shown = 0

    def roster(self) -> bytes:
        """The true one first."""
        self._shown += 1
        return super().roster() if self._shown == 1 else self.other()

    @abstractmethod
    def other(self) -> bytes:
        """What is shown later."""


class OldRoster(_AnotherRoster):
    """Goes back to a roster on which somebody who left is still a member."""

    def other(self) -> bytes:
        """The one before."""
        return self._first


class ForkedRoster(_AnotherRoster):
    """Shows this member another roster under the number of the one that it has seen, with the root's signature."""

    def other(self) -> bytes:
        """As new as the true one, with another content."""
        return self.world.federation.sign_roster(2, expires_in=timedelta(days=30))


# -- manifests ----------------------------------------------------------------------------------------------


class TwoManifests(Mischief):
    """Shows the member another manifest of a round that it has joined."""

    codes = frozenset({"SF324"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Nothing is shown yet."""
        super().__init__(inner, world, name)
        self._shown: set[RoundId] = set()

    def manifest(self, round_id: RoundId) -> bytes:
        """The true one first."""
        data = super().manifest(round_id)
        if round_id not in self._shown:
            self._shown.add(round_id)
            return data
        return self.signed_manifest(data, nonce=self.random.randbytes(32))


class ForkedManifest(Mischief):
    """Shows the member a manifest of its own from the start: nothing that it contributes to is what others know."""

    codes = frozenset({"SF305", "SF325"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Decide on the other terms."""
        super().__init__(inner, world, name)
        self._nonce = self.random.randbytes(32)

    def manifest(self, round_id: RoundId) -> bytes:
        """The same other terms each time."""
        return self.signed_manifest(super().manifest(round_id), nonce=self._nonce)


# -- logs ---------------------------------------------------------------------------------------------------


class _SecondHistory(Mischief):
    """Holds the server's keys, and a copy of its disk on which a history of its own grows."""

    codes = frozenset({"SF323"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Make the copy, before anybody contributes."""
        super().__init__(inner, world, name)
        self._fork = world.fork()

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """From whichever history has these sizes."""
        for log in (self._fork.transport(), self._inner):
            try:
                return log.consistency(old, new)
            except PeerError:
                continue
        raise PeerError("SF342", "the server refused: no such sizes")


class RewoundLog(_SecondHistory):
    """Is restored from a backup once the member holds a receipt, and goes on from there."""

    rounds = 2
    _restored = False

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """What the backup does not know is forgotten."""
        if self._restored:
            return self._fork.transport().post(round_id, body)
        self._restored = True
        return super().post(round_id, body)


class ForkedLog(_SecondHistory):
    """Keeps a log for this member alone, beside the one that everybody else sees."""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """The receipt is in the second history only."""
        return self._fork.transport().post(round_id, body)

    def log_entry(self, index: int, size: int) -> bytes:
        """As the receipt says."""
        return self._fork.transport().log_entry(index, size)


class UnprovenLog(Mischief):
    """Will not prove that the log it shows extends the one that the member has seen."""

    codes = frozenset({"SF323"})

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Sizes that it does not know, it says."""
        raise PeerError("SF342", f"the server refused: no proof from {old} to {new}")


class StrangersLog(Mischief):
    """Names the checkpoint of a log that nobody on the roster answers for."""

    codes = frozenset({"SF323"})

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Make its key."""
        super().__init__(inner, world, name)
        keys = world.federation.context.keys
        self._signing, self._key = keys.signing, LogSigningKey.generate(keys.log.public.name)

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """The true receipt, but for whose checkpoint it names."""
        from semfed_secure.audit.notes import parse_checkpoint, parse_note, sign_checkpoint

        receipt = parse_receipt(payload_of(super().post(round_id, body), RECEIPT_LIMITS))
        checkpoint = parse_checkpoint(parse_note(receipt.log_checkpoint).text)
        other = replace(receipt, log_checkpoint=sign_checkpoint(checkpoint, self._key, cosigned_at=1))
        return sign(MessageType.RECEIPT, encode_receipt(other), self._signing)


class UnwitnessedLog(_SecondHistory):
    """Announces rounds on the second history, for which no witness vouches."""

    codes, witnesses = frozenset({"SF330"}), 2

    def __init__(self, inner: Transport, world: World, name: str) -> None:
        """Let it grow beyond what was vouched for."""
        super().__init__(inner, world, name)
        self._fork.context.audit.append(Event(type=EventType.LOG_STARTED, outcome="success", actor="server"))

    def manifest(self, round_id: RoundId) -> bytes:
        """The true terms, with a checkpoint that the server signed, and nobody else."""
        return self.signed_manifest(super().manifest(round_id), log_checkpoint=self._fork.transport().checkpoint())


class BorrowedWitnesses(Mischief):
    """Puts what witnesses said of the log as it was under the log as it is."""

    codes, witnesses = frozenset({"SF330"}), 2

    def manifest(self, round_id: RoundId) -> bytes:
        """The newest checkpoint, with lines of an older one."""
        data = super().manifest(round_id)
        old = parse_note(_manifest(data).log_checkpoint)
        new = parse_note(self.world.federation.context.audit.checkpoint())
        note = Note(new.text, (*new.signatures, *old.signatures[2:]))
        return self.signed_manifest(data, log_checkpoint=note.encoded)


def payload_of(data: bytes, limits: Limits) -> bytes:
    """What a signed message says, unverified."""
    return parse_signed(data, limits=signed_limits(limits)).payload


def _manifest(data: bytes) -> RoundManifest:
    return parse_manifest(payload_of(data, MANIFEST_LIMITS))
