"""A roster is signed by the threshold, in force, not older than one seen, and lists verified members only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.clock import to_ms
from semfed_secure.crypto.signing import sign_by_all
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.records import Role, create_record
from semfed_secure.identity.root import FederationRoot
from semfed_secure.identity.roster import Revocation, Roster, roster_records, sign_roster, verify_roster
from semfed_secure.ids import sha256
from semfed_secure.wire import cbor
from semfed_secure.wire.cose import MessageType, encode_signed, parse_signed
from tests.identity.identity_examples import (
    DAY,
    HUB,
    NORTH,
    NOW,
    RECORDS,
    ROOT,
    ROOT_KEYS,
    SOUTH,
    key,
    member,
    roster,
)

if TYPE_CHECKING:
    from datetime import datetime

WIDE = cbor.Limits(max_bytes=1 << 24, max_items=10_000)
GOOD = roster()


def verify(data: bytes, *, root: FederationRoot = ROOT, now: datetime = NOW, last: int = 0, **more) -> Roster:
    """Verify with what a member has at hand."""
    return verify_roster(data, root=root, now=now, last_sequence=last, **more)


def refused(data: bytes, **arguments) -> str:
    """``data`` is refused with SF322; its sentence."""
    with pytest.raises(PeerError) as caught:
        verify(data, **arguments)
    assert caught.value.code == "SF322"
    return caught.value.message


def altered(change) -> bytes:
    """The good roster file with its wire map changed."""
    value = cbor.decode(GOOD, limits=WIDE)
    change(value)
    return cbor.encode(value)


def resigned(change, signers=None) -> bytes:
    """The good roster file with the signed part changed and signed again by root keys."""

    def edit(value) -> None:
        payload = cbor.decode(parse_signed(value[2], limits=WIDE).payload, limits=WIDE)
        change(payload)
        value[2] = sign_by_all(MessageType.ROSTER, cbor.encode(payload), signers or ROOT_KEYS[:2])

    return altered(edit)


def test_a_good_roster_says_who_is_a_member() -> None:
    """Federation, sequence, records, and their roles."""
    verified = verify(GOOD)
    assert (verified.federation, verified.sequence) == ("hospitals", 5)
    assert verified.records == (HUB, NORTH, SOUTH)
    assert verified.expires_at_ms == to_ms(NOW + 30 * DAY)
    assert verified.issued_at_ms == to_ms(NOW)
    assert verified.member("north", role=Role.CLIENT, at=NOW) == NORTH
    assert verified.member("hub", role=Role.AUDITOR, at=NOW) == HUB
    assert verified.members(role=Role.CLIENT, at=NOW) == (NORTH, SOUTH)
    assert roster_records(GOOD) == tuple(RECORDS)


def test_the_digest_is_that_of_what_the_root_signed() -> None:
    """Signing again changes no digest; another member set does."""
    assert verify(roster()).digest == verify(GOOD).digest
    assert verify(roster(RECORDS[:2])).digest != verify(GOOD).digest


def test_a_flipped_bit_anywhere_in_a_roster_is_refused() -> None:
    """A bit in every 37th byte: what the root signed, its signatures, the records and theirs."""
    for byte in range(0, len(GOOD), 37):
        flipped = bytearray(GOOD)
        flipped[byte] ^= 1 << byte % 8
        refused(bytes(flipped))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_step_2_the_threshold_decides(count) -> None:
    """Fewer root keys than the threshold are refused, as many or more accepted, whichever they are."""
    root = replace(ROOT, threshold=2)
    data = resigned(lambda payload: None, ROOT_KEYS[-count:])
    if count < 2:
        assert "2 root keys" in refused(data, root=root)
    else:
        assert verify(data, root=root).sequence == 5


def test_step_2_one_root_key_counts_once() -> None:
    """Two signatures of the same key are not two keys."""
    refused(resigned(lambda payload: None, [ROOT_KEYS[0], ROOT_KEYS[0]]))


def test_step_2_half_of_a_root_signature_is_none() -> None:
    """A root key counts with both of its algorithms, and a half that is dropped or doubled spoils the roster."""
    for kept in ([0, 1, 2], [0, 1, 3], [0, 2], [0, 1, 2, 2], [0, 1, 0, 1]):

        def strip(value, kept=kept) -> None:
            envelope = parse_signed(value[2], limits=WIDE)
            value[2] = encode_signed(replace(envelope, signatures=tuple(envelope.signatures[at] for at in kept)))

        refused(altered(strip))


def test_step_2_signatures_of_strangers_are_refused() -> None:
    """Another federation's root, a member's key, or a stranger beside the threshold."""
    for signers in ([key(1), key(2)], [ROOT_KEYS[0], key(1)], [*ROOT_KEYS[:2], key(1)]):
        refused(resigned(lambda payload: None, signers))
    stranger = FederationRoot("hospitals", 1, (key(25).public,))
    refused(GOOD, root=stranger)


def test_step_3_another_federation_is_refused() -> None:
    """The same root keys may serve two federations; their rosters do not mix."""
    refused(GOOD, root=replace(ROOT, federation="banks"))


def test_step_4_an_expired_roster_is_refused() -> None:
    """In force until the millisecond before its end."""
    end = NOW + 30 * DAY
    assert verify(GOOD, now=end - DAY / 86_400_000).sequence == 5
    assert "expired" in refused(GOOD, now=end)


def test_step_5_a_rollback_is_refused() -> None:
    """An older sequence than one seen is refused; the same and a newer one are not."""
    assert verify(GOOD, last=4).sequence == 5
    assert verify(GOOD, last=5).sequence == 5
    assert "sequence 6" in refused(GOOD, last=6)


def test_step_5_two_rosters_under_one_sequence_are_refused() -> None:
    """Equivocation: what was seen under a sequence is all that it may say."""
    seen = verify(GOOD).digest
    other = roster(RECORDS[:2])
    assert verify(GOOD, last=5, last_digest=seen).digest == seen
    refused(other, last=5, last_digest=seen)
    assert verify(roster(RECORDS[:2], sequence=6), last=5, last_digest=seen).sequence == 6


def test_step_6_the_carried_records_are_exactly_the_listed_ones() -> None:
    """None missing, none added, none exchanged, none moved."""
    extra = create_record(member("west", 4), [key(4)])
    resigned_record = create_record(NORTH, [key(1)])
    for records in (
        RECORDS[:2],
        [*RECORDS, extra],
        [resigned_record, *RECORDS[1:]],
        RECORDS[::-1],
        [RECORDS[0], RECORDS[0], RECORDS[2]],
    ):
        refused(altered(lambda value, records=records: value.update({3: records})))


BAD_MEMBERS = {
    "member_twice": [RECORDS[0], create_record(member("north", 4, sequence=2), [key(4)])],
    "key_of_two_members": [RECORDS[0], create_record(member("west", 1), [key(1)])],
    "other_federation": [create_record(member("west", 4, federation="banks"), [key(4)])],
    "unsigned": [b"\xd8\x62record"],
}


@pytest.mark.parametrize("defect", BAD_MEMBERS)
def test_step_6_a_roster_of_bad_members_is_neither_signed_nor_accepted(defect) -> None:
    """Also if the root's threshold signs it."""
    records = BAD_MEMBERS[defect]
    with pytest.raises(PeerError, match=r"SF322|SF331"):
        roster(records)

    def change(value) -> None:
        payload = cbor.decode(parse_signed(value[2], limits=WIDE).payload, limits=WIDE)
        payload[6] = [sha256(record) for record in records]
        value[2] = sign_by_all(MessageType.ROSTER, cbor.encode(payload), ROOT_KEYS[:2])
        value[3] = records

    refused(altered(change))


