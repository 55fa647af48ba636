"""HPKE sealing (RFC 9180, base mode) by the suite of the recipient's key.

Base mode authenticates no sender: whoever holds the public key can seal. The signed contribution statement names the
ciphertext's digest and its sender; that is what makes a sealed blob somebody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag

from semfed_secure.crypto.suites import SUITES
from semfed_secure.errors import ConfigurationError, PeerError

if TYPE_CHECKING:
    from semfed_secure.crypto.keys import OpeningKey, SealingKey

MAX_INFO_BYTES = 8 * 1024
"""A contribution statement, the largest context we bind."""


def seal(plaintext: bytes, *, info: bytes, to: SealingKey) -> bytes:
    """Seal ``plaintext`` so that only the holder of ``to``'s private half opens it, and only with the same ``info``.

    The result is ``to.overhead_bytes`` longer than ``plaintext``; its length is not hidden. Sealing twice gives
    different bytes. There is no forward secrecy against loss of the opening key: servers replace theirs.

    Raises:
        ConfigurationError: ``SF105`` if ``info`` is larger than `MAX_INFO_BYTES`.
    """
    if len(info) > MAX_INFO_BYTES:
        raise ConfigurationError("SF105", f"a sealing context of at most {MAX_INFO_BYTES} bytes was expected")
    return SUITES[to.suite].kem.hpke.encrypt(plaintext, to.hpke_key(), info=info)


def open_sealed(blob: bytes, *, info: bytes, key: OpeningKey) -> bytes:
    """Open what was sealed to ``key`` under exactly this ``info``.

    Raises:
        PeerError: ``SF312`` whatever is wrong: key, context, a flipped bit, a cut; nothing tells them apart.
    """
    if len(info) <= MAX_INFO_BYTES:
        try:
            return SUITES[key.public.suite].kem.hpke.decrypt(blob, key.hpke_key(), info=info)
        except (InvalidTag, ValueError):
            pass
    raise PeerError("SF312", "a blob sealed to this key under this context was expected")
