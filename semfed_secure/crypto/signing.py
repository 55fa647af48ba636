"""Hybrid signatures: one message, both algorithms of a suite, one key; all must verify.

A signature covers the message type, the suite, the algorithm, the key id and the payload (RFC 9052), so it cannot
be stripped to its weaker half, mixed with another member's, or shown as the signature of another kind of message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from semfed_secure.crypto.keys import SUITE_ALGORITHMS, SigningKey, VerificationKey
from semfed_secure.errors import PeerError
from semfed_secure.ids import KeyId, parse_digest
from semfed_secure.wire.cose import (
    Algorithm,
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

    from semfed_secure.wire.cbor import Limits

_SIGNATURES_PER_KEY = max(map(len, SUITE_ALGORITHMS.values()))


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
    """Sign ``payload`` as ``message_type`` with every algorithm of the key's suite.

    ML-DSA signatures are randomised: signing twice gives different bytes around the same payload.
    """
    return sign_by_all(message_type, payload, [key])


def sign_by_all(message_type: MessageType, payload: bytes, keys: Sequence[SigningKey]) -> bytes:
    """Sign ``payload`` with several keys, in the order of ``keys``."""
    signatures = [
        _sign_part(message_type, payload, key, algorithm)
        for key in keys
        for algorithm in SUITE_ALGORITHMS[key.public.suite]
    ]
    return encode_signed(SignedMessage(payload, tuple(signatures)))


def verify(message_type: MessageType, data: bytes, keys: Sequence[VerificationKey], *, limits: Limits) -> Verified:
    """Verify a message that one of ``keys`` signed, and return its payload.

    Every algorithm of that key's suite has verified, over this payload and this message type, and no other
    signature stands in the message.

    Args:
        message_type: What the message must be.
        data: The signed message.
        keys: The keys that may have signed it, normally those of one member.
        limits: What its payload may take.

    Raises:
        PeerError: ``SF301`` too large; ``SF302`` malformed; ``SF307`` signatures do not all verify under one key.
    """
    verified = verify_by_several(message_type, data, keys, limits=limits, max_signers=1)
    (key_id,) = verified.key_ids
    return Verified(verified.payload, key_id)


def verify_by_several(
    message_type: MessageType,
    data: bytes,
    keys: Sequence[VerificationKey],
    *,
    limits: Limits,
    max_signers: int,
) -> VerifiedBySeveral:
    """Verify a message that some of ``keys`` signed; the caller judges whether these are enough.

    Every signature in the message has verified, each key's suite is complete, and no key counts twice.

    Raises:
        PeerError: As `verify`.
    """
    message = parse_signed(data, limits=signed_limits(limits, max_signers * _SIGNATURES_PER_KEY))
    if len(message.payload) > limits.max_bytes:
        raise PeerError("SF301", f"a payload of at most {limits.max_bytes} bytes was expected")
    known = {bytes(parse_digest(key.key_id)): key for key in keys}
    signers: set[KeyId] = set()
    rest = message.signatures
    while rest:
        key = known.pop(rest[0].key_id, None)
        if key is None or len(signers) == max_signers:
            _refuse("by the expected keys, each once")
        count = len(SUITE_ALGORITHMS[key.suite])
        _verify_suite(message_type, message.payload, rest[:count], key)
        signers.add(key.key_id)
        rest = rest[count:]
    return VerifiedBySeveral(message.payload, frozenset(signers))


def _verify_suite(
    message_type: MessageType, payload: bytes, signatures: tuple[Signature, ...], key: VerificationKey
) -> None:
    algorithms = SUITE_ALGORITHMS[key.suite]
    if tuple(signature.algorithm for signature in signatures) != algorithms:
        _refuse(f"by every algorithm of suite {key.suite}")
    if any(KeyId(f"sha256:{signature.key_id.hex()}") != key.key_id for signature in signatures):
        _refuse("of one key")
    for algorithm, signature in zip(algorithms, signatures, strict=True):
        signed = sig_structure(message_type, key.suite, signature, payload)
        if not key.verifies(algorithm, signature.value, signed):
            _refuse("that verify")


def _sign_part(message_type: MessageType, payload: bytes, key: SigningKey, algorithm: Algorithm) -> Signature:
    unsigned = Signature(algorithm, parse_digest(key.key_id), b"")
    return replace(
        unsigned, value=key.sign_part(algorithm, sig_structure(message_type, key.public.suite, unsigned, payload))
    )


def _refuse(expectation: str) -> NoReturn:
    raise PeerError("SF307", f"signatures {expectation} were expected", expected=expectation)
