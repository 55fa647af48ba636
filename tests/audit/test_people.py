"""People stand in the log as commitments: one for each person, opened by a salt that can be erased."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.people import SALT_BYTES, commitment, erase, is_commitment, known_as, named, names
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import SystemRandomness
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage import schema
from semfed_secure.storage.person_rows import list_persons

if TYPE_CHECKING:
    from tests.audit.samples import Site

NAME = "Dr Imogen Vantongeren"


def reviewed(site: Site, name: str = NAME) -> str:
    """An entry about a person; what stands there instead of the name."""
    with site.database.transaction() as tx:
        person = known_as(tx, name, randomness=SystemRandomness())
        site.log.append(Event(type=EventType.PROMPTS_REVIEWED, outcome="success", actor=person), tx)
    return person


def test_an_entry_holds_a_commitment_that_salt_and_name_open(site: Site) -> None:
    """Plain HMAC-SHA256, so that whoever is given the salt needs nothing of ours to check it."""
    person = reviewed(site)
    with site.database.snapshot() as tx:
        (row,) = list_persons(tx)
    opened = hmac.new(row.salt, b"dr imogen vantongeren", hashlib.sha256).hexdigest()
    assert (len(row.salt), row.name, row.commitment) == (SALT_BYTES, NAME, person)
    assert person == f"person:{opened}" == commitment(NAME, row.salt)
    assert is_commitment(person)
    assert not is_commitment(NAME)


def test_one_person_is_one_commitment_and_two_are_two(site: Site) -> None:
    """However it is spelled; and in another log, with another salt, the same name is another."""
    assert reviewed(site) == reviewed(site, " dr  imogen VANTONGEREN")
    assert reviewed(site) != reviewed(site, "Kim Ode")
    assert commitment(NAME, b"\x01" * SALT_BYTES) != commitment(NAME, b"\x02" * SALT_BYTES)


def test_nobody_is_renamed_unnoticed(site: Site) -> None:
    """SF531 for another name or another salt in the row: whose approval it was is not the database's to say."""
    reviewed(site)
    for column, value in (("name", "Kim Ode"), ("salt", b"\x01" * SALT_BYTES)):
        with site.database.transaction() as tx:
            tx.connection.execute(update(schema.person).values({column: value}))
            with pytest.raises(IntegrityError, match="SF531"):
                names(tx)


def test_names_are_told_after_an_entry_says_so(site: Site) -> None:
    """Who reads the log reads commitments; who asks for names leaves a trace."""
    person = reviewed(site)
    assert named(site.database, site.log, actor="north") == {person: NAME}
    last = site.log.entries(0, 100)[-1].event
    assert (last.type, last.details) == (EventType.PEOPLE_NAMED, {"people": 1})


@pytest.mark.parametrize("by", ["name", "commitment"])
def test_an_erased_person_is_in_no_file_and_the_log_verifies(site: Site, by: str) -> None:
    """Neither name nor salt is left on the disk, in any encoding of ours; every earlier entry and root is the same."""
    person = reviewed(site)
    other = reviewed(site, "Kim Ode")
    with site.database.snapshot() as tx:
        salt = next(row.salt for row in list_persons(tx) if row.commitment == person)
    before = site.log.checkpoint()
    assert NAME.encode() in on_disk(site)
    assert salt in on_disk(site)
    assert erase(site.database, site.log, {"name": NAME, "commitment": person}[by], actor="north") == person
    for left in (NAME.encode(), NAME.upper().encode(), salt, salt.hex().encode()):
        assert left not in on_disk(site)
    assert verify_log(site.path, key=site.vkey, known=[before]).size == 3
    last = site.log.entries(0, 100)[-1].event
    assert (last.type, last.target, last.actor) == (EventType.PERSON_ERASED, person, "north")
    with site.database.snapshot() as tx:
        assert names(tx) == {other: "Kim Ode"}
    assert reviewed(site) != person


def test_nobody_is_erased_who_is_not_there(site: Site) -> None:
    """Nothing is deleted and nothing is written."""
    reviewed(site)
    with pytest.raises(ConfigurationError, match="SF105"):
        erase(site.database, site.log, "Somebody Else", actor="north")
    assert site.log.size() == 1


def on_disk(site: Site) -> bytes:
    """The database with everything that lies beside it."""
    return b"".join(path.read_bytes() for path in sorted(site.path.parent.glob(f"{site.path.name}*")))
