"""People in the log: an entry holds a commitment to a name, and beside the log lies, erasable, whom it means.

The commitment is HMAC-SHA256 of the name under a salt of 32 random bytes that belongs to one person. Whoever has the
salt and the name can show that an entry means that person. Once the salt is erased nobody can, not even by trying all
names, and no byte of the log has changed: it verifies as before.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.ids import same_person
from semfed_secure.storage.person_rows import PersonRow, delete_person, insert_person, list_persons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Randomness
    from semfed_secure.storage import Database, Transaction

SALT_BYTES = 32
_PREFIX = "person:"
_COMMITMENT = re.compile(r"person:[0-9a-f]{64}\Z")


def commitment(name: str, salt: bytes) -> str:
    """What an entry holds instead of ``name``; all spellings that `same_person` takes for one give the same."""
    return _PREFIX + hmac.new(salt, same_person(name).encode(), "sha256").hexdigest()


def is_commitment(text: str) -> bool:
    """Whether an entry means a person by this."""
    return _COMMITMENT.match(text) is not None


def known_as(tx: Transaction, name: str, *, randomness: Randomness) -> str:
    """The commitment by which entries mean this person, made when the person first appears in one.

    Raises:
        IntegrityError: SF531, as `names`.
    """
    for row in _people(tx):
        if same_person(row.name) == same_person(name):
            return row.commitment
    salt = randomness.token_bytes(SALT_BYTES)
    row = PersonRow(commitment(name, salt), salt, name)
    insert_person(tx, row)
    return row.commitment


def names(tx: Transaction) -> Mapping[str, str]:
    """The names behind commitments, of everybody who was not erased.

    Guarantee: every name is the one that the commitment was made of; nobody is renamed in the database unnoticed.

    Raises:
        IntegrityError: SF531, salt and name of a row do not open its commitment.
    """
    return {row.commitment: row.name for row in _people(tx)}


def _people(tx: Transaction) -> list[PersonRow]:
    rows = list_persons(tx)
    if any(commitment(row.name, row.salt) != row.commitment for row in rows):
        raise IntegrityError("SF531", "a name that the log means was changed in the database")
    return rows


def named(database: Database, audit: AuditLog, *, actor: str) -> Mapping[str, str]:
    """As `names`, for somebody who reads the log: that they were asked for is an entry before they are told."""
    with database.transaction() as tx:
        found = names(tx)
        details = {"people": len(found)}
        audit.append(Event(type=EventType.PEOPLE_NAMED, outcome="success", actor=actor, details=details), tx)
    return found


def erase(database: Database, audit: AuditLog, who: str, *, actor: str) -> str:
    """Forget whom a commitment means, for ever; ``who`` is the name or the commitment, which is returned.

    The deletion and its entry are one transaction, and nothing of name or salt is left in the files of an SQLite
    database. Backups are the institution's to renew.

    Raises:
        ConfigurationError: SF105, the log means nobody by that.
        IntegrityError: SF502, nothing was erased.
    """
    with database.transaction() as tx:
        found = [row for row in list_persons(tx) if who == row.commitment or same_person(who) == same_person(row.name)]
        if not found:
            raise ConfigurationError("SF105", "a person whom the log means was expected, or a commitment in it")
        erased = found[0].commitment
        delete_person(tx, erased)
        audit.append(Event(type=EventType.PERSON_ERASED, outcome="success", actor=actor, target=erased), tx)
    database.forget()
    return erased
