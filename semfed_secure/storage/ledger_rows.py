"""Rows of the privacy budget: charges, reserved before a release and committed after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import insert, select, update

from semfed_secure.storage.schema import ledger_charge
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction

ChargeState = Literal["reserved", "committed"]


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """One charge against a population's budget; decimals and JSON are text, exactly as they were written."""

    idempotency_key: str
    population: str
    unit: str
    relation: str
    purpose: str
    mechanism: str
    parameters: str
    rdp: str
    epsilon: str
    delta: str
    policy_digest: str
    state: ChargeState
    created_at_ms: int
    period: str
    id: int | None = None
    """Given by the database, in the order of insertion; nothing before that."""


_COLUMNS = [ledger_charge.c[name] for name in ChargeRow.__slots__]


def insert_charge(tx: Transaction, charge: ChargeRow) -> ChargeRow | None:
    """Add a charge and give it its id; nothing is added, and nothing returned, if its idempotency key exists."""
    if charge_by_key(tx, charge.idempotency_key) is not None:
        return None
    values = asdict(charge)
    del values["id"]
    tx.connection.execute(insert(ledger_charge).values(values))
    return charge_by_key(tx, charge.idempotency_key)


def charge_by_key(tx: Transaction, idempotency_key: str) -> ChargeRow | None:
    """The charge that carries this key."""
    query = select(*_COLUMNS).where(ledger_charge.c.idempotency_key == idempotency_key)
    row = tx.connection.execute(query).first()
    return None if row is None else typed_row(ChargeRow, row)


def charges_of(tx: Transaction, *, population: str, unit: str, relation: str) -> list[ChargeRow]:
    """Every charge of one ledger, reserved and committed, oldest first."""
    query = (
        select(*_COLUMNS)
        .where(
            ledger_charge.c.population == population,
            ledger_charge.c.unit == unit,
            ledger_charge.c.relation == relation,
        )
        .order_by(ledger_charge.c.id)
    )
    return [typed_row(ChargeRow, row) for row in tx.connection.execute(query)]


def list_charges(tx: Transaction) -> list[ChargeRow]:
    """Every charge of every ledger, oldest first."""
    return [typed_row(ChargeRow, row) for row in tx.connection.execute(select(*_COLUMNS).order_by(ledger_charge.c.id))]


def mark_committed(tx: Transaction, idempotency_key: str) -> bool:
    """Commit a charge (again: nothing changes); false if there is none with this key."""
    change = update(ledger_charge).where(ledger_charge.c.idempotency_key == idempotency_key).values(state="committed")
    return tx.connection.execute(change).rowcount == 1
