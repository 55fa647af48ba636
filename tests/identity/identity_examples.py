"""A federation with deterministic keys: a root of three, two clients, one server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from semfed_secure.clock import to_ms
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.identity.records import MemberRecord, Role, create_record
from semfed_secure.identity.root import FederationRoot
from semfed_secure.identity.roster import Revocation, sign_roster

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@cache
def key(number: int) -> SigningKey:
    """The same keys in every test; 1-9 members, 20-29 roots."""
    return SigningKey.from_secret(Suite.HYBRID_PQ, bytes([number] * 64))


ROOT_KEYS = [key(20), key(21), key(22)]
ROOT = FederationRoot("hospitals", 2, tuple(signer.public for signer in ROOT_KEYS))


def member(name: str, number: int, *roles: Role, **changes: object) -> MemberRecord:
    """A member's record, in force for a year from yesterday on."""
    record = MemberRecord(
        federation="hospitals",
        member_id=name,
        domain=f"{name}.example",
        jurisdiction="US-CA",
        roles=frozenset(roles or {Role.CLIENT}),
        signing_keys=(key(number).public,),
        sealing_key=OpeningKey.from_seed(bytes([number] * 32)).public if Role.SERVER in roles else None,
        log_key=LogSigningKey(f"{name}.example/log", bytes([number] * 32), bytes([number] * 32)).public.encode(),
        valid_from_ms=to_ms(NOW - DAY),
        valid_until_ms=to_ms(NOW + 365 * DAY),
        sequence=1,
    )
    return replace(record, **changes)


NORTH, SOUTH = member("north", 1), member("south", 2)
HUB = member("hub", 3, Role.SERVER, Role.AUDITOR)
RECORDS = [
    create_record(NORTH, [key(1)]),
    create_record(SOUTH, [key(2)]),
    create_record(HUB, [key(3)]),
]


def roster(
    records: list[bytes] | None = None,
    *,
    sequence: int = 5,
    signers: list[SigningKey] | None = None,
    revocations: tuple[Revocation, ...] = (),
    root: FederationRoot = ROOT,
    days: int = 30,
) -> bytes:
    """A roster file, signed by two of the three root keys unless said otherwise."""
    return sign_roster(
        RECORDS if records is None else records,
        root=root,
        keys=signers or ROOT_KEYS[:2],
        sequence=sequence,
        issued_at=NOW,
        expires_at=NOW + days * DAY,
        revocations=revocations,
    )
