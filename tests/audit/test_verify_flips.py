"""Any flipped bit of a stored log is noticed, or changes nothing that the log says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from semfed_secure.audit.events import Entry, encode_entry
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import SemfedError
from semfed_secure.storage import Database, log_guard, log_rows
from tests.audit.samples import START, Site, sample

if TYPE_CHECKING:
    from pathlib import Path


from tests.audit.intruder import refusal


@pytest.mark.parametrize("table", ["log_entry", "log_node", "log_checkpoint", "log_head"])
def test_any_flipped_bit_of_any_column_is_noticed(full: Site, table: str) -> None:
    """Every byte of every entry, hash, checkpoint, key and frontier counts: sampled over all rows and columns.

    Each has its own code: the record was changed, a signature, or what is computed from the record.
    """
    full.log.checkpoint()
    with full.database.snapshot() as tx:
        rows = [dict(row._mapping) for row in tx.connection.execute(text(f"SELECT * FROM {table}"))]
    cells = [(row, name) for row in rows for name, value in row.items() if isinstance(value, bytes | str)]
    for number, (row, name) in enumerate(cells[:: max(1, len(cells) // 40)]):
        flip(full, table, row, name, place=number * 7919, bit=number % 8)
        error = refusal(full)
        assert error.code in CODES[name], (name, error.message)
        restore(full, table, row, name)
    verify_log(full.path, key=full.vkey)


CODES = {
    "body": {"SF501"},
    "leaf_hash": {"SF513"},
    "hash": {"SF513"},
    "frontier": {"SF513"},
    "verification_key": {"SF503"},
    "checkpoint": {"SF503", "SF531"},
    "note": {"SF503", "SF531"},
}
"""By column; text that is none any more is a damaged database."""
KEYS = {
    "log_entry": "position = :position",
    "log_node": "level = :level AND position = :position",
    "log_checkpoint": "size = :size",
    "log_head": "id = :id",
}


def flip(site: Site, table: str, row: dict[str, object], name: str, *, place: int, bit: int) -> None:
    """Flip one bit of one cell."""
    value = row[name]
    raw = bytearray(value if isinstance(value, bytes) else str(value).encode())
    raw[place % len(raw)] ^= 1 << bit
    kind = "BLOB" if isinstance(value, bytes) else "TEXT"
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        statement = f"UPDATE {table} SET {name} = CAST(:raw AS {kind}) WHERE {KEYS[table]}"
        tx.connection.execute(text(statement), {**row, "raw": bytes(raw)})


def restore(site: Site, table: str, row: dict[str, object], name: str) -> None:
    """Put the cell back as it was."""
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        statement = f"UPDATE {table} SET {name} = :value WHERE {KEYS[table]}"
        tx.connection.execute(text(statement), {**row, "value": row[name]})


@dataclass(frozen=True, repr=False)
class Frozen:
    """A log as one quiet file."""

    raw: bytes
    vkey: str
    bodies: list[bytes]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """A log as one quiet file, with its key and its entries."""
    path = tmp_path_factory.mktemp("frozen") / "site.db"
    key = LogSigningKey.generate("hospitals.example/north")
    with Database.open(path, kind="client") as database:
        log = AuditLog(database, key=key, clock=FixedClock(START), writer="w")
        log.append_all([sample(number) for number in range(40)])
        log.checkpoint()
        with database.snapshot() as tx:
            bodies = [row.body for row in log_rows.walk_entries(tx)]
    return Frozen(path.read_bytes(), key.public.encode(), bodies)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_file_never_changes_what_verifies(
    frozen: Frozen, tmp_path: Path, place: int, bit: int
) -> None:
    """Whatever bit of the whole file flips, either the log is refused with a code, or every entry is as it was."""
    raw = bytearray(frozen.raw)
    raw[place % len(raw)] ^= 1 << bit
    copy = tmp_path / "copy.db"
    copy.write_bytes(raw)
    seen: list[Entry] = []
    try:
        verify_log(copy, key=frozen.vkey, visit=seen.append)
    except SemfedError:
        return
    assert [encode_entry(entry) for entry in seen] == frozen.bodies
