"""How keys stand inside records: as their own encoded bytes, checked when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from semfed_secure.crypto.keys import KEY_LIMITS, SealingKey, VerificationKey
from semfed_secure.crypto.log_keys import MAX_VKEY_BYTES, LogVerificationKey
from semfed_secure.errors import PeerError
from semfed_secure.wire.schema import Codec, WireValueError, octets, text

if TYPE_CHECKING:
    from semfed_secure.wire.cbor import Value

K = TypeVar("K", VerificationKey, SealingKey)


def nested_key(kind: type[K]) -> Codec[K]:
    """A public key as the bytes of its ``encode``."""

    def unpack(value: Value) -> K:
        try:
            return kind.parse(octets(1, KEY_LIMITS.max_bytes).unpack(value))
        except PeerError as error:
            raise WireValueError(error.message) from None

    return Codec(lambda key: key.encode(), unpack)


def _log_key(value: Any) -> str:
    encoded = text(MAX_VKEY_BYTES).unpack(value)
    try:
        LogVerificationKey.parse(encoded)
    except PeerError as error:
        raise WireValueError(error.message) from None
    return encoded


LOG_KEY: Codec[str] = Codec(_log_key, _log_key)
"""The printed verifier keys of an audit log."""