def test_too_few_root_keys_do_not_sign() -> None:
    """Nothing leaves `sign_roster` that members would refuse."""
    with pytest.raises(PeerError, match="SF322"):
        roster(signers=ROOT_KEYS[:1])
    with pytest.raises(PeerError, match="SF322"):
        roster(signers=[key(1), key(2)])
    with pytest.raises(ConfigurationError, match="SF105"):
        sign_roster([], root=ROOT, keys=ROOT_KEYS, sequence=1, issued_at=NOW, expires_at=NOW)


def who(verified: Roster, name: str, role: Role = Role.CLIENT, at: datetime = NOW) -> str:
    """The code with which a member is refused, ``ok`` if it is not."""
    try:
        verified.member(name, role=role, at=at)
    except PeerError as error:
        return error.code
    return "ok"


def test_an_unknown_member_a_wrong_role_and_a_wrong_time_are_refused() -> None:
    """SF306 each."""
    verified = verify(GOOD)
    assert who(verified, "north") == "ok"
    assert who(verified, "west") == "SF306"
    assert who(verified, "north", Role.SERVER) == "SF306"
    assert who(verified, "hub", Role.CLIENT) == "SF306"
    assert who(verified, "north", at=NOW - 2 * DAY) == "SF306"
    assert who(verified, "north", at=NOW + 365 * DAY) == "SF306"
    assert verified.members(role=Role.CLIENT, at=NOW + 365 * DAY) == ()


