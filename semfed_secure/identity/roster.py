"""The roster: who belongs to a federation, signed by a threshold of its root keys.

A roster file carries the signed roster and the signed member records whose digests it lists. A `Roster` exists only
as the result of `verify_roster`, so whoever holds one may ask it who is a member.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from semfed_secure.clock import from_ms, to_iso, to_ms
from semfed_secure.crypto.signing import sign_by_all, verify_by_several
from semfed_secure.errors import PeerError
from semfed_secure.identity.records import MAX_RECORD_BYTES, MemberRecord, Role, verify_record
from semfed_secure.identity.root import MAX_ROOT_KEYS, FederationRoot
from semfed_secure.ids import Digest, sha256
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import MessageType, signed_limits
from semfed_secure.wire.manifest import MAX_MEMBERS
from semfed_secure.wire.schema import (
    DIGEST,
    INSTANT_MS,
    NAME,
    SEQUENCE,
    Message,
    WireValueError,
    many,
    octets,
    record,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.ids import FederationId, KeyId, MemberId

_ROSTER_LIMITS = Limits(max_bytes=1024 * 1024, max_items=64 + 12 * MAX_MEMBERS)
_SIGNED_ROSTER_BYTES = signed_limits(_ROSTER_LIMITS, 2 * MAX_ROOT_KEYS).max_bytes
MAX_ROSTER_FILE_BYTES = _SIGNED_ROSTER_BYTES + 16 * 1024 * MAX_MEMBERS
"""A thousand members with a record of ordinary size (one signing key) each."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """Takes effect at ``at_ms`` for the member's records up to ``up_to_sequence``; a later record is not touched."""

    member_id: MemberId
    up_to_sequence: int
    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterPayload:
    """What the root signs: which records, which revocations, until when."""

    federation: FederationId
    sequence: int
    issued_at_ms: int
    expires_at_ms: int
    record_digests: tuple[Digest, ...]
    revocations: tuple[Revocation, ...]


@dataclass(frozen=True, slots=True)
class _RosterFile:
    roster: bytes
    records: tuple[bytes, ...]


class Roster:
    """A verified roster.

    Every record in it was signed by all its own keys and by the root's threshold, through the roster that lists its
    digest; no two members share an id, a signing key or a log key.
    """

    __slots__ = ("_members", "_payload", "digest")

    def __init__(self, payload: RosterPayload, digest: Digest, members: Sequence[MemberRecord]) -> None:
        """Only `verify_roster` calls this."""
        self._payload = payload
        self._members = {member.member_id: member for member in members}
        self.digest = digest
        """SHA-256 of what the root signed; a round's manifest names it."""

    @property
    def federation(self) -> FederationId:
        """The federation whose roster this is."""
        return self._payload.federation

    @property
    def sequence(self) -> int:
        """Rises with every roster; an older one than already seen is refused."""
        return self._payload.sequence

    @property
    def issued_at_ms(self) -> int:
        """When the root signed it."""
        return self._payload.issued_at_ms

    @property
    def expires_at_ms(self) -> int:
        """From when on it is refused."""
        return self._payload.expires_at_ms

    @property
    def revocations(self) -> tuple[Revocation, ...]:
        """All revocations so far."""
        return self._payload.revocations

    @property
    def records(self) -> tuple[MemberRecord, ...]:
        """Every listed record, valid now or not, in the order of member ids."""
        return tuple(self._members[member_id] for member_id in sorted(self._members))

    def member(self, member_id: MemberId, *, role: Role, at: datetime) -> MemberRecord:
        """The record of a member that may act as ``role`` at this time, with the signing keys that count then.

        Raises:
            PeerError: ``SF306`` unknown, outside its term, revoked, or without the role.
        """
        record = self._members.get(member_id)
        if record is None:
            raise PeerError("SF306", f"a member of {self.federation} was expected, {member_id} is none")
        if not record.valid_at(at):
            term = f"{to_iso(from_ms(record.valid_from_ms))} to {to_iso(from_ms(record.valid_until_ms))}"
            raise PeerError("SF306", f"the record of {member_id} is valid from {term}", member=member_id)
        if self.revoked(record, at=at):
            raise PeerError("SF306", f"the record of {member_id} is revoked", member=member_id)
        if role not in record.roles:
            raise PeerError("SF306", f"the role {role} was expected of {member_id}", member=member_id)
        return _in_force(record, at)

    def members(self, *, role: Role, at: datetime) -> tuple[MemberRecord, ...]:
        """Every record that `member` would return for ``role`` at this time."""
        return tuple(
            _in_force(record, at)
            for record in self.records
            if role in record.roles and record.valid_at(at) and not self.revoked(record, at=at)
        )

    def revoked(self, record: MemberRecord, *, at: datetime) -> bool:
        """Whether a revocation of ``record`` is in effect: at the latest when the roster was issued that lists it.

        So whoever holds the roster refuses the member at once, also if its own clock is behind the root's.
        """
        instant = max(to_ms(at), self.issued_at_ms)
        return any(
            revocation.member_id == record.member_id
            and record.sequence <= revocation.up_to_sequence
            and revocation.at_ms <= instant
            for revocation in self.revocations
        )

    def counts(self, member_id: MemberId, key_id: KeyId, *, at: datetime) -> bool:
        """Whether the member's record here, if there is one, still lets this key sign."""
        record = self._members.get(member_id)
        return record is None or any(key.key_id == key_id for key in record.keys_at(at))


def _in_force(record: MemberRecord, at: datetime) -> MemberRecord:
    keys = record.keys_at(at)
    return record if keys == record.signing_keys else replace(record, signing_keys=keys, overlap_until_ms=None)


