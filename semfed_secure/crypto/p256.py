"""P-256 in the raw forms that the other algorithms have: 32 bytes of key, 65 of public key, 64 of signature.

An ECDSA signature ``(r, s)`` has a twin ``(r, n - s)`` that anyone can compute. Only the one with the lower ``s`` is
made and accepted here, so a signed message cannot be given a second form on its way.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from semfed_secure.crypto.private import Undisclosed

PRIVATE_BYTES, PUBLIC_BYTES, SIGNATURE_BYTES = 32, 65, 64
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CURVE = ec.SECP256R1()


class P256PublicKey:
    """A point of the curve."""

    __slots__ = ("key",)

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        """Wrap ``key``, which is on P-256."""
        self.key = key

    @classmethod
    def from_public_bytes(cls, data: bytes) -> P256PublicKey:
        """Read an uncompressed point (SEC 1 section 2.3.3).

        Raises:
            ValueError: It has another form, or is not on the curve.
        """
        if len(data) != PUBLIC_BYTES:
            raise ValueError(f"an uncompressed point of {PUBLIC_BYTES} bytes was expected")
        return cls(ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data))

    def public_bytes_raw(self) -> bytes:
        """The uncompressed point."""
        return self.key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Accept only a good signature ``r || s`` over the SHA-256 of ``data``, with the lower ``s``.

        Raises:
            InvalidSignature: It is another one.
        """
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        if len(signature) != SIGNATURE_BYTES or s > _ORDER // 2:
            raise InvalidSignature
        self.key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))


class P256PrivateKey(Undisclosed):
    """A scalar; signs, and opens what HPKE sealed to it."""

    __slots__ = ("key",)

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        """Wrap ``key``, which is on P-256."""
        self.key = key

    @classmethod
    def generate(cls) -> P256PrivateKey:
        """A new key from the operating system's generator."""
        return cls(ec.generate_private_key(_CURVE))

    @classmethod
    def from_private_bytes(cls, data: bytes) -> P256PrivateKey:
        """Read a big-endian scalar.

        Raises:
            ValueError: It is not 32 bytes, or not between 1 and the order of the curve.
        """
        if len(data) != PRIVATE_BYTES:
            raise ValueError(f"a scalar of {PRIVATE_BYTES} bytes was expected")
        return cls(ec.derive_private_key(int.from_bytes(data), _CURVE))

    def private_bytes_raw(self) -> bytes:
        """The scalar."""
        return self.key.private_numbers().private_value.to_bytes(PRIVATE_BYTES)

    def public_key(self) -> P256PublicKey:
        """The public half."""
        return P256PublicKey(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """ECDSA over the SHA-256 of ``data`` with the deterministic nonce of RFC 6979, as ``r || s``."""
        return fixed_form(self.key.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True)))


def fixed_form(signature: bytes) -> bytes:
    """``r || s`` with the lower ``s`` of a DER signature: COSE's form of what HSMs and key services return.

    Raises:
        ValueError: ``signature`` is not DER, or not of this curve.
    """
    r, s = decode_dss_signature(signature)
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        raise ValueError("an ECDSA signature of P-256 was expected")
    return r.to_bytes(32) + min(s, _ORDER - s).to_bytes(32)
