"""Rows that say whom a commitment in the log means; deleting one makes the commitment stand for nobody."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from semfed_secure.storage.schema import person
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person: the commitment that the log holds, the salt under it, and the name."""

    commitment: str
    salt: bytes
    name: str


def insert_person(tx: Transaction, row: PersonRow) -> None:
    """Keep whom a commitment means."""
    tx.connection.execute(insert(person), asdict(row))


def list_persons(tx: Transaction) -> list[PersonRow]:
    """Everybody, by commitment."""
    query = select(person.c.commitment, person.c.salt, person.c.name).order_by(person.c.commitment)
    return [typed_row(PersonRow, row) for row in tx.connection.execute(query)]


def delete_person(tx: Transaction, commitment: str) -> bool:
    """Forget whom a commitment means; false if that is not known."""
    return tx.connection.execute(delete(person).where(person.c.commitment == commitment)).rowcount == 1