def sign_roster(
    records: Sequence[bytes],
    *,
    root: FederationRoot,
    keys: Sequence[SigningKey],
    sequence: int,
    issued_at: datetime,
    expires_at: datetime,
    revocations: Sequence[Revocation] = (),
) -> bytes:
    """Sign a roster of ``records`` with ``keys`` and return the roster file.

    Args:
        records: Signed member records, one per member.
        root: The federation.
        keys: Root keys, at least its threshold.
        sequence: Higher than that of any roster before.
        issued_at: Now.
        expires_at: From when on members refuse it.
        revocations: All revocations so far.

    Raises:
        PeerError: ``SF331`` a record does not verify; ``SF322`` what is signed would not verify.
    """
    payload = RosterPayload(
        federation=root.federation,
        sequence=sequence,
        issued_at_ms=to_ms(issued_at),
        expires_at_ms=to_ms(expires_at),
        record_digests=tuple(sha256(record) for record in records),
        revocations=tuple(revocations),
    )
    _verify_records(payload, records)
    signed = sign_by_all(MessageType.ROSTER, _ROSTER.encode(payload), keys)
    data = _ROSTER_FILE.encode(_RosterFile(signed, tuple(records)))
    verify_roster(data, root=root, now=issued_at, last_sequence=sequence)
    return data


def verify_roster(
    data: bytes,
    *,
    root: FederationRoot,
    now: datetime,
    last_sequence: int,
    last_digest: Digest | None = None,
) -> Roster:
    """Verify a roster file against the pinned federation root.

    Steps: 1 size and form, 2 signatures of the threshold, 3 federation, 4 term, 5 rollback, 6 exactly the listed
    records, each verified and of this federation, no member id, signing key or log key twice.

    Args:
        data: The roster file.
        root: The pinned root.
        now: The present.
        last_sequence: The highest sequence seen before, 0 at first.
        last_digest: The digest seen with ``last_sequence``: one sequence, one roster.

    Raises:
        PeerError: ``SF322``, whatever is wrong with it.
    """
    try:
        # 1-2
        file = _ROSTER_FILE.parse(data)
        verified = verify_by_several(
            MessageType.ROSTER, file.roster, root.keys, limits=_ROSTER_LIMITS, max_signers=MAX_ROOT_KEYS
        )
        payload = _ROSTER.parse(verified.payload)
    except PeerError as error:
        raise PeerError("SF322", f"a signed roster was expected: {error.message}", cause=error.code) from error
    if len(verified.key_ids) < root.threshold:
        _refuse(f"signatures of {root.threshold} root keys were expected, found {len(verified.key_ids)}")
    # 3
    if payload.federation != root.federation:
        _refuse(f"the roster of {root.federation} was expected")
    # 4
    if to_ms(now) >= payload.expires_at_ms:
        _refuse(f"a roster in force was expected, this one expired at {to_iso(from_ms(payload.expires_at_ms))}")
    # 5
    digest = sha256(verified.payload)
    if payload.sequence < last_sequence:
        _refuse(f"sequence {last_sequence} or later was expected, found {payload.sequence}")
    if payload.sequence == last_sequence and last_digest not in {None, digest}:
        _refuse(f"the roster already seen under sequence {last_sequence} was expected, found another")
    # 6
    try:
        return Roster(payload, digest, _verify_records(payload, file.records))
    except PeerError as error:
        raise PeerError("SF322", error.message, cause=error.code) from error


def roster_records(data: bytes) -> tuple[bytes, ...]:
    """The signed member records that a roster file carries, as they are; verify the file first.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _ROSTER_FILE.parse(data).records


def _verify_records(payload: RosterPayload, records: Sequence[bytes]) -> list[MemberRecord]:
    if tuple(sha256(data) for data in records) != payload.record_digests:
        _refuse("exactly the records that the roster lists were expected")
    members = [verify_record(data) for data in records]
    if any(member.federation != payload.federation for member in members):
        _refuse(f"records of {payload.federation} only were expected")
    if len({member.member_id for member in members}) != len(members):
        _refuse("one record per member was expected")
    key_ids = [key.key_id for member in members for key in member.signing_keys]
    if len(set(key_ids)) != len(key_ids):
        _refuse("signing keys of one member each were expected")
    if len({member.log_key for member in members}) != len(members):
        _refuse("log keys of one member each were expected")
    return members


def _refuse(sentence: str) -> NoReturn:
    raise PeerError("SF322", sentence)


def _term(payload: RosterPayload) -> None:
    if payload.issued_at_ms >= payload.expires_at_ms:
        raise WireValueError("a roster that expires after it is issued was expected")


_REVOCATION = record(
    Revocation,
    {
        1: ("member_id", NAME),
        2: ("up_to_sequence", SEQUENCE),
        3: ("at_ms", INSTANT_MS),
        4: ("reason", text(200)),
    },
)
_ROSTER = Message(
    MessageType.ROSTER.value,
    1,
    record(
        RosterPayload,
        {
            2: ("federation", NAME),
            3: ("sequence", SEQUENCE),
            4: ("issued_at_ms", INSTANT_MS),
            5: ("expires_at_ms", INSTANT_MS),
            6: ("record_digests", many(DIGEST, MAX_MEMBERS)),
            7: ("revocations", many(_REVOCATION, MAX_MEMBERS)),
        },
        _term,
    ),
    _ROSTER_LIMITS,
)
_ROSTER_FILE = Message(
    "semfed/roster-file",
    1,
    record(
        _RosterFile,
        {
            2: ("roster", octets(1, _SIGNED_ROSTER_BYTES)),
            3: ("records", many(octets(1, MAX_RECORD_BYTES), MAX_MEMBERS)),
        },
    ),
    Limits(max_bytes=MAX_ROSTER_FILE_BYTES, max_items=64 + MAX_MEMBERS),
)
