"""Envelopes: what is parsed, what each signature covers, and what is refused."""

from __future__ import annotations

import pytest

from semfed_secure.errors import PeerError
from semfed_secure.wire import cbor
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

KEY = bytes(range(32))
MESSAGE = SignedMessage(b"payload", (Signature(Algorithm.ED25519, KEY, b"one"), Signature(-49, KEY, b"two")))
LIMITS = signed_limits(cbor.Limits(max_bytes=100))
HEADER = cbor.encode({1: -19, 4: KEY})
GOOD = [HEADER, {}, b"one"]

HOSTILE = {
    "no_tag": cbor.encode([b"", {}, b"payload", [GOOD]]),
    "tag_18_sign1": b"\xd2" + cbor.encode([b"", {}, b"payload", [GOOD]]),
    "tag_98_long_form": b"\xd9\x00\x62" + cbor.encode([b"", {}, b"payload", [GOOD]]),
    "empty": b"",
    "tag_only": b"\xd8\x62",
    "not_an_array": b"\xd8\x62" + cbor.encode(b"payload"),
    "detached_payload": b"\xd8\x62" + cbor.encode([b"", {}, None, [GOOD]]),
    "text_payload": b"\xd8\x62" + cbor.encode([b"", {}, "payload", [GOOD]]),
    "unprotected_header": b"\xd8\x62" + cbor.encode([b"", {1: -19}, b"payload", [GOOD]]),
    "protected_body_header": b"\xd8\x62" + cbor.encode([b"\xa0", {}, b"payload", [GOOD]]),
    "five_elements": b"\xd8\x62" + cbor.encode([b"", {}, b"payload", [GOOD], 0]),
    "no_signatures": b"\xd8\x62" + cbor.encode([b"", {}, b"payload", []]),
    "33_signatures": b"\xd8\x62" + cbor.encode([b"", {}, b"payload", [GOOD] * 33]),
    "unprotected_in_signature": b"\xd8\x62" + cbor.encode([b"", {}, b"payload", [[HEADER, {4: KEY}, b"one"]]]),
    "header_without_key_id": b"\xd8\x62" + cbor.encode([b"", {}, b"payload", [[cbor.encode({1: -19}), {}, b"one"]]]),
    "header_without_algorithm": b"\xd8\x62" + cbor.encode([b"", {}, b"p", [[cbor.encode({4: KEY}), {}, b"one"]]]),
    "header_with_more": b"\xd8\x62"
    + cbor.encode([b"", {}, b"payload", [[cbor.encode({1: -19, 2: [5], 4: KEY}), {}, b"one"]]]),
    "algorithm_as_text": b"\xd8\x62" + cbor.encode([b"", {}, b"p", [[cbor.encode({1: "EdDSA", 4: KEY}), {}, b"one"]]]),
    "algorithm_false": b"\xd8\x62" + cbor.encode([b"", {}, b"p", [[cbor.encode({1: False, 4: KEY}), {}, b"one"]]]),
    "short_key_id": b"\xd8\x62" + cbor.encode([b"", {}, b"p", [[cbor.encode({1: -19, 4: KEY[:31]}), {}, b"one"]]]),
    "header_not_cbor": b"\xd8\x62" + cbor.encode([b"", {}, b"payload", [[b"\xff", {}, b"one"]]]),
    "header_with_duplicate": b"\xd8\x62"
    + cbor.encode([b"", {}, b"payload", [[b"\xa3\x01\x32\x01\x32\x04\x58\x20" + KEY, {}, b"one"]]]),
    "trailing": encode_signed(MESSAGE) + b"\x00",
}


def test_an_envelope_comes_apart_as_it_was_put_together() -> None:
    """Payload, algorithms, key ids, signatures, in order."""
    assert parse_signed(encode_signed(MESSAGE), limits=LIMITS) == MESSAGE


@pytest.mark.parametrize("defect", HOSTILE)
def test_a_hostile_envelope_is_refused(defect) -> None:
    """Each defect is SF302."""
    with pytest.raises(PeerError, match="SF302"):
        parse_signed(HOSTILE[defect], limits=LIMITS)


def test_an_envelope_has_room_for_its_payload_and_signatures_only() -> None:
    """The fullest hybrid message fits; one byte more of payload is SF301."""
    full = (Signature(Algorithm.ED25519, KEY, bytes(64)), Signature(Algorithm.ML_DSA_65, KEY, bytes(3_309)))
    room = LIMITS.max_bytes - len(encode_signed(SignedMessage(b"", full)))
    assert room >= 100
    with pytest.raises(PeerError, match="SF301"):
        parse_signed(encode_signed(SignedMessage(bytes(room + 3), full)), limits=LIMITS)


def test_the_signed_bytes_are_those_of_rfc_9052() -> None:
    """Section 4.4, annotated: context, body header, signer header, external_aad, payload."""
    signed = sig_structure(MessageType.MANIFEST, "hybrid-pq", MESSAGE.signatures[0], b"payload")
    assert (
        signed.hex()
        == (
            "85"  # array of 5
            "69" + b"Signature".hex() + "40"  # empty protected body header
            "5826" + "a2" + "0132" + "045820" + KEY.hex() + "581b"  # {1: -19, 4: key id}
            "82"
            + "6f"
            + b"semfed/manifest".hex()
            + "69"
            + b"hybrid-pq".hex()  # external_aad
            + "47"
            + b"payload".hex()
        )
    )


def test_the_signed_bytes_differ_in_every_part() -> None:
    """Type, suite, algorithm, key id, payload: a signature over one is none over another."""
    one, two = MESSAGE.signatures
    variants = {
        sig_structure(MessageType.MANIFEST, "hybrid-pq", one, b"payload"),
        sig_structure(MessageType.STATEMENT, "hybrid-pq", one, b"payload"),
        sig_structure(MessageType.MANIFEST, "nist-p256", one, b"payload"),
        sig_structure(MessageType.MANIFEST, "hybrid-pq", two, b"payload"),
        sig_structure(MessageType.MANIFEST, "hybrid-pq", Signature(-19, bytes(32), b"one"), b"payload"),
        sig_structure(MessageType.MANIFEST, "hybrid-pq", one, b"payloae"),
    }
    assert len(variants) == 6
