"""Key directories and the federation root's directory: whole, durable, and never overwritten."""

from __future__ import annotations

import shutil
import stat
from datetime import timedelta

import pytest

from semfed_secure.errors import ConfigurationError, PeerError, SemfedError
from semfed_secure.identity.federation_files import FederationDirectory, found_federation, load_root
from semfed_secure.identity.files import make_private_directory, replace_file, write_new, write_private
from semfed_secure.identity.member_files import create_member_keys, load_member_keys, load_member_record
from semfed_secure.identity.records import Role, verify_record
from semfed_secure.identity.roster import verify_roster
from tests.identity.identity_examples import DAY, NOW

PASSPHRASE = b"correct horse battery staple"
YEAR = timedelta(days=365)

pytestmark = pytest.mark.usefixtures("cheap_key_files")


def create(directory, name="north", *roles, **changes):
    """A member's keys in ``directory``."""
    arguments = {
        "federation": "hospitals",
        "member_id": name,
        "domain": f"{name}.example",
        "jurisdiction": "US",
        "roles": frozenset(roles or {Role.CLIENT}),
        "passphrase": PASSPHRASE,
        "now": NOW,
        "valid_for": YEAR,
    }
    return create_member_keys(directory, **(arguments | changes))


@pytest.fixture
def root(tmp_path):
    """A federation directory with two of three root keys needed."""
    directory = tmp_path / "root"
    found_federation(
        directory,
        federation="hospitals",
        root_keys=3,
        threshold=2,
        passphrases=[PASSPHRASE],
        now=NOW,
        valid_for=30 * DAY,
    )
    return directory


def add(root, record, *, now=NOW, passphrase=PASSPHRASE):
    """Enrol ``record``."""
    federation = FederationDirectory(root)
    keys = federation.open_keys([passphrase])
    federation.publish(federation.with_members([record], keys=keys, now=now, valid_for=30 * DAY))
    return verify_record(record)


def code(call, *arguments, **keywords) -> str:
    """The code with which ``call`` is refused."""
    with pytest.raises(SemfedError) as caught:
        call(*arguments, **keywords)
    return caught.value.code


def test_member_keys_come_back_with_their_record(tmp_path) -> None:
    """A client holds no opening key, a server does; the record names exactly these keys."""
    client, server = create(tmp_path / "north"), create(tmp_path / "hub", "hub", Role.SERVER)
    for directory, created in ((tmp_path / "north", client), (tmp_path / "hub", server)):
        loaded = load_member_keys(directory, PASSPHRASE)
        assert loaded.record == created.record == load_member_record(directory)
        assert loaded.record.signing_keys == (loaded.signing.public,)
        assert loaded.record.log_key == loaded.log.public.encode()
    assert client.opening is None
    assert server.record.sealing_key == server.opening.public
    assert stat.S_IMODE((tmp_path / "north").stat().st_mode) == 0o700


def test_keys_are_never_overwritten(tmp_path) -> None:
    """A directory with any key file stays as it is."""
    create(tmp_path / "north")
    before = {path.name: path.read_bytes() for path in (tmp_path / "north").iterdir()}
    assert code(create, tmp_path / "north") == "SF123"
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "log.key").write_bytes(b"mine")
    assert code(create, tmp_path / "part") == "SF123"
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["log.key"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "north").iterdir()} == before


@pytest.mark.parametrize("changes", [{"domain": "north clinic"}, {"jurisdiction": "?"}, {"member_id": "../x"}])
def test_a_bad_field_leaves_nothing_behind(tmp_path, changes) -> None:
    """SF105, and no directory was made."""
    assert code(create, tmp_path / "north", **changes) == "SF105"
    assert not (tmp_path / "north").exists()


@pytest.mark.parametrize("name", ["signing.key", "log.key", "opening.key"])
def test_a_key_of_another_member_is_refused(tmp_path, name) -> None:
    """The record's keys or none: a swapped file is SF121."""
    create(tmp_path / "hub", "hub", Role.SERVER)
    create(tmp_path / "other", "hub", Role.SERVER)
    shutil.copy(tmp_path / "other" / name, tmp_path / "hub" / name)
    assert code(load_member_keys, tmp_path / "hub", PASSPHRASE) == "SF121"


