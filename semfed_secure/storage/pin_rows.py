"""Pinned values: what was seen first, or is replaced only by who knows the value before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from semfed_secure.storage.schema import pin
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class PinRow:
    """One pinned value."""

    name: str
    value: bytes


def read_pin(tx: Transaction, name: str) -> bytes | None:
    """The pinned value."""
    row = tx.connection.execute(select(pin.c.name, pin.c.value).where(pin.c.name == name)).first()
    return None if row is None else typed_row(PinRow, row).value


def list_pins(tx: Transaction) -> list[PinRow]:
    """Every pin, by name."""
    rows = tx.connection.execute(select(pin.c.name, pin.c.value).order_by(pin.c.name))
    return [typed_row(PinRow, row) for row in rows]


def set_pin_once(tx: Transaction, name: str, value: bytes) -> bytes:
    """Pin ``value`` if nothing is pinned yet; return what is pinned now."""
    stands = read_pin(tx, name)
    if stands is None:
        tx.connection.execute(insert(pin).values(name=name, value=value))
        return value
    return stands


def replace_pin(tx: Transaction, name: str, *, expected: bytes | None, value: bytes) -> bool:
    """Replace the value if it is ``expected`` (nothing: not pinned yet); false otherwise, and nothing changes."""
    if expected is None:
        return read_pin(tx, name) is None and set_pin_once(tx, name, value) == value
    change = update(pin).where(pin.c.name == name, pin.c.value == expected).values(value=value)
    return tx.connection.execute(change).rowcount == 1
