"""One algorithm's half of a signing key, public and private."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from semfed_secure.crypto.p256 import P256PrivateKey, P256PublicKey
from semfed_secure.crypto.private import Undisclosed
from semfed_secure.wire.cose import Algorithm

if TYPE_CHECKING:
    from collections.abc import Callable

SEED_BYTES = 32
"""Of the private key of each algorithm: a seed, or the scalar of P-256."""

_Private: TypeAlias = Ed25519PrivateKey | MLDSA65PrivateKey | P256PrivateKey
_Public: TypeAlias = Ed25519PublicKey | MLDSA65PublicKey | P256PublicKey


@dataclass(frozen=True, slots=True)
class _Functions:
    generate: Callable[[], _Private]
    private: Callable[[bytes], _Private]
    public: Callable[[bytes], _Public]


_FUNCTIONS = {
    Algorithm.ED25519: _Functions(
        Ed25519PrivateKey.generate, Ed25519PrivateKey.from_private_bytes, Ed25519PublicKey.from_public_bytes
    ),
    Algorithm.ESP256: _Functions(
        P256PrivateKey.generate, P256PrivateKey.from_private_bytes, P256PublicKey.from_public_bytes
    ),
    Algorithm.ML_DSA_65: _Functions(
        MLDSA65PrivateKey.generate, MLDSA65PrivateKey.from_seed_bytes, MLDSA65PublicKey.from_public_bytes
    ),
}


@dataclass(frozen=True, slots=True)
class PublicPart:
    """One algorithm's public key, in its raw form."""

    algorithm: Algorithm
    raw: bytes

    def load(self) -> Ed25519PublicKey | MLDSA65PublicKey | P256PublicKey:
        """The key, for the implementation of its algorithm.

        Raises:
            ValueError: The bytes are no key of the algorithm.
        """
        return _FUNCTIONS[self.algorithm].public(self.raw)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` is good; of a hybrid, that proves nothing about the message."""
        try:
            self.load().verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivatePart(Protocol):
    """One algorithm's private key, wherever it lies."""

    @property
    def public(self) -> PublicPart:
        """The public half."""

    def sign(self, data: bytes) -> bytes:
        """This algorithm's signature over ``data``, in COSE's form."""


class SoftwarePart(Undisclosed):
    """One algorithm's private key in this process."""

    __slots__ = ("_key", "public")

    def __init__(self, algorithm: Algorithm, key: _Private) -> None:
        """Wrap ``key``; use `generate` or `from_seed`."""
        self._key = key
        self.public = PublicPart(algorithm, key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, algorithm: Algorithm) -> SoftwarePart:
        """A new key from the operating system's generator."""
        return cls(algorithm, _FUNCTIONS[algorithm].generate())

    @classmethod
    def from_seed(cls, algorithm: Algorithm, seed: bytes) -> SoftwarePart:
        """The key that `export_seed` gave.

        Raises:
            ValueError: ``seed`` is no private key of the algorithm.
        """
        return cls(algorithm, _FUNCTIONS[algorithm].private(seed))

    def export_seed(self) -> bytes:
        """The private key, `SEED_BYTES` long."""
        return self._key.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``."""
        return self._key.sign(data)
