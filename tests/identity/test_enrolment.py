"""One-time tokens: what a request proves, and what it cannot be made to say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.clock import SystemRandomness
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity import enrolment
from semfed_secure.identity.enrolment import make_request, new_token, read_application, token_key_id
from semfed_secure.identity.records import create_record
from semfed_secure.wire.types import MessageType
from tests.identity.identity_examples import NORTH, RECORDS, key

TOKEN = new_token(SystemRandomness())
REQUEST = make_request(RECORDS[0], TOKEN)


def refused(data: bytes) -> None:
    """SF331."""
    with pytest.raises(PeerError) as caught:
        read_application(data)
    assert caught.value.code == "SF331"


def test_a_request_names_its_record_and_the_digest_of_its_token() -> None:
    """The root recognises the token by what it kept, and finds the member's own bytes."""
    application = read_application(REQUEST)
    assert (application.record, application.member) == (RECORDS[0], NORTH)
    assert application.token_key_id == token_key_id(TOKEN)
    assert TOKEN not in REQUEST
    assert token_key_id(new_token(SystemRandomness())) != token_key_id(TOKEN)


def test_a_bare_record_names_no_token() -> None:
    """Somebody else has to vouch for it."""
    assert read_application(RECORDS[0]).token_key_id is None


@given(st.data())
def test_a_flipped_bit_anywhere_in_a_request_is_refused(data: st.DataObject) -> None:
    """Token key, record, either signature."""
    changed = bytearray(REQUEST)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused(bytes(changed))


def test_a_request_on_its_way_cannot_carry_another_record() -> None:
    """Whoever sees a request knows the token's public key, and cannot sign with it."""
    other = create_record(replace(NORTH, signing_keys=(key(2).public,)), [key(2)])
    parsed = enrolment._REQUEST.parse(REQUEST)
    forged = replace(parsed, signed=sign(MessageType.ENROLMENT, other, key(2)))
    refused(enrolment._REQUEST.encode(forged))
    mine = replace(parsed, token_key=key(2).public, signed=forged.signed)
    assert read_application(enrolment._REQUEST.encode(mine)).token_key_id != token_key_id(TOKEN)


def test_a_request_for_a_record_without_possession_is_refused() -> None:
    """The token is no proof of the record's keys."""
    stranger = sign(MessageType.MEMBER_RECORD, b"not a record", key(1))
    refused(make_request(stranger, TOKEN))


NO_TOKENS = {
    "empty": b"",
    "short": b"short",
    "shortened": TOKEN[:-1],
    "lengthened": TOKEN + b"A",
    "stars": b"*" * 43,
    "not text": b"\xff" * 43,
}


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS.keys())
def test_what_is_not_a_token_is_told_so(token: bytes) -> None:
    """SF104, before anything is signed."""
    with pytest.raises(ConfigurationError) as caught:
        make_request(RECORDS[0], token)
    assert caught.value.code == "SF104"


def test_a_token_may_end_in_a_line_end() -> None:
    """As files do."""
    assert token_key_id(TOKEN + b"\n") == token_key_id(TOKEN)
