"""Keys and key ids: what signs, what verifies, what seals, what opens.

A key is a whole suite's worth of keys under one id, so no half of a hybrid can be used, listed, or replaced alone.
Private keys are 32 bytes per algorithm; they never show their material (`semfed_secure.crypto.private`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from semfed_secure.crypto.parts import SEED_BYTES, PrivatePart, PublicPart, SoftwarePart
from semfed_secure.crypto.private import PrivateKey, Secret
from semfed_secure.crypto.suites import MAX_PARTS, SUITES, Suite
from semfed_secure.errors import PeerError
from semfed_secure.ids import KeyId, hex_digest, sha256
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import Algorithm
from semfed_secure.wire.schema import Codec, Message, WireValueError, choice, many, octets, record, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.crypto.kems import KemPrivate, KemPublic
    from semfed_secure.wire.cbor import Value

__all__ = ["KEY_LIMITS", "OpeningKey", "SealingKey", "SigningKey", "Suite", "VerificationKey"]

KEY_LIMITS = Limits(max_bytes=4 * 1024)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """The public keys of one suite under one id.

    Attributes:
        suite: Names the algorithms that may go together.
        parts: One public key per algorithm, in the order of a row of `semfed_secure.crypto.suites.SUITES`.
    """

    suite: Suite
    parts: tuple[PublicPart, ...]

    @property
    def key_id(self) -> KeyId:
        """``sha256:`` of the encoded key; covers the suite, and every part with its algorithm."""
        return _id_of(self)

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """The algorithms whose signatures a message of this key carries, in this order: all must verify."""
        return tuple(part.algorithm for part in self.parts)

    def encode(self) -> bytes:
        """The deterministic bytes of this key."""
        return _VERIFICATION_KEY.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> VerificationKey:
        """Read a key back, refusing algorithms that are not the suite's and any part that is no key of its algorithm.

        Raises:
            PeerError: ``SF301``, ``SF302`` or ``SF303``.
        """
        key = _VERIFICATION_KEY.parse(data)
        try:
            for part in key.parts:
                part.load()
        except ValueError:
            raise PeerError("SF302", f"the public keys of suite {key.suite} were expected") from None
        return key


class SigningKey(PrivateKey):
    """The private keys of one suite: signs as one member.

    The classical part may lie outside this process, in an HSM or a key service; the others never do.
    """

    __slots__ = ("_parts", "_public")

    def __init__(self, suite: Suite, parts: Sequence[PrivatePart]) -> None:
        """Put ``parts`` together; use `generate` or a key file instead.

        Raises:
            ValueError: Their algorithms are not a row of the suite.
        """
        self._parts = tuple(parts)
        self._public = VerificationKey(suite, tuple(part.public for part in self._parts))
        if self._public.algorithms not in SUITES[suite].signatures:
            raise ValueError(f"the algorithms of suite {suite} were expected")

    @classmethod
    def generate(cls, suite: Suite = Suite.HYBRID_PQ, *, outside: PrivatePart | None = None) -> SigningKey:
        """A new key from the operating system's generator, around the first part if that lies ``outside``.

        Raises:
            ValueError: The suite has no place for the algorithm of ``outside``.
        """
        rows = SUITES[suite].signatures
        if outside is None:
            return cls(suite, [SoftwarePart.generate(algorithm) for algorithm in rows[0]])
        fitting = [row for row in rows if row[0] is outside.public.algorithm]
        if not fitting:
            raise ValueError(f"a key for suite {suite} was expected, found one for {outside.public.algorithm.name}")
        return cls(suite, [outside, *(SoftwarePart.generate(algorithm) for algorithm in fitting[0][1:])])

    @classmethod
    def from_secret(
        cls,
        suite: Suite,
        secret: bytes,
        *,
        algorithms: tuple[Algorithm, ...] | None = None,
        outside: PrivatePart | None = None,
    ) -> SigningKey:
        """The key that `export_secret` gave, around the first part if that lies ``outside``.

        Args:
            suite: Its suite.
            secret: The parts that do not lie outside.
            algorithms: Its algorithms; without them those that the suite's keys usually have.
            outside: Its first part, in an HSM or a key service.

        Raises:
            ValueError: ``secret`` is not one private key per algorithm.
        """
        hidden = Secret(secret)
        del secret  # a traceback that shows locals shows nothing of it
        row = algorithms or SUITES[suite].signatures[0]
        first: list[PrivatePart] = [] if outside is None else [outside]
        inside = row[len(first) :]
        if len(hidden.reveal()) != SEED_BYTES * len(inside):
            raise ValueError(f"{len(inside)} private keys of {SEED_BYTES} bytes were expected")
        seeds = (hidden.reveal()[SEED_BYTES * at : SEED_BYTES * (at + 1)] for at in range(len(inside)))
        return cls(suite, [*first, *map(SoftwarePart.from_seed, inside, seeds)])

    @property
    def public(self) -> VerificationKey:
        """The public half."""
        return self._public

    @property
    def key_id(self) -> KeyId:
        """The id of the public half."""
        return self._public.key_id

    def export_secret(self) -> bytes:
        """The parts in this process, 32 bytes each; see `PrivateKey.export_secret`."""
        return b"".join(part.export_seed() for part in self._parts if isinstance(part, SoftwarePart))

    def sign_parts(self, messages: Sequence[bytes]) -> list[bytes]:
        """Each algorithm's signature over its message; see `semfed_secure.crypto.signing.sign` for a whole one."""
        return [part.sign(message) for part, message in zip(self._parts, messages, strict=True)]


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The public key that outputs are sealed to."""

    suite: Suite
    raw: bytes

    @property
    def key_id(self) -> KeyId:
        """``sha256:`` of the encoded key."""
        return _id_of(self)

    @property
    def overhead_bytes(self) -> int:
        """How much longer a blob sealed to this key is than its plaintext."""
        return SUITES[self.suite].kem.overhead

    def encode(self) -> bytes:
        """The deterministic bytes of this key."""
        return _SEALING_KEY.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> SealingKey:
        """Read a key back, refusing one that is not a public key of its suite or would make sealing weak.

        Raises:
            PeerError: ``SF301``, ``SF302`` or ``SF303``.
        """
        key = _SEALING_KEY.parse(data)
        try:
            SUITES[key.suite].kem.check(key.raw)
        except ValueError:
            raise PeerError("SF302", f"a sealing key of suite {key.suite} was expected") from None
        return key

    def hpke_key(self) -> KemPublic:
        """This key as the HPKE implementation wants it."""
        return SUITES[self.suite].kem.public(self.raw)


class OpeningKey(PrivateKey):
    """The private half of a `SealingKey`: opens what was sealed to it."""

    __slots__ = ("_hpke_key", "_public", "_secret")

    def __init__(self, suite: Suite, secret: Secret) -> None:
        """Load 32 bytes of private key; use `generate` or a key file instead.

        Raises:
            ValueError: They are no private key of the suite.
        """
        self._secret = secret
        self._hpke_key, raw = SUITES[suite].kem.private(secret.reveal())
        self._public = SealingKey(suite, raw)

    @classmethod
    def generate(cls, suite: Suite = Suite.HYBRID_PQ) -> OpeningKey:
        """A new key from the operating system's generator."""
        return cls(suite, Secret(SUITES[suite].kem.generate()))

    @classmethod
    def from_seed(cls, seed: bytes, suite: Suite = Suite.HYBRID_PQ) -> OpeningKey:
        """The key that `export_secret` gave.

        Raises:
            ValueError: ``seed`` is no private key of the suite.
        """
        hidden = Secret(seed)
        del seed
        return cls(suite, hidden)

    @property
    def public(self) -> SealingKey:
        """The public half."""
        return self._public

    @property
    def key_id(self) -> KeyId:
        """The id of the public half."""
        return self._public.key_id

    def export_secret(self) -> bytes:
        """The private key, 32 bytes; see `PrivateKey.export_secret`."""
        return self._secret.reveal()

    def hpke_key(self) -> KemPrivate:
        """This key as the HPKE implementation wants it."""
        return self._hpke_key


