"""The federation root's office: who may enrol, who vouches, and that its log knows every roster."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock, SystemRandomness, to_ms
from semfed_secure.crypto.keys import OpeningKey
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ConfigurationError, IntegrityError, SemfedError
from semfed_secure.federation import office as office_module
from semfed_secure.federation.office import found_office, open_office
from semfed_secure.identity.enrolment import make_request
from semfed_secure.identity.federation_files import FederationDirectory, SignedRoster
from semfed_secure.identity.member_changes import Terms, rotate_member_keys
from semfed_secure.identity.member_files import load_member_keys, load_member_record
from semfed_secure.identity.records import Role, create_record
from semfed_secure.storage import Database, log_guard
from tests.federation.offices import WEEK, Office, invitee
from tests.identity.identity_examples import DAY, NOW
from tests.identity.test_files import ADA, BEN, CLEO, PASSPHRASE, create

pytestmark = pytest.mark.usefixtures("cheap_key_files")


@pytest.fixture
def office(tmp_path) -> Office:
    """A federation of one root key."""
    return Office(tmp_path)


def test_a_founded_federation_has_a_log_that_verifies(office) -> None:
    """Its keys and its first roster are the first entries."""
    assert [row[0] for row in office.log()] == ["key.created", "roster.signed"]


def test_a_token_enrols_one_record_once(office) -> None:
    """Invited, enrolled, signed: three entries; the second use is refused by its own code."""
    request = office.request(office.invite())
    assert office.enrol(request) == ["north"]
    assert [row[0] for row in office.log()[-3:]] == ["member.invited", "member.added", "roster.signed"]
    assert office.refused(request) == "SF334"
    assert [record.member_id for record in office.roster().records] == ["north"]


def test_the_root_keeps_no_token(office) -> None:
    """Neither its database nor its log holds it."""
    token = office.invite()
    for path in office.directory.iterdir():
        if path.is_file():
            assert token not in path.read_bytes()


def test_a_log_that_was_changed_enrols_nobody(office) -> None:
    """Whoever makes a used token look unused, or an expired one fresh, changes an entry: SF501 for every command."""
    request = office.request(office.invite())
    office.enrol(request)
    with Database.open(office.directory / "root.db", kind="root") as database, database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.execute(text("UPDATE log_entry SET body = replace(body, 'member.added', 'member.addee')"))
    with pytest.raises(SemfedError, match="SF501"):
        office.enrol(request)


def test_a_token_of_another_member_or_another_root_is_refused(office) -> None:
    """SF332: for whom it was made stands with the token."""
    assert office.refused(office.request(office.invite("south"))) == "SF332"
    assert office.refused(office.request(b"A" * 43, directory="again")) == "SF332"


def test_an_expired_token_is_refused_from_its_instant_on(office) -> None:
    """SF333."""
    request = office.request(office.invite(valid_for=WEEK))
    office.clock.advance(WEEK.total_seconds())
    assert office.refused(request) == "SF333"
    office.clock.advance(-0.001)
    assert office.enrol(request) == ["north"]


def test_a_refused_enrolment_does_not_use_up_its_token(office) -> None:
    """Of two requests in one roster one is refused: the other may come again."""
    good, bad = office.request(office.invite()), office.request(office.invite("south"), "west")
    assert office.refused(good, bad) == "SF332"
    assert office.enrol(good) == ["north"]


def test_bare_records_of_strangers_are_refused_unless_the_operator_vouches(office) -> None:
    """SF335, and with the operator's word an entry that says so."""
    create(office.tmp / "north")
    record = (office.tmp / "north" / "member.record").read_bytes()
    assert office.refused(record) == "SF335"
    assert office.enrol(record, without_token=True) == ["north"]
    with open_source(office.directory) as source:
        added = [e.event for e in read_entries(source) if e.event.type == "member.added"]
    assert added[0].details["introduced_by"] == "the operator, without a token"


def test_a_known_member_needs_no_token_to_renew_or_to_rotate(office) -> None:
    """The key in use, or the one before the new one, vouches."""
    office.enrol(office.request(office.invite()))
    record = (office.tmp / "north" / "member.record").read_bytes()
    assert office.enrol(record) == ["north"]
    terms = Terms(valid_for=365 * DAY, overlap=10 * DAY)
    rotate_member_keys(office.tmp / "north", office.tmp / "new", passphrase=PASSPHRASE, now=NOW, terms=terms)
    assert office.enrol((office.tmp / "new" / "member.record").read_bytes()) == ["north"]
    assert [row[0] for row in office.log()[-2:]] == ["member.rotated", "roster.signed"]
    assert office.refused(record) == "SF335"


