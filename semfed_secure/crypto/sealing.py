"""HPKE sealing (RFC 9180, base mode): X-Wing, HKDF-SHA256, AES-256-GCM.

Base mode authenticates no sender: whoever holds the public key can seal. The signed contribution statement names the
ciphertext's digest and its sender; that is what makes a sealed blob somebody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from semfed_secure.errors import ConfigurationError, PeerError

if TYPE_CHECKING:
    from semfed_secure.crypto.keys import OpeningKey, SealingKey

_HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
MAX_INFO_BYTES = 8 * 1024
"""A contribution statement, the largest context we bind."""
SEALING_OVERHEAD_BYTES = 1_120 + 16
"""X-Wing encapsulation and GCM tag."""


def seal(plaintext: bytes, *, info: bytes, to: SealingKey) -> bytes:
    """Seal ``plaintext`` so that only the holder of ``to``'s private half opens it, and only with the same ``info``.

    The result is `SEALING_OVERHEAD_BYTES` longer than ``plaintext``; its length is not hidden. Sealing twice gives
    different bytes. There is no forward secrecy against loss of the opening key: servers replace theirs.

    Raises:
        ConfigurationError: ``SF105`` if ``info`` is larger than `MAX_INFO_BYTES`.
    """
    if len(info) > MAX_INFO_BYTES:
        raise ConfigurationError("SF105", f"a sealing context of at most {MAX_INFO_BYTES} bytes was expected")
    return _HPKE.encrypt(plaintext, to.hpke_key(), info=info)


def open_sealed(blob: bytes, *, info: bytes, key: OpeningKey) -> bytes:
    """Open what was sealed to ``key`` under exactly this ``info``.

    Raises:
        PeerError: ``SF312`` whatever is wrong: key, context, a flipped bit, a cut; nothing tells them apart.
    """
    if len(info) <= MAX_INFO_BYTES:
        try:
            return _HPKE.decrypt(blob, key.hpke_key(), info=info)
        except (InvalidTag, ValueError):
            pass
    raise PeerError("SF312", "a blob sealed to this key under this context was expected")
