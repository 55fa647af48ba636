"""How far a client is in a round, so that another process can go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from semfed_secure.storage.schema import progress
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """State of one step of one round; ``data`` is JSON."""

    round_id: str
    step: str
    state: str
    data: str
    updated_at_ms: int


_COLUMNS = [progress.c[name] for name in ProgressRow.__slots__]


def write_progress(tx: Transaction, row: ProgressRow) -> None:
    """Set a step's state, whatever it was."""
    values = asdict(row)
    place = (progress.c.round_id == row.round_id, progress.c.step == row.step)
    if tx.connection.execute(update(progress).where(*place).values(values)).rowcount == 0:
        tx.connection.execute(insert(progress).values(values))


def read_progress(tx: Transaction, round_id: str, step: str) -> ProgressRow | None:
    """The state of one step, or nothing if it has not begun."""
    query = select(*_COLUMNS).where(progress.c.round_id == round_id, progress.c.step == step)
    row = tx.connection.execute(query).first()
    return None if row is None else typed_row(ProgressRow, row)


def list_progress(tx: Transaction, round_id: str | None = None) -> list[ProgressRow]:
    """Steps in the order of their last change, of one round if asked."""
    query = select(*_COLUMNS).order_by(progress.c.updated_at_ms, progress.c.round_id, progress.c.step)
    if round_id is not None:
        query = query.where(progress.c.round_id == round_id)
    return [typed_row(ProgressRow, row) for row in tx.connection.execute(query)]