def test_a_missing_or_open_key_file_is_refused(tmp_path) -> None:
    """SF102, SF122, and a wrong passphrase SF121."""
    create(tmp_path / "north")
    assert code(load_member_keys, tmp_path / "north", b"wrong passphrase") == "SF121"
    (tmp_path / "north" / "log.key").chmod(0o644)
    assert code(load_member_keys, tmp_path / "north", PASSPHRASE) == "SF122"
    (tmp_path / "north" / "log.key").unlink()
    assert code(load_member_keys, tmp_path / "north", PASSPHRASE) == "SF102"
    assert code(load_member_record, tmp_path) == "SF102"


def test_a_new_federation_has_an_empty_roster(root) -> None:
    """Signed by the threshold, in force for its days."""
    federation = FederationDirectory(root)
    assert federation.roster(now=NOW).records == ()
    assert federation.roster(now=NOW).sequence == 1
    assert load_root(root / "federation.root") == federation.root
    assert code(federation.roster, now=NOW + 30 * DAY) == "SF322"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_members_are_enrolled_one_by_one(root, tmp_path) -> None:
    """Each addition is a new sequence; the handed-out copy verifies against the root file alone."""
    for number, name in enumerate(("north", "south"), 2):
        create(tmp_path / name, name)
        member = add(root, (tmp_path / name / "member.record").read_bytes())
        assert member.member_id == name
        roster = FederationDirectory(root).roster(now=NOW)
        assert roster.sequence == number
    pinned = load_root(root / "federation.root")
    handed_out = verify_roster((root / "roster").read_bytes(), root=pinned, now=NOW, last_sequence=0)
    assert [record.member_id for record in handed_out.records] == ["north", "south"]
    assert handed_out.digest == roster.digest
    assert sorted(path.name for path in (root / "rosters").iterdir()) == ["0000001", "0000002", "0000003"]


def test_adding_the_same_record_again_renews_the_roster(root, tmp_path) -> None:
    """Also after the roster expired: its root may always sign the next."""
    create(tmp_path / "north")
    record = (tmp_path / "north" / "member.record").read_bytes()
    add(root, record)
    add(root, record, now=NOW + 40 * DAY)
    roster = FederationDirectory(root).roster(now=NOW + 60 * DAY)
    assert roster.sequence == 3
    assert len(roster.records) == 1


def test_a_rotated_record_needs_a_higher_sequence(root, tmp_path) -> None:
    """New keys under the old sequence are refused; under a higher one they replace the old."""
    for directory, sequence in (("a", 1), ("b", 1), ("c", 2)):
        create(tmp_path / directory, sequence=sequence)
    first, again, rotated = ((tmp_path / name / "member.record").read_bytes() for name in "abc")
    add(root, first)
    assert code(add, root, again) == "SF331"
    add(root, rotated)
    assert code(add, root, first) == "SF331"
    (record,) = FederationDirectory(root).roster(now=NOW).records
    assert record == load_member_record(tmp_path / "c")


def test_a_revoked_record_does_not_come_back(root, tmp_path) -> None:
    """Revoked at once, kept in the list, replaced only by a newer record."""
    for directory, sequence in (("a", 1), ("b", 2)):
        create(tmp_path / directory, sequence=sequence)
    old, new = ((tmp_path / name / "member.record").read_bytes() for name in "ab")
    add(root, old)
    federation = FederationDirectory(root)
    keys = federation.open_keys([PASSPHRASE])
    federation.publish(federation.with_revocation("north", reason="lost", keys=keys, now=NOW, valid_for=DAY))
    assert code(federation.roster(now=NOW).member, "north", role=Role.CLIENT, at=NOW) == "SF306"
    assert code(add, root, old) == "SF331"
    add(root, new)
    assert federation.roster(now=NOW).member("north", role=Role.CLIENT, at=NOW).sequence == 2
    assert code(federation.with_revocation, "west", reason="", keys=keys, now=NOW, valid_for=DAY) == "SF306"


