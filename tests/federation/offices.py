"""A federation root's office for tests, and whom it invites."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock, SystemRandomness
from semfed_secure.crypto.keys import SigningKey
from semfed_secure.errors import SemfedError
from semfed_secure.federation.office import found_office, open_office
from semfed_secure.identity.enrolment import Invitee
from semfed_secure.identity.federation_files import FederationDirectory
from semfed_secure.identity.member_changes import write_request
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.identity.records import Role, create_record
from tests.identity.identity_examples import DAY, NOW
from tests.identity.test_files import PASSPHRASE, create

WEEK = timedelta(days=7)


def invitee(name: str, **changes) -> Invitee:
    """Whom `create` makes keys for."""
    facts = {"roles": frozenset({Role.CLIENT}), "domain": f"{name}.example", "jurisdiction": "US"}
    return Invitee(name, **(facts | changes))


class Office:
    """A root office, opened anew for every act, as the commands do."""

    def __init__(self, tmp_path) -> None:
        """Found a federation with one root key."""
        self.tmp, self.directory, self.clock = tmp_path, tmp_path / "root", FixedClock(NOW)
        found_office(
            self.directory,
            federation="hospitals",
            root_keys=1,
            threshold=1,
            passphrases=[PASSPHRASE],
            clock=self.clock,
            valid_for=30 * DAY,
        )

    def open(self):
        """The office as it lies on disk."""
        return open_office(self.directory, passphrases=[PASSPHRASE], clock=self.clock)

    @property
    def keys(self):
        """The root key."""
        return FederationDirectory(self.directory).open_keys([PASSPHRASE])

    def invite(self, member: str = "north", valid_for: timedelta = WEEK, **changes) -> bytes:
        """A token."""
        delivered: list[bytes] = []
        with self.open() as office:
            office.invite(
                invitee(member, **changes),
                valid_for=valid_for,
                randomness=SystemRandomness(),
                deliver=delivered.append,
            )
        return delivered[0]

    def request(self, token: bytes, member: str = "north", directory: str | None = None, **changes) -> bytes:
        """A member's keys, and its request."""
        place = self.tmp / (directory or member)
        create(place, member, **changes)
        return write_request(place, token).read_bytes()

    def enrol(self, *submitted: bytes, without_token: bool = False) -> list[str]:
        """Enrol and name who was."""
        with self.open() as office:
            members = office.enrol(submitted, keys=self.keys, valid_for=30 * DAY, without_token=without_token)
        return [member.member_id for member in members]

    def refused(self, *submitted: bytes) -> str:
        """The code of a refusal; no new roster is there, and the log says why."""
        before = self.roster().sequence
        with pytest.raises(SemfedError) as caught:
            self.enrol(*submitted)
        assert self.roster().sequence == before
        assert self.log()[-1][:2] == ("member.refused", "denied")
        assert self.log()[-1][2] == (caught.value.code,)
        return caught.value.code

    def roster(self):
        """The newest roster."""
        return FederationDirectory(self.directory).newest()

    def rotated(self, **changes) -> bytes:
        """A record of north with a new key, which the key before signs too, whatever else it says."""
        before, new = load_member_keys(self.tmp / "north", PASSPHRASE), SigningKey.generate()
        record = replace(
            before.record,
            signing_keys=(new.public, before.signing.public),
            sequence=before.record.sequence + 1,
            overlap_until_ms=before.record.valid_until_ms - 1,
        )
        return create_record(replace(record, **changes), [new, before.signing])

    def log(self) -> list[tuple]:
        """Type, outcome and codes of every entry."""
        verify_log(self.directory, key=None)
        with open_source(self.directory) as source:
            return [(str(e.event.type), e.event.outcome, e.event.codes) for e in read_entries(source)]