@lru_cache(maxsize=1_024)  # a message is looked at several times, and each time it is asked whose it is
def _id_of(key: VerificationKey | SealingKey) -> KeyId:
    return KeyId(hex_digest(sha256(key.encode())))


def _pack_algorithm(algorithm: Algorithm) -> Value:
    return int(algorithm)


def _unpack_algorithm(value: Value) -> Algorithm:
    try:
        return Algorithm(whole(-(2**31), 2**31 - 1).unpack(value))
    except ValueError:
        raise WireValueError("an algorithm that this version knows was expected") from None


def _of_one_row(key: VerificationKey) -> None:
    if key.algorithms not in SUITES[key.suite].signatures:
        raise WireValueError(f"the algorithms of suite {key.suite} were expected")


_PART = record(
    PublicPart,
    {1: ("algorithm", Codec(_pack_algorithm, _unpack_algorithm)), 2: ("raw", octets(32, 1_952))},
)
_VERIFICATION_KEY = Message(
    "semfed/verification-key",
    1,
    record(VerificationKey, {2: ("suite", choice(Suite)), 3: ("parts", many(_PART, MAX_PARTS, 1))}, _of_one_row),
    KEY_LIMITS,
)
_SEALING_KEY = Message(
    "semfed/sealing-key",
    1,
    record(SealingKey, {2: ("suite", choice(Suite)), 3: ("raw", octets(1, KEY_LIMITS.max_bytes))}),
    KEY_LIMITS,
)
