"""Enrolment by one-time token: whom the federation root invited may bring one record, and nobody else may.

A token is the seed of a signing key that signs once, around the member's record. The root keeps only the digest of
that key's public half: neither what the root stores nor the request on its way lets anybody enrol another record.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.crypto.keys import SigningKey, Suite, VerificationKey
from semfed_secure.crypto.signing import sign, verify
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.codecs import nested_key
from semfed_secure.identity.records import (
    DOMAIN,
    JURISDICTION,
    MAX_RECORD_BYTES,
    ROLES,
    MemberRecord,
    Role,
    verify_record,
)
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import MessageType, signed_limits
from semfed_secure.wire.schema import NAME, Message, WireValueError, octets, record

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.clock import Randomness
    from semfed_secure.ids import KeyId, MemberId

TOKEN_BYTES = 32
MAX_TOKEN_FILE_BYTES = 128
_RECORD_PAYLOAD = Limits(max_bytes=MAX_RECORD_BYTES)
_SIGNED_BYTES = signed_limits(_RECORD_PAYLOAD).max_bytes
MAX_APPLICATION_BYTES = _SIGNED_BYTES + 4 * 1024
"""A request with its token's key; larger than a record that comes alone."""
_DERIVATION = b"semfed/enrolment-token/1\n"


@dataclass(frozen=True, slots=True)
class Application:
    """A record that asks to be enrolled, signed by all its keys; with a token, also by the token's key."""

    record: bytes
    member: MemberRecord
    token_key_id: KeyId | None


@dataclass(frozen=True, slots=True)
class Invitee:
    """Whom the root invites, and as what: a record says exactly this, or the token does not enrol it.

    Raises:
        ConfigurationError: ``SF105`` something that a record could not say.
    """

    member_id: MemberId
    roles: frozenset[Role]
    domain: str
    jurisdiction: str

    def __post_init__(self) -> None:
        """Check each field as a record's."""
        try:
            NAME.pack(self.member_id)
            ROLES.pack(self.roles)
            DOMAIN.pack(self.domain)
            JURISDICTION.pack(self.jurisdiction)
        except WireValueError as error:
            raise ConfigurationError("SF105", f"whom to invite: {error}") from None


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the root keeps of a token: for whom, and until when. Not the token."""

    invitee: Invitee
    token_key_id: KeyId
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Request:
    token_key: VerificationKey
    signed: bytes


def new_token(randomness: Randomness) -> bytes:
    """A fresh token, as text: 43 letters, digits, ``-`` and ``_``."""
    return base64.urlsafe_b64encode(randomness.token_bytes(TOKEN_BYTES)).rstrip(b"=")


def token_key_id(token: bytes) -> KeyId:
    """The digest by which the root knows a token.

    Raises:
        ConfigurationError: ``SF104`` it is not a token.
    """
    return _token_key(token).key_id


def make_request(record: bytes, token: bytes) -> bytes:
    """Bind a signed member record to a token; send the result to the federation root.

    Raises:
        ConfigurationError: ``SF104`` it is not a token.
    """
    key = _token_key(token)
    return _REQUEST.encode(_Request(key.public, sign(MessageType.ENROLMENT, record, key)))


def read_application(data: bytes) -> Application:
    """Read what a member sent: a request that was made with a token, or a bare member record.

    Raises:
        PeerError: ``SF331``, whatever is wrong with it.
    """
    if _looks_signed(data):
        return Application(data, verify_record(data), None)
    try:
        request = _REQUEST.parse(data)
        verified = verify(MessageType.ENROLMENT, request.signed, [request.token_key], limits=_RECORD_PAYLOAD)
    except PeerError as error:
        raise PeerError("SF331", f"a record or a request was expected: {error.message}", cause=error.code) from error
    return Application(verified.payload, verify_record(verified.payload), verified.key_id)


def _looks_signed(data: bytes) -> bool:
    return data.startswith(b"\xd8\x62")  # COSE_Sign: a member record; a request opens with a map


def _token_key(token: bytes) -> SigningKey:
    try:
        secret = base64.b64decode(token.strip() + b"=", altchars=b"-_", validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != TOKEN_BYTES:
        raise ConfigurationError("SF104", "a token of `semfed federation invite` was expected")
    seeds = hashlib.shake_256(_DERIVATION + secret).digest(64)
    return SigningKey.from_secret(Suite.HYBRID_PQ, seeds)


_REQUEST = Message(
    "semfed/enrolment-request",
    1,
    record(
        _Request,
        {2: ("token_key", nested_key(VerificationKey)), 3: ("signed", octets(1, _SIGNED_BYTES))},
    ),
    Limits(max_bytes=MAX_APPLICATION_BYTES),
)
