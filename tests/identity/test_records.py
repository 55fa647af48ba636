"""A member record is signed by every key in it, or it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.clock import to_ms
from semfed_secure.crypto.signing import sign, sign_by_all
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.records import MAX_RECORD_BYTES, Role, create_record, verify_record
from semfed_secure.wire import cbor
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import MessageType, encode_signed, parse_signed
from tests.identity.identity_examples import DAY, HUB, NORTH, NOW, RECORDS, SOUTH, key, member


def payload_of(data: bytes) -> bytes:
    """What is signed, without its signatures."""
    return parse_signed(data, limits=Limits(max_bytes=MAX_RECORD_BYTES)).payload


def refused(data: bytes) -> None:
    """``data`` is no member record: SF331."""
    with pytest.raises(PeerError) as caught:
        verify_record(data)
    assert caught.value.code == "SF331"


def test_a_record_comes_back_as_it_was_signed() -> None:
    """For a client, and for a server with a sealing key."""
    assert [verify_record(data) for data in RECORDS] == [NORTH, SOUTH, HUB]


@settings(max_examples=15)
@given(
    st.sets(st.sampled_from(Role), min_size=1),
    st.integers(1, 2**53 - 1),
    st.sampled_from(["US", "DE", "US-CA", "GB-ENG"]),
)
def test_any_valid_record_comes_back_equal(roles, sequence, jurisdiction) -> None:
    """Roles are a set: their order does not show."""
    record = member("north", 1, sequence=sequence, jurisdiction=jurisdiction, roles=frozenset(roles))
    record = replace(record, sealing_key=HUB.sealing_key)
    assert verify_record(create_record(record, [key(1)])) == record


def test_a_flipped_bit_anywhere_in_a_record_is_refused() -> None:
    """A bit in every fifth byte: keys, term, roles, signatures."""
    data = RECORDS[0]
    for byte in range(0, len(data), 5):
        flipped = bytearray(data)
        flipped[byte] ^= 1 << byte % 8
        refused(bytes(flipped))


def test_a_record_needs_the_signature_of_every_key_in_it() -> None:
    """Nobody can list a key that is not theirs: proof of possession."""
    both = replace(NORTH, signing_keys=(key(1).public, key(2).public), overlap_until_ms=to_ms(NOW + DAY))
    complete = create_record(both, [key(1), key(2)])
    assert verify_record(complete) == both
    payload = payload_of(complete)
    refused(sign(MessageType.MEMBER_RECORD, payload, key(1)))
    refused(sign(MessageType.MEMBER_RECORD, payload, key(2)))
    refused(sign_by_all(MessageType.MEMBER_RECORD, payload, [key(1), key(2), key(3)]))
    signatures = parse_signed(complete, limits=Limits(max_bytes=MAX_RECORD_BYTES))
    refused(encode_signed(replace(signatures, signatures=signatures.signatures[:3])))


def test_a_record_signed_by_another_key_is_refused() -> None:
    """Whoever holds no listed key cannot speak for the record."""
    refused(sign(MessageType.MEMBER_RECORD, payload_of(RECORDS[0]), key(2)))


def test_a_record_signed_as_another_message_is_refused() -> None:
    """Type confusion: a roster's or statement's signature is none of a record."""
    for kind in MessageType:
        if kind is not MessageType.MEMBER_RECORD:
            refused(sign(kind, payload_of(RECORDS[0]), key(1)))


def test_only_the_listed_keys_can_be_asked_to_sign() -> None:
    """A record and its keys belong together."""
    for keys in ([], [key(2)], [key(1), key(2)]):
        with pytest.raises(ValueError, match="private half"):
            create_record(NORTH, keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"member_id": "North"},
        {"member_id": ""},
        {"federation": "a b"},
        {"domain": "north_clinic"},
        {"domain": "-north.example"},
        {"domain": "x" * 254},
        {"jurisdiction": "us"},
        {"jurisdiction": "USA"},
        {"jurisdiction": "US-"},
        {"roles": frozenset()},
        {"roles": frozenset({Role.SERVER})},
        {"roles": frozenset({Role.HELPER})},
        {"signing_keys": ()},
        {"signing_keys": (key(1).public, key(1).public), "overlap_until_ms": to_ms(NOW + DAY)},
        {"signing_keys": (key(1).public, key(2).public)},
        {"overlap_until_ms": to_ms(NOW + DAY)},
        {"log_key": "north"},
        {"log_key": ""},
        {"valid_until_ms": 0},
        {"valid_from_ms": -1},
        {"sequence": 0},
        {"sequence": 2**53},
    ],
    ids=str,
)
def test_a_record_that_makes_no_sense_is_not_signed(changes) -> None:
    """SF105 before anything is signed; a server without a sealing key among them."""
    record = replace(NORTH, **changes)
    keys = [key(1), key(1) if record.signing_keys[1:] == (key(1).public,) else key(2)][: len(record.signing_keys)]
    with pytest.raises(ConfigurationError, match="SF105"):
        create_record(record, keys)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xd8\x62", bytes(MAX_RECORD_BYTES + 1), b"-----BEGIN"])
def test_bytes_that_are_no_record_are_refused(data) -> None:
    """SF331 for anything else, of any size."""
    refused(data)


def test_the_term_includes_its_start_and_excludes_its_end() -> None:
    """Valid from the first millisecond on, not at the last."""
    start, end = NOW - DAY, NOW + 365 * DAY
    millisecond = DAY / 86_400_000
    assert not NORTH.valid_at(start - millisecond)
    assert NORTH.valid_at(start)
    assert NORTH.valid_at(end - millisecond)
    assert not NORTH.valid_at(end)


@pytest.mark.parametrize("roles", [["server", "client"], ["client", "client"], ["admin"], []], ids=str)
def test_roles_have_one_spelling(roles) -> None:
    """Unsorted, repeated, unknown or no roles are refused, whoever signed them."""
    payload = cbor.decode(payload_of(RECORDS[2]), limits=Limits(max_bytes=MAX_RECORD_BYTES))
    refused(sign(MessageType.MEMBER_RECORD, cbor.encode({**payload, 6: roles}), key(3)))