def test_records_that_do_not_belong_are_refused(root, tmp_path) -> None:
    """Another federation, a term that ended, and bytes that are no record."""
    create(tmp_path / "bank", federation="banks")
    create(tmp_path / "old", valid_for=DAY)
    assert code(add, root, (tmp_path / "bank" / "member.record").read_bytes()) == "SF331"
    assert code(add, root, (tmp_path / "old" / "member.record").read_bytes(), now=NOW + DAY) == "SF331"
    assert code(add, root, b"record") == "SF331"
    assert FederationDirectory(root).roster(now=NOW).sequence == 1


def test_fewer_root_keys_than_the_threshold_sign_nothing(root, tmp_path) -> None:
    """Root keys may be elsewhere; any two of the three that are here do."""
    create(tmp_path / "north")
    record = (tmp_path / "north" / "member.record").read_bytes()
    (root / "root-1.key").unlink()
    assert code(add, root, record, passphrase=b"wrong passphrase") == "SF121"
    add(root, record)
    (root / "root-3.key").unlink()
    assert code(add, root, record) == "SF102"


ADA, BEN, CLEO = b"ada's passphrase", b"ben's passphrase", b"cleo's passphrase"


@pytest.fixture
def three(tmp_path):
    """A federation of which three people hold one root key each, under a passphrase of their own."""
    directory, purse = tmp_path / "three", tmp_path / "purse"
    found_federation(
        directory,
        federation="hospitals",
        root_keys=3,
        threshold=2,
        passphrases=[ADA, BEN, CLEO],
        now=NOW,
        valid_for=30 * DAY,
    )
    purse.mkdir()
    keys = [(directory / f"root-{number}.key").rename(purse / f"{number}.key") for number in (1, 2, 3)]
    return FederationDirectory(directory), keys


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_any_two_of_three_people_sign_with_their_own_passphrases(three, tmp_path, absent) -> None:
    """Two keys from elsewhere, two passphrases, in any order; nobody needs the third."""
    federation, keys = three
    create(tmp_path / "north")
    people = [pair for place, pair in enumerate(zip(keys, (ADA, BEN, CLEO), strict=True)) if place != absent]
    opened = federation.open_keys([people[1][1], people[0][1]], files=[key for key, _ in people])
    record = (tmp_path / "north" / "member.record").read_bytes()
    federation.publish(federation.with_members([record], keys=opened, now=NOW, valid_for=DAY))
    assert [record.member_id for record in federation.roster(now=NOW).records] == ["north"]


def test_one_person_alone_opens_no_two_keys(three, root, tmp_path) -> None:
    """Not with all key files and one passphrase, one key file twice, a copy of it, or a key of another federation."""
    federation, keys = three
    assert code(federation.open_keys, [ADA], files=keys) == "SF121"
    assert code(federation.open_keys, [ADA], files=[keys[0]] * 2) == "SF121"
    copy = shutil.copy(keys[0], tmp_path / "copy.key")
    assert code(federation.open_keys, [ADA], files=[keys[0], copy]) == "SF121"
    assert code(federation.open_keys, [ADA, PASSPHRASE], files=[keys[0], root / "root-1.key"]) == "SF121"
    assert code(federation.open_keys, [ADA, BEN], files=[keys[0]]) == "SF102"
    assert code(federation.open_keys, [ADA, BEN]) == "SF102"
    keys[1].chmod(0o640)
    assert code(federation.open_keys, [ADA, BEN], files=keys) == "SF122"


@pytest.mark.parametrize("passphrases", [[], [ADA, BEN], [ADA, BEN, CLEO, ADA], [ADA, BEN, b"short"]])
def test_a_passphrase_too_many_too_few_or_too_short_founds_nothing(tmp_path, passphrases) -> None:
    """SF105, and no key is left behind under a passphrase of the others."""
    founding = {"root_keys": 3, "threshold": 2, "now": NOW, "valid_for": DAY}
    directory = tmp_path / "x"
    assert code(found_federation, directory, federation="hospitals", passphrases=passphrases, **founding) == "SF105"
    assert not directory.exists()


