"""A log read by several processes is told exactly like one that is read here."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit import reading
from semfed_secure.audit.tiles import export_tiles
from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import IntegrityError
from tests.audit.intruder import sql

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audit.samples import Site

DAMAGES = [
    "UPDATE log_entry SET body = body || ' ' WHERE position = 5",
    "UPDATE log_entry SET body = x'7b7d' WHERE position IN (31, 120)",
    "UPDATE log_entry SET leaf_hash = zeroblob(32) WHERE position = 269",
    "UPDATE log_node SET hash = zeroblob(32) WHERE level = 3 AND position = 2",
    "DELETE FROM log_entry WHERE position = 100",
    "DELETE FROM log_entry WHERE position > 260",
    "INSERT INTO log_entry SELECT 270, leaf_hash, body FROM log_entry WHERE position = 9",
    "UPDATE log_entry SET body = (SELECT body FROM log_entry WHERE position = 8) WHERE position = 9",
    "UPDATE log_entry SET position = -1 WHERE position = 77",
]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a log of these tests, read by threads instead of processes, which take long to start."""
    monkeypatch.setattr(reading, "WORTHWHILE", 1)
    monkeypatch.setattr(reading, "BLOCK", 32)
    monkeypatch.setattr(reading, "_pool", ThreadPoolExecutor)


def told(place: Path, key: str, processes: int) -> tuple[str, str, dict[str, object]]:
    """How a damaged log is refused."""
    with pytest.raises(IntegrityError) as caught:
        verify_log(place, key=key, processes=processes)
    return caught.value.code, caught.value.message, caught.value.fields


@pytest.mark.parametrize("damage", DAMAGES)
def test_several_readers_tell_each_damage_as_one_does(full: Site, small_blocks: None, damage: str) -> None:
    """The same code, the same sentence, the same entry, wherever the blocks end."""
    sql(full, damage)
    assert told(full.path, full.vkey, 3) == told(full.path, full.vkey, 1)


@pytest.mark.parametrize("file", ["tile/entries/001.p/14", "tile/entries/000", "tile/0/000"])
def test_a_damaged_export_is_told_in_the_same_place(full: Site, small_blocks: None, tmp_path: Path, file: str) -> None:
    """What could be read before a file that is cut short is judged before it."""
    with full.database.snapshot() as tx:
        export_tiles(tx, checkpoint=full.log.checkpoint(), verification_key=full.vkey, directory=tmp_path / "export")
    path = tmp_path / "export" / file
    path.write_bytes(path.read_bytes()[:-5])
    assert told(tmp_path / "export", full.vkey, 3) == told(tmp_path / "export", full.vkey, 1)


def test_a_whole_log_gets_the_same_verdict_from_real_processes(
    full: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, and one: the root, the times and the writers are the same."""
    shutil.copy(full.path, copy := tmp_path / "copy.db")
    alone = verify_log(copy, key=full.vkey)
    monkeypatch.setattr(reading, "WORTHWHILE", 1)
    monkeypatch.setattr(reading, "BLOCK", 100)
    assert verify_log(copy, key=full.vkey, processes=2) == alone
