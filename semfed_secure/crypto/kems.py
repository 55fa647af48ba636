"""How outputs are sealed in each suite: HPKE (RFC 9180) with its key encapsulation, HKDF-SHA256 and AES-256-GCM."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from semfed_secure.crypto.p256 import P256PrivateKey, P256PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET_BYTES = 32
"""Of the private key of either: a seed, a scalar."""
_TAG_BYTES = 16
_MLKEM768_PUBLIC_BYTES = 1_184

KemPublic: TypeAlias = hpke.MLKEM768X25519PublicKey | ec.EllipticCurvePublicKey
KemPrivate: TypeAlias = hpke.MLKEM768X25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Kem:
    """One way to seal.

    Attributes:
        hpke: The HPKE suite.
        overhead: How much longer a sealed blob is than its plaintext.
        public: Loads a raw public key; ``ValueError`` if it is none.
        check: Raises ``ValueError`` for a public key that is none, or would make sealing weak.
        private: Loads a private key of `SECRET_BYTES`, and gives its raw public key too; ``ValueError`` if it is none.
        generate: A new private key, as its bytes.
    """

    hpke: hpke.Suite
    overhead: int
    public: Callable[[bytes], KemPublic]
    check: Callable[[bytes], object]
    private: Callable[[bytes], tuple[KemPrivate, bytes]]
    generate: Callable[[], bytes]


def _x_wing_public(raw: bytes) -> KemPublic:
    mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM768_PUBLIC_BYTES])
    return hpke.MLKEM768X25519PublicKey(mlkem, X25519PublicKey.from_public_bytes(raw[_MLKEM768_PUBLIC_BYTES:]))


def _check_x_wing(raw: bytes) -> None:
    _x_wing_public(raw)
    # A low-order point would make the classical half of every sealing a constant.
    X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(raw[_MLKEM768_PUBLIC_BYTES:]))


def _x_wing_private(seed: bytes) -> tuple[KemPrivate, bytes]:
    """Expand the 32-byte seed form of X-Wing (draft-connolly-cfrg-xwing-kem section 5.2)."""
    if len(seed) != SECRET_BYTES:
        raise ValueError(f"a seed of {SECRET_BYTES} bytes was expected")
    expanded = hashlib.shake_256(seed).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    curve = X25519PrivateKey.from_private_bytes(expanded[64:])
    raw = mlkem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return hpke.MLKEM768X25519PrivateKey(mlkem, curve), raw


def _p256_public(raw: bytes) -> KemPublic:
    return P256PublicKey.from_public_bytes(raw).key


def _p256_private(scalar: bytes) -> tuple[KemPrivate, bytes]:
    private = P256PrivateKey.from_private_bytes(scalar)
    return private.key, private.public_key().public_bytes_raw()


def _suite(kem: hpke.KEM) -> hpke.Suite:
    return hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


X_WING = Kem(
    hpke=_suite(hpke.KEM.MLKEM768_X25519),
    overhead=hpke.KEM.MLKEM768_X25519.enc_length() + _TAG_BYTES,
    public=_x_wing_public,
    check=_check_x_wing,
    private=_x_wing_private,
    generate=lambda: X25519PrivateKey.generate().private_bytes_raw(),  # 32 bytes of the system's generator
)
P256 = Kem(
    hpke=_suite(hpke.KEM.P256),
    overhead=hpke.KEM.P256.enc_length() + _TAG_BYTES,
    public=_p256_public,
    check=_p256_public,
    private=_p256_private,
    generate=lambda: P256PrivateKey.generate().private_bytes_raw(),
)