def test_new_keys_of_a_known_member_need_the_key_before_or_a_token(office) -> None:
    """A higher sequence alone takes nobody's place; after a loss a new token does."""
    office.enrol(office.request(office.invite()))
    create(office.tmp / "thief", sequence=2)
    assert office.refused((office.tmp / "thief" / "member.record").read_bytes()) == "SF335"
    assert office.enrol(office.request(office.invite(), directory="found", sequence=2)) == ["north"]


OTHER_FACTS = [
    pytest.param({"roles": frozenset(Role) - {Role.CLIENT}}, id="all the other roles"),
    pytest.param({"roles": frozenset({Role.CLIENT, Role.AUDITOR})}, id="one role more"),
    pytest.param({"domain": "hub.example"}, id="another domain"),
    pytest.param({"jurisdiction": "DE"}, id="another jurisdiction"),
]
OTHER_LOG_KEY = pytest.param({"log_key": LogSigningKey.generate("north").public.encode()}, id="another log key")


@pytest.mark.parametrize("changes", [*OTHER_FACTS, OTHER_LOG_KEY])
def test_a_key_vouches_for_the_key_after_it_and_for_nothing_else(office, changes) -> None:
    """SF336: nobody rotates into a role, a domain, a jurisdiction or another log."""
    office.enrol(office.request(office.invite()))
    sealing = OpeningKey.generate().public
    assert office.refused(office.rotated(sealing_key=sealing, **changes)) == "SF336"
    assert office.enrol(office.rotated(sealing_key=sealing)) == ["north"]


@pytest.mark.parametrize("changes", OTHER_FACTS)
def test_a_key_does_not_vouch_for_another_record_of_its_own(office, changes) -> None:
    """SF336 for the same key too; the operator's word, or an invitation, grants what is new."""
    office.enrol(office.request(office.invite()))
    keys = load_member_keys(office.tmp / "north", PASSPHRASE)
    record = replace(keys.record, sequence=2, sealing_key=OpeningKey.generate().public, **changes)
    data = create_record(record, [keys.signing])
    assert office.refused(data) == "SF336"
    assert office.enrol(make_request(data, office.invite(**changes))) == ["north"]


@pytest.mark.parametrize("changes", OTHER_FACTS)
def test_a_token_enrols_only_what_was_invited(office, changes) -> None:
    """SF336, and the token is still good for what it was made for."""
    token, other = office.invite(), invitee("north", **changes)
    facts = {name: getattr(other, name) for name in ("roles", "domain", "jurisdiction")}
    assert office.refused(office.request(token, directory="other", **facts)) == "SF336"
    assert office.enrol(office.request(token)) == ["north"]


@pytest.mark.parametrize("step", [2, 2**53 - 2])
def test_a_record_that_a_key_vouches_for_is_the_next_one(office, step) -> None:
    """SF331: nobody uses up the sequences of a member."""
    office.enrol(office.request(office.invite()))
    assert office.refused(office.rotated(sequence=1 + step)) == "SF331"


def test_no_record_takes_the_sequences_away_from_those_after_it(office) -> None:
    """SF331 for a request, and for the operator's word, a million above the record before."""
    request = office.request(office.invite(), sequence=1_000_001)
    assert office.refused(request) == "SF331"
    assert office.enrol(office.request(office.invite(), directory="most", sequence=1_000_000)) == ["north"]


def test_an_expired_roster_is_renewed_with_everything_in_it(office) -> None:
    """Also when all records have ended; the next sequence, a new term, an entry."""
    for name in ("north", "south"):
        office.enrol(office.request(office.invite(name), name))
    with office.open() as opened:
        opened.revoke("south", reason="left", keys=office.keys, valid_for=DAY)
    before = office.roster()
    office.clock.advance(timedelta(days=400).total_seconds())
    with office.open() as opened:
        opened.renew(keys=office.keys, valid_for=30 * DAY)
    after = office.roster()
    assert (after.records, after.revocations) == (before.records, before.revocations)
    assert after.sequence == before.sequence + 1
    assert after.expires_at_ms == to_ms(office.clock.now() + 30 * DAY)
    assert office.log()[-1][0] == "roster.signed"


