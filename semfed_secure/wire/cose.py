"""COSE_Sign envelopes (RFC 9052 section 4.1): one payload, several signatures, and exactly what each one signs.

The envelope says which key and algorithm made each signature; whether they verify is decided in
`semfed_secure.crypto.signing`. Unprotected headers are empty, so nothing in an envelope is left unsigned.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from semfed_secure.errors import PeerError
from semfed_secure.ids import DIGEST_BYTES
from semfed_secure.wire.cbor import Limits, Value, decode, encode
from semfed_secure.wire.types import MessageType

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Algorithm",
    "MessageType",
    "Signature",
    "SignedMessage",
    "encode_signed",
    "parse_signed",
    "sig_structure",
    "signed_limits",
]

_TAG_98 = b"\xd8\x62"  # COSE_Sign; the decoder itself knows no tags
_EMPTY_HEADER = b""  # RFC 9052 section 3: an empty protected map is the empty string
_HEADER_ALGORITHM, _HEADER_KEY_ID = 1, 4  # RFC 9052 section 3.1
_HEADER_LIMITS = Limits(max_bytes=64, max_items=8, max_depth=1)
MAX_SIGNATURES = 32
"""Sixteen hybrid signers: the largest root threshold."""
MAX_SIGNATURE_BYTES = 3_309
"""ML-DSA-65, the largest we use."""
_SIGNATURE_BYTES = MAX_SIGNATURE_BYTES + 64  # with its header
_ENVELOPE_BYTES = 32


class Algorithm(IntEnum):
    """Fully-specified COSE algorithm numbers (RFC 9864, RFC 9964)."""

    ESP256 = -9
    ED25519 = -19
    ML_DSA_65 = -49


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope, not yet verified; ``key_id`` is the 32-byte digest of the signer's key."""

    algorithm: int
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """An envelope taken apart; ``payload`` must not be used before its signatures verify."""

    payload: bytes
    signatures: tuple[Signature, ...]


def signed_limits(payload: Limits, signatures: int = 2) -> Limits:
    """What an envelope may take around a payload within ``payload.max_bytes``."""
    return Limits(max_bytes=payload.max_bytes + _ENVELOPE_BYTES + signatures * _SIGNATURE_BYTES)


def sig_structure(message_type: MessageType, suite: str, signature: Signature, payload: bytes) -> bytes:
    """The bytes that ``signature`` signs: RFC 9052 section 4.4.

    They cover the message type and suite (``external_aad``), the algorithm, the key id, and the payload, so a
    signature verifies for no other of these.
    """
    external_aad = encode([message_type.value, suite])
    return encode(["Signature", _EMPTY_HEADER, _protected(signature), external_aad, payload])


def encode_signed(message: SignedMessage) -> bytes:
    """The envelope's deterministic bytes."""
    signatures: list[Value] = [[_protected(signature), {}, signature.value] for signature in message.signatures]
    return _TAG_98 + encode([_EMPTY_HEADER, {}, message.payload, signatures])


def parse_signed(data: bytes, *, limits: Limits) -> SignedMessage:
    """Take an envelope apart; nothing in it is verified yet.

    Raises:
        PeerError: ``SF301`` if larger than ``limits`` (see `signed_limits`); ``SF302`` if malformed.
    """
    if not data.startswith(_TAG_98):
        raise PeerError("SF302", "a COSE_Sign message (tag 98) was expected")
    match decode(data[len(_TAG_98) :], limits=limits):
        case [b"", {**unprotected}, bytes(payload), list(signatures)] if not unprotected:
            return SignedMessage(payload, _parse_signatures(signatures))
        case _:
            raise PeerError("SF302", "a COSE_Sign message with empty headers and a payload was expected")


def _parse_signatures(values: Sequence[Value]) -> tuple[Signature, ...]:
    if not 1 <= len(values) <= MAX_SIGNATURES:
        raise PeerError("SF302", f"1 to {MAX_SIGNATURES} signatures were expected, got {len(values)}")
    return tuple([_parse_signature(value) for value in values])


def _parse_signature(value: Value) -> Signature:
    match value:
        case [bytes(protected), {**unprotected}, bytes(signature)] if not unprotected:
            pass
        case _:
            raise PeerError("SF302", "a signature with an empty unprotected header was expected")
    match decode(protected, limits=_HEADER_LIMITS):
        case {1: bool()}:  # Python takes them for integers
            raise PeerError("SF302", "an algorithm was expected, found true or false")
        case {1: int(algorithm), 4: bytes(key_id), **rest} if not rest and len(key_id) == DIGEST_BYTES:
            return Signature(algorithm, key_id, signature)
        case _:
            raise PeerError("SF302", "a protected header of exactly algorithm and key id was expected")


def _protected(signature: Signature) -> bytes:
    return encode({_HEADER_ALGORITHM: int(signature.algorithm), _HEADER_KEY_ID: signature.key_id})
