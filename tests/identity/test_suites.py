"""Member records and key directories in every suite, with keys inside and outside of the files."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from semfed_secure.crypto.external import SignerAddress, read_public_part
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.member_changes import Terms, rotate_member_keys
from semfed_secure.identity.member_files import create_member_keys, load_member_keys
from semfed_secure.identity.records import Role, create_record, verify_record
from tests.identity.identity_examples import DAY, HUB, NORTH, NOW, key

pytestmark = pytest.mark.usefixtures("cheap_key_files")

PASSPHRASE = b"correct horse battery staple"
TERMS = Terms(valid_for=300 * DAY, overlap=10 * DAY)
P256 = SigningKey.from_secret(Suite.NIST_P256, bytes([7] * 32))


def outside(directory, name: str):
    """A P-256 key in a file of another program: its address, and the part of a signing key that it is."""
    private = ec.generate_private_key(ec.SECP256R1())
    path = directory / f"{name}.pem"
    path.touch(mode=0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = directory / f"{name}.pub"
    public.write_bytes(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    address = SignerAddress(f"file2:{path}")
    return address, address.open(read_public_part(public))


def create(directory, suite: Suite, part=None, role: Role = Role.SERVER):
    """A member's key directory."""
    return create_member_keys(
        directory,
        federation="hospitals",
        member_id="hub",
        domain="hub.example",
        jurisdiction="US",
        roles=frozenset({role}),
        passphrase=PASSPHRASE,
        now=NOW,
        valid_for=timedelta(days=300),
        suite=suite,
        outside=part,
    )


@pytest.mark.parametrize("suite", Suite)
def test_a_key_directory_of_every_suite_comes_back(suite, tmp_path) -> None:
    """Signing and opening key, and the record, are of that suite."""
    made = create(tmp_path / "hub", suite)
    loaded = load_member_keys(tmp_path / "hub", PASSPHRASE)
    assert (loaded.record, loaded.signing.public, loaded.opening.public) == (
        made.record,
        made.signing.public,
        made.opening.public,
    )
    assert {loaded.record.suite, loaded.signing.public.suite, loaded.opening.public.suite} == {suite}


@pytest.mark.parametrize("suite", Suite)
def test_the_record_of_a_key_outside_proves_its_possession(suite, tmp_path) -> None:
    """Its signature stands on the record, the file does not hold it, and nothing loads without it."""
    address, part = outside(tmp_path, "token")
    create(tmp_path / "hub", suite, part)
    record = verify_record((tmp_path / "hub" / "member.record").read_bytes())
    assert record.signing_keys[0].parts[0] == part.public
    assert load_member_keys(tmp_path / "hub", PASSPHRASE, outside=address.open).record == record
    other, _ = outside(tmp_path, "other")
    for wrong in (None, other.open):
        with pytest.raises(ConfigurationError) as caught:
            load_member_keys(tmp_path / "hub", PASSPHRASE, outside=wrong)
        assert caught.value.code == "SF125"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("suite", Suite)
def test_a_member_rotates_between_files_and_tokens(suite, before, after, tmp_path) -> None:
    """In any direction, under the signatures of both keys."""
    old_address, old = outside(tmp_path, "old") if before else (None, None)
    new_address, new = outside(tmp_path, "new") if after else (None, None)
    create(tmp_path / "a", suite, old)
    record = rotate_member_keys(
        tmp_path / "a",
        tmp_path / "b",
        passphrase=PASSPHRASE,
        now=NOW + DAY,
        terms=TERMS,
        before_outside=old_address.open if old_address else None,
        outside=new,
    )
    loaded = load_member_keys(tmp_path / "b", PASSPHRASE, outside=new_address.open if new_address else None)
    assert loaded.record == record
    assert record.suite is suite
    assert [key.algorithms[0].name for key in record.signing_keys] == [
        "ESP256" if inside or suite is Suite.NIST_P256 else "ED25519" for inside in (after, before)
    ]


MIXED = {
    "two_signing_keys": (
        replace(NORTH, signing_keys=(key(1).public, P256.public), overlap_until_ms=NORTH.valid_until_ms),
        [key(1), P256],
    ),
    "the_sealing_key": (
        replace(HUB, sealing_key=OpeningKey.from_seed(bytes([3] * 32), Suite.NIST_P256).public),
        [key(3)],
    ),
    "the_signing_key": (replace(HUB, signing_keys=(P256.public,)), [P256]),
}


@pytest.mark.parametrize("mixed", MIXED)
def test_a_record_of_two_suites_is_refused(mixed) -> None:
    """A policy that allows one suite looks at one word; no other key may hide behind it."""
    with pytest.raises(ConfigurationError, match="one suite"):
        create_record(*MIXED[mixed])


def test_a_record_may_hold_a_hybrid_with_and_one_without_a_token(tmp_path) -> None:
    """Both are of hybrid-pq: that is how a member moves to a token."""
    _, part = outside(tmp_path, "token")
    new = SigningKey.generate(outside=part)
    both = replace(NORTH, signing_keys=(new.public, key(1).public), overlap_until_ms=NORTH.valid_until_ms)
    assert verify_record(create_record(both, [new, key(1)])).suite is Suite.HYBRID_PQ