def test_a_log_key_belongs_to_one_member(office) -> None:
    """SF322: nobody enrols with another's log."""
    office.enrol(office.request(office.invite()))
    log_key = load_member_record(office.tmp / "north").log_key
    keys = create(office.tmp / "south", "south")
    record = create_record(replace(keys.record, log_key=log_key), [keys.signing])
    assert office.refused(make_request(record, office.invite("south"))) == "SF322"


def test_the_office_stays_closed_without_its_database(office) -> None:
    """SF507: a new log would know no roster, and no used token."""
    for path in office.directory.glob("root.db*"):
        path.unlink()
    with pytest.raises(IntegrityError, match="SF507"), office.open():
        pass
    assert not list(office.directory.glob("root.db*"))


def test_the_office_stays_closed_with_a_database_older_than_its_rosters(office) -> None:
    """SF507: what a backup has forgotten, a used token among it, is not done again."""
    token = office.invite()
    with Database.open(office.directory / "root.db", kind="root"):
        pass  # the write-ahead log is in the file now
    backup = (office.directory / "root.db").read_bytes()
    office.enrol(office.request(token))
    for path in office.directory.glob("root.db*"):
        path.unlink()
    (office.directory / "root.db").write_bytes(backup)
    with pytest.raises(IntegrityError, match="SF507"):
        office.enrol(office.request(token, directory="again", sequence=2))
    assert office.roster().sequence == 2


def test_a_root_whose_sequence_is_out_of_range_leaves_nothing(tmp_path) -> None:
    """SF105 before anything is written."""
    with pytest.raises(ConfigurationError, match="SF105"):
        found_office(
            tmp_path / "root",
            federation="hospitals",
            root_keys=1,
            threshold=1,
            passphrases=[PASSPHRASE],
            clock=FixedClock(NOW),
            valid_for=30 * DAY,
            sequence=2**53,
        )
    assert not (tmp_path / "root").exists()


def test_the_key_of_a_revoked_member_vouches_for_nothing(office) -> None:
    """Whoever stole it cannot rotate to a key of theirs."""
    office.enrol(office.request(office.invite()))
    with office.open() as opened:
        number, revocation = opened.revoke("north", reason="key stolen", keys=office.keys, valid_for=30 * DAY)
    assert (number, revocation.up_to_sequence) == (1, 1)
    assert [row[0] for row in office.log()[-2:]] == ["member.revoked", "roster.signed"]
    terms = Terms(valid_for=365 * DAY, overlap=10 * DAY)
    rotate_member_keys(office.tmp / "north", office.tmp / "new", passphrase=PASSPHRASE, now=NOW, terms=terms)
    assert office.refused((office.tmp / "new" / "member.record").read_bytes()) == "SF335"


def test_revocations_are_numbered_and_stay(office) -> None:
    """The list only grows, over later rosters too, and nobody is revoked twice."""
    for name in ("north", "south"):
        office.enrol(office.request(office.invite(name), name))
    with office.open() as opened:
        numbers = [
            opened.revoke(name, reason="left", keys=office.keys, valid_for=DAY)[0] for name in ("south", "north")
        ]
        with pytest.raises(SemfedError) as caught:
            opened.revoke("north", reason="again", keys=office.keys, valid_for=DAY)
    assert numbers == [1, 2]
    assert caught.value.code == "SF306"
    office.enrol(office.request(office.invite("west"), "west"))
    assert [row.member_id for row in office.roster().revocations] == ["south", "north"]


def test_a_crash_between_signing_and_publishing_loses_no_roster(office, monkeypatch) -> None:
    """What the log says was signed is published by the next command."""
    request = office.request(office.invite())

    def crash(_: FederationDirectory, signed: SignedRoster) -> None:
        if signed.roster.sequence == 2:
            raise KeyboardInterrupt

    keys = office.keys
    with monkeypatch.context() as patched, office.open() as opened:
        patched.setattr(FederationDirectory, "publish", crash)
        with pytest.raises(KeyboardInterrupt):
            opened.enrol([request], keys=keys, valid_for=DAY, without_token=False)
    assert office.roster().sequence == 1
    assert office.log()[-1][0] == "roster.signed"
    with office.open():
        pass
    assert office.roster().sequence == 2
    assert (office.directory / "roster").read_bytes() == (office.directory / "rosters" / "0000002").read_bytes()