def test_a_federation_is_founded_once(root) -> None:
    """Nothing in the directory changes."""
    before = {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()}
    arguments = {"root_keys": 1, "threshold": 1, "passphrases": [PASSPHRASE], "now": NOW, "valid_for": DAY}
    assert code(found_federation, root, federation="hospitals", **arguments) == "SF123"
    assert {path.name: path.read_bytes() for path in root.iterdir() if path.is_file()} == before
    assert code(found_federation, root / "x", federation="hospitals", **(arguments | {"threshold": 2})) == "SF105"
    assert not (root / "x").exists()


def test_a_change_interrupted_before_its_copy_is_not_lost(root, tmp_path, monkeypatch) -> None:
    """The history is the truth: the next change continues from it."""
    for name in ("north", "south"):
        create(tmp_path / name, name)

    def die(_path, _data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semfed_secure.identity.federation_files.replace_file", die)
        with pytest.raises(KeyboardInterrupt):
            add(root, (tmp_path / "north" / "member.record").read_bytes())
    assert [record.member_id for record in FederationDirectory(root).roster(now=NOW).records] == ["north"]
    add(root, (tmp_path / "south" / "member.record").read_bytes())
    copy = verify_roster(
        (root / "roster").read_bytes(), root=load_root(root / "federation.root"), now=NOW, last_sequence=0
    )
    assert [record.member_id for record in copy.records] == ["north", "south"]


def test_of_two_changes_at_the_same_time_one_fails(root, tmp_path, monkeypatch) -> None:
    """The second finds its sequence taken: SF123, and the first one's member is not lost."""
    for name in ("north", "south"):
        create(tmp_path / name, name)
    south = (tmp_path / "south" / "member.record").read_bytes()
    sign = FederationDirectory._sign

    def slow(self, *given):
        monkeypatch.setattr(FederationDirectory, "_sign", sign)
        add(root, south)
        return sign(self, *given)

    monkeypatch.setattr(FederationDirectory, "_sign", slow)
    assert code(add, root, (tmp_path / "north" / "member.record").read_bytes()) == "SF123"
    assert [record.member_id for record in FederationDirectory(root).roster(now=NOW).records] == ["south"]


def test_a_tampered_roster_in_the_directory_is_refused(root, tmp_path) -> None:
    """The root does not sign on top of what it did not sign."""
    create(tmp_path / "north")
    record = (tmp_path / "north" / "member.record").read_bytes()
    add(root, record)
    newest = root / "rosters" / "0000002"
    data = bytearray(newest.read_bytes())
    data[200] ^= 1
    newest.write_bytes(data)
    assert code(add, root, record) == "SF322"
    assert code(FederationDirectory(root).roster, now=NOW) == "SF322"


def test_files_are_written_whole_or_not_at_all(tmp_path) -> None:
    """A new file never takes another's place; a replaced one leaves nothing beside it, a private one is its owner's."""
    write_private(tmp_path / "a", b"one")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    with pytest.raises(ConfigurationError, match="SF123"):
        write_new(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    replace_file(tmp_path / "a", b"three")
    assert (tmp_path / "a").read_bytes() == b"three"
    for write in (write_new, write_private, replace_file):
        with pytest.raises(ConfigurationError, match="SF102"):
            write(tmp_path / "none" / "a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(ConfigurationError, match="SF102"):
        make_private_directory(tmp_path / "a")


def test_a_root_file_that_is_too_large_or_damaged_is_refused(tmp_path) -> None:
    """Coded, whatever it holds."""
    (tmp_path / "root").write_bytes(bytes(50_000))
    assert code(load_root, tmp_path / "root") == "SF301"
    (tmp_path / "root").write_bytes(b"root")
    with pytest.raises(PeerError, match="SF302"):
        load_root(tmp_path / "root")
    assert code(load_root, tmp_path / "none") == "SF102"
