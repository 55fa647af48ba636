"""Signatures: one message, every algorithm of a key, one key; all must verify.

A signature covers the message type, the suite, the algorithm, the key id and the payload (RFC 9052), so it cannot
be stripped to its weaker half, relabelled as one of another suite, mixed with another member's, or shown as the
signature of another kind of message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from semfed_secure.crypto.suites import MAX_PARTS
from semfed_secure.errors import PeerError
from semfed_secure.ids import KeyId, parse_digest
from semfed_secure.wire.cose import (
    MessageType,
    Signature,
    SignedMessage,
    encode_signed,
    parse_signed,
    sig_structure,
    signed_limits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.crypto.keys import SigningKey, VerificationKey
    from semfed_secure.wire.cbor import Limits


@dataclass(frozen=True, slots=True)
class Verified:
    """A payload whose signatures verified, and the key that made them."""

    payload: bytes
    key_id: KeyId


@dataclass(frozen=True, slots=True)
class VerifiedBySeveral:
    """A payload that several keys signed; every signature on it verified."""

    payload: bytes
    key_ids: frozenset[KeyId]


def sign(message_type: MessageType, payload: bytes, key: SigningKey) -> bytes:
    """Sign ``payload`` as ``message_type`` with every algorithm of ``key``.

    ML-DSA signatures are randomised: signing twice gives different bytes around the same payload.
    """
    return sign_by_all(message_type, payload, [key])


def sign_by_all(message_type: MessageType, payload: bytes, keys: Sequence[SigningKey]) -> bytes:
    """Sign ``payload`` with several keys, in the order of ``keys``."""
    signatures = [signature for key in keys for signature in _signatures(message_type, payload, key)]
    return encode_signed(SignedMessage(payload, tuple(signatures)))


def verify(message_type: MessageType, data: bytes, keys: Sequence[VerificationKey], *, limits: Limits) -> Verified:
    """Verify a message that one of ``keys`` signed, and return its payload.

    Every algorithm of that key has verified, over this payload and this message type, and no other
    signature stands in the message.

    Args:
        message_type: What the message must be.
        data: The signed message.
        keys: The keys that may have signed it, normally those of one member.
        limits: What its payload may take.

    Raises:
        PeerError: ``SF301`` too large; ``SF302`` malformed; ``SF307`` signatures do not all verify under one key.
    """
    return verify_envelope(
        message_type, parse_signed(data, limits=signed_limits(limits, MAX_PARTS)), keys, limits=limits
    )


def verify_envelope(
    message_type: MessageType, message: SignedMessage, keys: Sequence[VerificationKey], *, limits: Limits
) -> Verified:
    """As `verify`, of a message that was taken apart already.

    Raises:
        PeerError: ``SF301`` or ``SF307``, as `verify`.
    """
    (key_id,) = _signers(message_type, message, keys, limits=limits, max_signers=1)
    return Verified(message.payload, key_id)


def verify_by_several(
    message_type: MessageType,
    data: bytes,
    keys: Sequence[VerificationKey],
    *,
    limits: Limits,
    max_signers: int,
) -> VerifiedBySeveral:
    """Verify a message that some of ``keys`` signed; the caller judges whether these are enough.

    Every signature in the message has verified, each key's algorithms are complete, and no key counts twice.

    Raises:
        PeerError: As `verify`.
    """
    message = parse_signed(data, limits=signed_limits(limits, max_signers * MAX_PARTS))
    return VerifiedBySeveral(
        message.payload, _signers(message_type, message, keys, limits=limits, max_signers=max_signers)
    )


def _signers(
    message_type: MessageType,
    message: SignedMessage,
    keys: Sequence[VerificationKey],
    *,
    limits: Limits,
    max_signers: int,
) -> frozenset[KeyId]:
    if len(message.payload) > limits.max_bytes:
        raise PeerError("SF301", f"a payload of at most {limits.max_bytes} bytes was expected")
    known = {bytes(parse_digest(key.key_id)): key for key in keys}
    signers: set[KeyId] = set()
    rest = message.signatures
    while rest:
        key = known.pop(rest[0].key_id, None)
        if key is None or len(signers) == max_signers:
            _refuse("by the expected keys, each once")
        count = len(key.parts)
        _verify_all(message_type, message.payload, rest[:count], key)
        signers.add(key.key_id)
        rest = rest[count:]
    return frozenset(signers)


def _verify_all(
    message_type: MessageType, payload: bytes, signatures: tuple[Signature, ...], key: VerificationKey
) -> None:
    if tuple(signature.algorithm for signature in signatures) != key.algorithms:
        _refuse("by every algorithm of the key")
    if any(KeyId(f"sha256:{signature.key_id.hex()}") != key.key_id for signature in signatures):
        _refuse("of one key")
    for part, signature in zip(key.parts, signatures, strict=True):
        if not part.verifies(signature.value, sig_structure(message_type, key.suite, signature, payload)):
            _refuse("that verify")


def _signatures(message_type: MessageType, payload: bytes, key: SigningKey) -> list[Signature]:
    suite, key_id = key.public.suite, parse_digest(key.key_id)
    unsigned = [Signature(algorithm, key_id, b"") for algorithm in key.public.algorithms]
    signed = key.sign_parts([sig_structure(message_type, suite, signature, payload) for signature in unsigned])
    return [replace(signature, value=value) for signature, value in zip(unsigned, signed, strict=True)]


def _refuse(expectation: str) -> NoReturn:
    raise PeerError("SF307", f"signatures {expectation} were expected", expected=expectation)
