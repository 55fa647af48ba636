"""Rows of cosignatures: what witnesses said of checkpoints of the server's own log."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from semfed_secure.storage.schema import log_cosignature
from semfed_secure.storage.typed_rows import typed_row

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class CosignatureRow:
    """The newest cosignature of one witness under the checkpoint of one size, as a line of a signed note."""

    size: int
    member_id: str
    line: str
    taken_at_ms: int


@dataclass(frozen=True, slots=True)
class _SizeRow:
    size: int


def put_cosignature(tx: Transaction, row: CosignatureRow) -> None:
    """Keep a cosignature in place of the witness's one under the same checkpoint."""
    same = (log_cosignature.c.size == row.size) & (log_cosignature.c.member_id == row.member_id)
    tx.connection.execute(delete(log_cosignature).where(same))
    tx.connection.execute(insert(log_cosignature), asdict(row))


def drop_cosignatures(tx: Transaction, *, taken_before_ms: int) -> None:
    """Forget those that count no more."""
    tx.connection.execute(delete(log_cosignature).where(log_cosignature.c.taken_at_ms < taken_before_ms))


def read_cosignatures(tx: Transaction, size: int) -> list[CosignatureRow]:
    """Those under the checkpoint of ``size``, by member id."""
    query = select(log_cosignature).where(log_cosignature.c.size == size).order_by(log_cosignature.c.member_id)
    return [typed_row(CosignatureRow, row) for row in tx.connection.execute(query)]


def cosigned_sizes(tx: Transaction, *, at_least: int) -> list[int]:
    """The sizes whose checkpoints so many members or more cosigned, largest first."""
    size = log_cosignature.c.size
    query = select(size).group_by(size).having(func.count() >= at_least).order_by(size.desc())
    return [typed_row(_SizeRow, row).size for row in tx.connection.execute(query)]


def list_cosignatures(tx: Transaction) -> list[CosignatureRow]:
    """Every kept cosignature, by size."""
    query = select(log_cosignature).order_by(log_cosignature.c.size, log_cosignature.c.member_id)
    return [typed_row(CosignatureRow, row) for row in tx.connection.execute(query)]
