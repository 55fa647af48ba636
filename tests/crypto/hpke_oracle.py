"""A second implementation of X-Wing and HPKE base mode, short and slow, to check ours against.

X-Wing: draft-connolly-cfrg-xwing-kem. Key schedule: RFC 9180 section 5.1, HKDF-SHA256 only. The published vectors
check this oracle, and this oracle checks what the product seals.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

X_WING, HKDF_SHA256 = 0x647A, 1
KEY_BYTES = {1: 16, 2: 32, 3: 32}  # AES-128-GCM, AES-256-GCM, ChaCha20Poly1305


def x_wing_open(seed: bytes, enc: bytes) -> bytes:
    """The shared secret behind an encapsulation."""
    expanded = hashlib.shake_256(seed).digest(96)
    curve = X25519PrivateKey.from_private_bytes(expanded[64:])
    ss_mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(enc[:1088])
    ss_curve = curve.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    label = rb"\./" + rb"/^\ "[:-1]
    return hashlib.sha3_256(ss_mlkem + ss_curve + enc[1088:] + curve.public_key().public_bytes_raw() + label).digest()


def key_schedule(shared_secret: bytes, info: bytes, *, kem: int, aead: int) -> tuple[bytes, bytes]:
    """Key and base nonce of base mode."""
    suite = b"HPKE" + kem.to_bytes(2, "big") + HKDF_SHA256.to_bytes(2, "big") + aead.to_bytes(2, "big")

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(prk: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac.digest(prk, labelled + b"\x01", "sha256")[:length]  # one block is enough for 32 bytes

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared_secret, b"secret", b"")
    return expand(secret, b"key", context, KEY_BYTES[aead]), expand(secret, b"base_nonce", context, 12)