def test_a_revocation_refuses_from_its_instant_on() -> None:
    """The member's record up to the named sequence, and nobody else's."""
    revocation = Revocation("north", 1, to_ms(NOW + DAY), "key lost")
    verified = verify(roster(revocations=(revocation,)))
    assert who(verified, "north", at=NOW) == "ok"
    assert who(verified, "north", at=NOW + DAY) == "SF306"
    assert who(verified, "south", at=NOW + DAY) == "ok"
    assert verified.members(role=Role.CLIENT, at=NOW + DAY) == (SOUTH,)
    assert verified.revocations == (revocation,)


def test_a_revocation_does_not_wait_for_a_clock_that_is_behind() -> None:
    """The root signed it at noon: who holds that roster refuses the member, whatever its own clock says."""
    verified = verify(roster(revocations=(Revocation("north", 1, to_ms(NOW), "key lost"),)))
    assert who(verified, "north", at=NOW - DAY / 86_400) == "SF306"


def test_a_new_record_is_not_touched_by_an_old_revocation() -> None:
    """A member comes back with new keys and a higher sequence."""
    renewed = member("north", 4, sequence=2)
    records = [create_record(renewed, [key(4)]), *RECORDS[1:]]
    verified = verify(roster(records, revocations=(Revocation("north", 1, to_ms(NOW), "key lost"),)))
    assert verified.member("north", role=Role.CLIENT, at=NOW) == renewed


@settings(max_examples=60)
@given(
    st.sampled_from(["north", "south", "hub", "west"]),
    st.sampled_from(Role),
    st.integers(-3, 400),
    st.lists(st.tuples(st.sampled_from(["north", "south"]), st.integers(1, 3), st.integers(-2, 5)), max_size=3),
)
def test_members_lists_exactly_whom_member_returns(name, role, days, revoked) -> None:
    """The list and the single question agree at every time, role, and set of revocations."""
    revocations = tuple(Revocation(who_, up_to, to_ms(NOW + offset * DAY), "drill") for who_, up_to, offset in revoked)
    verified = verify(roster(revocations=revocations))
    at = NOW + days * DAY
    listed = {record.member_id for record in verified.members(role=role, at=at)}
    assert (name in listed) == (who(verified, name, role, at) == "ok")


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xa0", RECORDS[0], ROOT.encode()], ids=range(5))
def test_step_1_bytes_that_are_no_roster_are_refused(data) -> None:
    """SF322 for anything else."""
    refused(data)


def test_a_root_comes_back_equal_and_its_digest_covers_it() -> None:
    """Id, threshold, every key."""
    assert FederationRoot.parse(ROOT.encode()) == ROOT
    variants = [
        replace(ROOT, federation="banks"),
        replace(ROOT, threshold=1),
        replace(ROOT, keys=ROOT.keys[:2]),
        replace(ROOT, keys=ROOT.keys[::-1]),
    ]
    assert len({ROOT.digest, *(variant.digest for variant in variants)}) == 5


@pytest.mark.parametrize(
    "changes",
    [{"threshold": 0}, {"threshold": 4}, {"keys": ()}, {"keys": (ROOT.keys[0],) * 3}, {"federation": "A"}],
    ids=["zero", "above", "no_keys", "same_key", "name"],
)
def test_a_root_whose_threshold_means_nothing_is_refused(changes) -> None:
    """Zero of n, more than all, or one key counted three times."""
    with pytest.raises(ConfigurationError, match="SF105"):
        replace(ROOT, **changes).encode()
