"""Changing a signing key: both count during the overlap, the one before no longer after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from semfed_secure.clock import to_ms
from semfed_secure.crypto.keys import SigningKey
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.member_changes import Terms, rotate_member_keys
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.identity.records import Role, create_record, verify_record
from semfed_secure.identity.roster import verify_roster
from tests.identity.identity_examples import DAY, NORTH, NOW, RECORDS, ROOT, key, roster
from tests.identity.test_files import PASSPHRASE, create

pytestmark = pytest.mark.usefixtures("cheap_key_files")

OVERLAP = 10 * DAY
ROTATED = replace(
    NORTH,
    signing_keys=(key(4).public, key(1).public),
    sequence=2,
    overlap_until_ms=to_ms(NOW + OVERLAP),
)
MOMENT = timedelta(milliseconds=1)


def rotated_roster():
    """North has rotated."""
    data = roster([create_record(ROTATED, [key(4), key(1)]), *RECORDS[1:]])
    return verify_roster(data, root=ROOT, now=NOW, last_sequence=0)


def test_both_keys_count_until_the_overlap_ends_and_then_only_the_new_one() -> None:
    """To the millisecond, in what a roster gives and in what it is asked about one key."""
    verified, end = rotated_roster(), NOW + OVERLAP
    for at, expected in ((NOW, (key(4), key(1))), (end - MOMENT, (key(4), key(1))), (end, (key(4),))):
        record = verified.member("north", role=Role.CLIENT, at=at)
        assert record.signing_keys == tuple(each.public for each in expected)
        (listed, _) = verified.members(role=Role.CLIENT, at=at)
        assert listed == record
        for asked in (key(1), key(4), key(9)):
            assert verified.counts("north", asked.key_id, at=at) == (asked in expected)
    assert verified.counts("nobody", key(9).key_id, at=NOW)


def test_a_rotated_record_is_signed_by_the_old_key_and_the_new_one(tmp_path) -> None:
    """A new directory; the old one and its key are as before; log and opening key stay."""
    before = create(tmp_path / "hub", "hub", Role.SERVER)
    old = {path.name: path.read_bytes() for path in (tmp_path / "hub").iterdir()}
    terms = Terms(valid_for=365 * DAY, overlap=OVERLAP)
    record = rotate_member_keys(tmp_path / "hub", tmp_path / "new", passphrase=PASSPHRASE, now=NOW, terms=terms)
    after = load_member_keys(tmp_path / "new", PASSPHRASE)
    assert after.record == record == verify_record((tmp_path / "new" / "member.record").read_bytes())
    assert record.signing_keys == (after.signing.public, before.signing.public)
    assert (record.sequence, record.overlap_until_ms) == (2, to_ms(NOW + OVERLAP))
    assert (record.log_key, record.sealing_key) == (before.record.log_key, before.record.sealing_key)
    assert {path.name: path.read_bytes() for path in (tmp_path / "hub").iterdir()} == old
    assert load_member_keys(tmp_path / "hub", PASSPHRASE).signing.key_id == before.signing.key_id


def test_the_key_before_the_last_is_dropped_by_the_next_rotation(tmp_path) -> None:
    """Never more than two keys."""
    create(tmp_path / "0")
    terms = Terms(valid_for=365 * DAY, overlap=OVERLAP)
    first = rotate_member_keys(tmp_path / "0", tmp_path / "1", passphrase=PASSPHRASE, now=NOW, terms=terms)
    second = rotate_member_keys(tmp_path / "1", tmp_path / "2", passphrase=PASSPHRASE, now=NOW, terms=terms)
    assert second.signing_keys[1] == first.signing_keys[0]
    assert (len(second.signing_keys), second.sequence) == (2, 3)


def test_nobody_rotates_to_a_key_without_the_one_before() -> None:
    """A record that lists the old key needs its signature."""
    with pytest.raises(ValueError, match="private half"):
        create_record(ROTATED, [key(4), SigningKey.generate()])


def test_an_overlap_longer_than_the_record_is_refused(tmp_path) -> None:
    """SF105, and nothing is written."""
    create(tmp_path / "0")
    terms = Terms(valid_for=DAY, overlap=DAY)
    with pytest.raises(ConfigurationError) as caught:
        rotate_member_keys(tmp_path / "0", tmp_path / "1", passphrase=PASSPHRASE, now=NOW, terms=terms)
    assert caught.value.code == "SF105"
    assert not (tmp_path / "1").exists()