def test_two_who_change_the_roster_at_once_lose_neither_change(office, monkeypatch) -> None:
    """What one has signed and not published yet, the other publishes first and builds upon."""
    north, south = (office.request(office.invite(name), name) for name in ("north", "south"))
    keys = office.keys
    with office.open() as one, office.open() as other:
        with monkeypatch.context() as patched:
            patched.setattr(FederationDirectory, "publish", lambda *_: None)
            one.enrol([north], keys=keys, valid_for=DAY, without_token=False)
        assert office.roster().sequence == 1
        other.enrol([south], keys=keys, valid_for=DAY, without_token=False)
        signed = one.directory.read_signed((office.directory / "rosters" / "0000002").read_bytes())
        one.directory.publish(signed)
    assert [record.member_id for record in office.roster().records] == ["north", "south"]
    assert office.roster().sequence == 3
    assert (office.directory / "roster").read_bytes() == (office.directory / "rosters" / "0000003").read_bytes()
    assert [row[0] for row in office.log()].count("roster.signed") == 3


def test_an_invitation_that_cannot_be_delivered_is_none(office) -> None:
    """No token file, no entry."""

    def fail(_: bytes) -> None:
        raise ConfigurationError("SF102", "no such directory")

    with office.open() as opened, pytest.raises(ConfigurationError):
        opened.invite(invitee("north"), valid_for=WEEK, randomness=SystemRandomness(), deliver=fail)
    assert [row[0] for row in office.log()] == ["key.created", "roster.signed"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("", {"domain": "a.example"}),
        ("North", {}),
        ("../x", {}),
        ("north", {"roles": frozenset()}),
        ("north", {"domain": "north example"}),
        ("north", {"jurisdiction": "us"}),
    ],
)
def test_only_what_a_record_can_say_is_invited(office, name, changes) -> None:
    """SF105: a member id, a role, a domain, a jurisdiction."""
    with pytest.raises(ConfigurationError) as caught:
        office.invite(name, **changes)
    assert caught.value.code == "SF105"


def test_each_of_three_people_can_write_the_log_and_nobody_else(tmp_path) -> None:
    """One key of the log under each passphrase; a stranger's opens none."""
    directory, clock = tmp_path / "three", FixedClock(NOW)
    found_office(
        directory,
        federation="hospitals",
        root_keys=3,
        threshold=2,
        passphrases=[ADA, BEN, CLEO],
        clock=clock,
        valid_for=30 * DAY,
    )
    for passphrase in (ADA, BEN, CLEO):
        with open_office(directory, passphrases=[passphrase], clock=clock) as opened:
            opened.invite(invitee("north"), valid_for=WEEK, randomness=SystemRandomness(), deliver=lambda _: None)
    with pytest.raises(ConfigurationError) as caught, open_office(directory, passphrases=[PASSPHRASE], clock=clock):
        pass
    assert caught.value.code == "SF121"
    assert verify_log(directory, key=None).size == 4 + 3


def test_one_person_of_two_signs_no_roster(tmp_path) -> None:
    """The office signs with what it is given; a roster under the threshold is refused and leaves no entry."""
    directory, clock = tmp_path / "two", FixedClock(NOW)
    found_office(
        directory,
        federation="hospitals",
        root_keys=2,
        threshold=2,
        passphrases=[ADA, BEN],
        clock=clock,
        valid_for=30 * DAY,
    )
    create(tmp_path / "north", "north", Role.CLIENT)
    record = (tmp_path / "north" / "member.record").read_bytes()
    keys = FederationDirectory(directory).open_keys([ADA, BEN])
    for signers in (keys[:1], [keys[0], keys[0]]):
        with open_office(directory, passphrases=[ADA], clock=clock) as opened, pytest.raises(SemfedError) as caught:
            opened.enrol([record], keys=signers, valid_for=DAY, without_token=True)
        assert caught.value.code == "SF322"
    assert FederationDirectory(directory).newest().sequence == 1
    assert office_module.DATABASE_FILE == "root.db"
