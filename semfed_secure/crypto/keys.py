"""Keys and key ids: what signs, what verifies, what seals, what opens.

A key is a whole suite's worth of keys under one id, so no half of a hybrid can be used, listed, or replaced alone.
Private keys are seeds of 32 bytes per algorithm; they never show their material (`semfed_secure.crypto.private`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from semfed_secure.crypto.private import PrivateKey
from semfed_secure.errors import PeerError
from semfed_secure.ids import KeyId, hex_digest, sha256
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import Algorithm
from semfed_secure.wire.schema import Message, choice, many, octets, record


class Suite(StrEnum):
    """A named set of algorithms that are used together."""

    HYBRID_PQ = "hybrid-pq"


SUITE_ALGORITHMS: dict[Suite, tuple[Algorithm, ...]] = {
    Suite.HYBRID_PQ: (Algorithm.ED25519, Algorithm.ML_DSA_65),
}
"""The signature algorithms of each suite, in the order in which a message carries them: all must verify."""

SEED_BYTES = 32
_MLKEM768_PUBLIC_BYTES, _X25519_PUBLIC_BYTES = 1_184, 32
SEALING_KEY_BYTES = _MLKEM768_PUBLIC_BYTES + _X25519_PUBLIC_BYTES
KEY_LIMITS = Limits(max_bytes=4 * 1024)

_AnyPrivate: TypeAlias = Ed25519PrivateKey | MLDSA65PrivateKey
_AnyPublic: TypeAlias = Ed25519PublicKey | MLDSA65PublicKey


def _load_private(algorithm: Algorithm, seed: bytes) -> _AnyPrivate:
    if algorithm is Algorithm.ED25519:
        return Ed25519PrivateKey.from_private_bytes(seed)
    return MLDSA65PrivateKey.from_seed_bytes(seed)


def _load_public(algorithm: Algorithm, data: bytes) -> _AnyPublic:
    if algorithm is Algorithm.ED25519:
        return Ed25519PublicKey.from_public_bytes(data)
    return MLDSA65PublicKey.from_public_bytes(data)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """The public keys of one suite under one id.

    Attributes:
        suite: Names the algorithms.
        parts: One raw public key per algorithm of the suite, in its order.
    """

    suite: Suite
    parts: tuple[bytes, ...]

    @property
    def key_id(self) -> KeyId:
        """``sha256:`` of the encoded key; covers the suite and every part."""
        return KeyId(hex_digest(sha256(self.encode())))

    def encode(self) -> bytes:
        """The deterministic bytes of this key."""
        return _VERIFICATION_KEY.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> VerificationKey:
        """Read a key back, refusing any part that is not a key of its algorithm.

        Raises:
            PeerError: ``SF301``, ``SF302`` or ``SF303``.
        """
        key = _VERIFICATION_KEY.parse(data)
        try:
            _load_parts(key)
        except ValueError:
            raise PeerError("SF302", f"the public keys of suite {key.suite} were expected") from None
        return key

    def verifies(self, algorithm: Algorithm, signature: bytes, data: bytes) -> bool:
        """Whether one part's ``signature`` over ``data`` is good.

        One good part proves nothing about the message: use `semfed_secure.crypto.signing.verify`.
        """
        try:
            _load_parts(self)[SUITE_ALGORITHMS[self.suite].index(algorithm)].verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


def _load_parts(key: VerificationKey) -> list[_AnyPublic]:
    return [_load_public(*pair) for pair in zip(SUITE_ALGORITHMS[key.suite], key.parts, strict=True)]


class SigningKey(PrivateKey):
    """The private keys of one suite: signs as one member."""

    __slots__ = ("_parts", "_public")

    def __init__(self, suite: Suite, seeds: tuple[bytes, ...]) -> None:
        """Build from one 32-byte seed per algorithm; use `generate` or a key file instead."""
        self._parts = [_load_private(*pair) for pair in zip(SUITE_ALGORITHMS[suite], seeds, strict=True)]
        self._public = VerificationKey(suite, tuple(part.public_key().public_bytes_raw() for part in self._parts))

    @classmethod
    def generate(cls, suite: Suite = Suite.HYBRID_PQ) -> SigningKey:
        """A new key from the operating system's generator."""
        generated = (Ed25519PrivateKey.generate(), MLDSA65PrivateKey.generate())
        return cls(suite, tuple(key.private_bytes_raw() for key in generated))

    @classmethod
    def from_secret(cls, suite: Suite, secret: bytes) -> SigningKey:
        """The key that `export_secret` gave.

        Raises:
            ValueError: ``secret`` is not one seed per algorithm.
        """
        return cls(suite, tuple(secret[at : at + SEED_BYTES] for at in range(0, len(secret), SEED_BYTES)))

    @property
    def public(self) -> VerificationKey:
        """The public half."""
        return self._public

    @property
    def key_id(self) -> KeyId:
        """The id of the public half."""
        return self._public.key_id

    def export_secret(self) -> bytes:
        """One seed of 32 bytes per algorithm; see `PrivateKey.export_secret`."""
        return b"".join(part.private_bytes_raw() for part in self._parts)

    def sign_part(self, algorithm: Algorithm, data: bytes) -> bytes:
        """One algorithm's signature over ``data``; see `semfed_secure.crypto.signing.sign` for a whole one."""
        return self._parts[SUITE_ALGORITHMS[self._public.suite].index(algorithm)].sign(data)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The public key that outputs are sealed to: X-Wing, ML-KEM-768 and X25519 together."""

    suite: Suite
    raw: bytes

    @property
    def key_id(self) -> KeyId:
        """``sha256:`` of the encoded key."""
        return KeyId(hex_digest(sha256(self.encode())))

    def encode(self) -> bytes:
        """The deterministic bytes of this key."""
        return _SEALING_KEY.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> SealingKey:
        """Read a key back, refusing one that is not an X-Wing public key or whose X25519 point has low order.

        Raises:
            PeerError: ``SF301``, ``SF302`` or ``SF303``.
        """
        key = _SEALING_KEY.parse(data)
        try:
            key.hpke_key()
            # A low-order point would make the classical half of every sealing a constant.
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key.raw[_MLKEM768_PUBLIC_BYTES:]))
        except ValueError:
            raise PeerError("SF302", "an X-Wing public key was expected") from None
        return key

    def hpke_key(self) -> hpke.MLKEM768X25519PublicKey:
        """This key as the HPKE implementation wants it."""
        mlkem = MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM768_PUBLIC_BYTES])
        return hpke.MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(self.raw[_MLKEM768_PUBLIC_BYTES:]))


class OpeningKey(PrivateKey):
    """The private X-Wing key: opens what was sealed to its public half."""

    __slots__ = ("_hpke_key", "_public", "_seed")

    def __init__(self, suite: Suite, seed: bytes) -> None:
        """Expand the 32-byte seed form of X-Wing (draft-connolly-cfrg-xwing-kem section 5.2)."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed of {SEED_BYTES} bytes was expected")
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        curve = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._seed = seed
        self._hpke_key = hpke.MLKEM768X25519PrivateKey(mlkem, curve)
        raw = mlkem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        self._public = SealingKey(suite, raw)

    @classmethod
    def generate(cls, suite: Suite = Suite.HYBRID_PQ) -> OpeningKey:
        """A new key from the operating system's generator."""
        return cls(suite, X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_seed(cls, seed: bytes, suite: Suite = Suite.HYBRID_PQ) -> OpeningKey:
        """The key of a 32-byte seed.

        Raises:
            ValueError: ``seed`` has another length.
        """
        return cls(suite, seed)

    @property
    def public(self) -> SealingKey:
        """The public half."""
        return self._public

    @property
    def key_id(self) -> KeyId:
        """The id of the public half."""
        return self._public.key_id

    def export_secret(self) -> bytes:
        """The seed; see `PrivateKey.export_secret`."""
        return self._seed

    def hpke_key(self) -> hpke.MLKEM768X25519PrivateKey:
        """This key as the HPKE implementation wants it."""
        return self._hpke_key


_VERIFICATION_KEY = Message(
    "semfed/verification-key",
    1,
    record(VerificationKey, {2: ("suite", choice(Suite)), 3: ("parts", many(octets(32, 1_952), 2, 1))}),
    KEY_LIMITS,
)
_SEALING_KEY = Message(
    "semfed/sealing-key",
    1,
    record(SealingKey, {2: ("suite", choice(Suite)), 3: ("raw", octets(SEALING_KEY_BYTES))}),
    KEY_LIMITS,
)
