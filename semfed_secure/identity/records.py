"""Member records: an organisation's own signed account of who it is and which keys speak for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from semfed_secure.clock import to_ms
from semfed_secure.crypto.keys import SealingKey, VerificationKey
from semfed_secure.crypto.signing import sign_by_all, verify_by_several
from semfed_secure.errors import PeerError
from semfed_secure.identity.codecs import LOG_KEY, nested_key
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import MessageType, parse_signed, signed_limits
from semfed_secure.wire.schema import (
    INSTANT_MS,
    NAME,
    SEQUENCE,
    Codec,
    Message,
    WireValueError,
    choice,
    many,
    maybe,
    record,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.crypto.suites import Suite
    from semfed_secure.ids import FederationId, MemberId
    from semfed_secure.wire.cbor import Value

MAX_SIGNING_KEYS = 2
"""The key in use and, while they overlap, the one before it."""
_RECORD_LIMITS = Limits(max_bytes=20 * 1024)
MAX_RECORD_BYTES = signed_limits(_RECORD_LIMITS, 2 * MAX_SIGNING_KEYS).max_bytes
"""A signed member record."""


class Role(StrEnum):
    """What a member may do in its federation."""

    CLIENT = "client"
    SERVER = "server"
    HELPER = "helper"
    WITNESS = "witness"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """One organisation of a federation, with the keys that speak for it.

    A record that `verify_record` returned was signed by every one of its signing keys: nobody can list a key that
    is not theirs. The sealing key and the log key are the member's claim, covered by those signatures.

    Attributes:
        domain: The organisation's domain name.
        jurisdiction: Whose law it answers to, e.g. ``US``, ``US-CA``, ``DE``.
        signing_keys: The key in use; after a rotation also the one before it, which counts until ``overlap_until_ms``.
        sealing_key: Opens what a server keeps sealed at rest, the keys of its rounds; servers and helpers need one.
        log_key: The C2SP verifier key of its audit log, as `semfed_secure.crypto.log_keys` prints it.
        sequence: Rises with every new record of this member.
        overlap_until_ms: When the key before the one in use stops counting; None if there is only one.
    """

    federation: FederationId
    member_id: MemberId
    domain: str
    jurisdiction: str
    roles: frozenset[Role]
    signing_keys: tuple[VerificationKey, ...]
    sealing_key: SealingKey | None
    log_key: str
    valid_from_ms: int
    valid_until_ms: int
    sequence: int
    overlap_until_ms: int | None = None

    @property
    def suite(self) -> Suite:
        """The suite of all its keys."""
        return self.signing_keys[0].suite

    def keys_at(self, at: datetime) -> tuple[VerificationKey, ...]:
        """The signing keys that count at this time: the one in use, and the one before it during their overlap."""
        overlapping = self.overlap_until_ms is not None and to_ms(at) < self.overlap_until_ms
        return self.signing_keys if overlapping else self.signing_keys[:1]

    def valid_at(self, at: datetime) -> bool:
        """Whether ``at`` lies in the record's own term; the end is excluded."""
        return self.valid_from_ms <= to_ms(at) < self.valid_until_ms


def create_record(record: MemberRecord, keys: Sequence[SigningKey]) -> bytes:
    """Sign ``record`` with every key in it; ``keys`` are their private halves, in the same order.

    Raises:
        ValueError: ``keys`` are not exactly those that the record lists.
        ConfigurationError: ``SF105`` if a field is out of range.
    """
    if tuple(key.public for key in keys) != record.signing_keys:
        raise ValueError("the private half of every signing key of the record was expected")
    return sign_by_all(MessageType.MEMBER_RECORD, _RECORD.encode(record), keys)


def verify_record(data: bytes) -> MemberRecord:
    """Verify that a member record is signed by every signing key that it lists, and return it.

    This proves possession of those keys, not that the organisation is who it says: that is the federation root's
    decision, which stands in the roster.

    Raises:
        PeerError: ``SF331``, whatever is wrong with it.
    """
    try:
        # The keys come from the payload that they are to verify; nothing else of it is used before they have.
        unverified = _RECORD.parse(parse_signed(data, limits=Limits(max_bytes=MAX_RECORD_BYTES)).payload)
        verified = verify_by_several(
            MessageType.MEMBER_RECORD,
            data,
            unverified.signing_keys,
            limits=_RECORD_LIMITS,
            max_signers=MAX_SIGNING_KEYS,
        )
    except PeerError as error:
        raise PeerError("SF331", f"a member record was expected: {error.message}", cause=error.code) from error
    if verified.key_ids != {key.key_id for key in unverified.signing_keys}:
        raise PeerError("SF331", "the signature of every key of the record was expected")
    return unverified


_SORTED_ROLES = many(choice(Role), len(Role), 1)


def _pack_roles(roles: frozenset[Role]) -> Value:
    return _SORTED_ROLES.pack(tuple(sorted(roles)))


def _unpack_roles(value: Value) -> frozenset[Role]:
    roles = _SORTED_ROLES.unpack(value)
    if list(roles) != sorted(set(roles)):
        raise WireValueError("sorted roles without repeats were expected")
    return frozenset(roles)


DOMAIN = text(253, r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
JURISDICTION = text(6, r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
ROLES = Codec(_pack_roles, _unpack_roles)


def _holds_together(record: MemberRecord) -> None:
    if record.valid_from_ms >= record.valid_until_ms:
        raise WireValueError("a term that ends after it begins was expected")
    if record.sealing_key is None and record.roles & {Role.SERVER, Role.HELPER}:
        raise WireValueError("a sealing key was expected for a server or helper")
    if not record.signing_keys or len({key.key_id for key in record.signing_keys}) != len(record.signing_keys):
        raise WireValueError("signing keys without repeats were expected")
    suites = {key.suite for key in record.signing_keys} | {
        record.sealing_key.suite if record.sealing_key else record.suite
    }
    if len(suites) != 1:
        raise WireValueError("keys of one suite were expected")  # a policy that allows one suite judges all of them
    if (record.overlap_until_ms is None) != (len(record.signing_keys) == 1):
        raise WireValueError("the end of an overlap was expected where there are two signing keys, and only there")


_RECORD = Message(
    MessageType.MEMBER_RECORD.value,
    1,
    record(
        MemberRecord,
        {
            2: ("federation", NAME),
            3: ("member_id", NAME),
            4: ("domain", DOMAIN),
            5: ("jurisdiction", JURISDICTION),
            6: ("roles", ROLES),
            7: ("signing_keys", many(nested_key(VerificationKey), MAX_SIGNING_KEYS, 1)),
            8: ("sealing_key", maybe(nested_key(SealingKey))),
            9: ("log_key", LOG_KEY),
            10: ("valid_from_ms", INSTANT_MS),
            11: ("valid_until_ms", INSTANT_MS),
            12: ("sequence", SEQUENCE),
            13: ("overlap_until_ms", maybe(INSTANT_MS)),
        },
        _holds_together,
    ),
    _RECORD_LIMITS,
)
