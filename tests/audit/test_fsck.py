"""What is lost and what can be made again: told of every part, and nothing is changed unless asked."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.events import EventType
from semfed_secure.audit.fsck import State, examine
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.repair import repair_database, repair_export
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.errors import IntegrityError
from semfed_secure.storage import Database
from tests.audit.corruptions import CORRUPTIONS, corrupted
from tests.audit.exports import export
from tests.audit.intruder import bodies_of, forge, rebuild, sql
from tests.audit.large_log import KEY
from tests.audit.samples import START, Site, sample
from tests.audit.test_tampering import EXPORTED, STORED

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.crypto.log_keys import LogSigningKey


def states(place: Path | str, site_key: LogSigningKey) -> dict[str, State]:
    """The parts that are not sound."""
    with open_source(place) as source:
        parts = examine(source, site_key.public)
    return {part.name: part.state for part in parts if part.state is not State.SOUND}


def test_a_whole_log_is_sound_in_every_part(full: Site, tmp_path: Path) -> None:
    """As a database and as an export."""
    assert states(full.path, full.key) == {}
    assert states(export(full, tmp_path / "export"), full.key) == {}


@pytest.mark.parametrize("name", [name for name in STORED if name != "log dropped"])
def test_each_part_of_a_database_is_sound_lost_or_derived(full: Site, name: str) -> None:
    """Derived is exactly what the verifier calls computed; it is repaired, and nothing else is touched."""
    code, *statements = STORED[name]
    before = bodies_of(full)
    sql(full, *statements)
    found = states(full.path, full.key)
    if code == "SF513":
        assert set(found.values()) == {State.DERIVED}
        repair_database(full.path, full.key, clock=full.clock)
        assert verify_log(full.path, key=full.vkey).size == 271
        assert bodies_of(full)[:270] == before
        repaired = full.log.entries(270, 271)[0].event
        assert (repaired.type, repaired.details["parts"]) == (EventType.LOG_REPAIRED, list(found))
        full.log.append(sample(0))
    elif name != "checkpoint dropped":  # who keeps one fewer has lost nothing that fsck could see; verify does
        assert State.LOST in found.values()
        raw = bodies_of(full)
        with pytest.raises(IntegrityError, match="nothing was repaired"):
            repair_database(full.path, full.key, clock=full.clock)
        assert bodies_of(full) == raw


def test_the_guard_of_the_tables_stands_again_after_a_repair(full: Site) -> None:
    """Who repairs lifts it for the one transaction alone."""
    sql(full, *STORED["tree hash flipped"][1:])
    repair_database(full.path, full.key, clock=full.clock)
    with pytest.raises(Exception, match="only grows"), full.database.transaction() as tx:
        tx.connection.exec_driver_sql("DELETE FROM log_node")


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "checkpoint dropped"])
def test_each_part_of_an_export_is_sound_lost_or_derived(small: Path, tmp_path: Path, name: str) -> None:
    """Hash tiles are made again, byte for byte; entries and checkpoints are not."""
    copy = corrupted(small, name, tmp_path)
    found = states(copy, KEY)
    if EXPORTED[name] == "SF513":
        assert set(found.values()) == {State.DERIVED}
        repair_export(copy, KEY.public)
        assert verify_log(copy, key=KEY.public.encode()).size == 600
        for path in (path for path in small.rglob("*") if path.is_file()):
            assert (copy / path.relative_to(small)).read_bytes() == path.read_bytes()
    else:
        assert State.LOST in found.values()


def test_examining_changes_nothing(full: Site) -> None:
    """Not a byte of the state directory."""
    sql(full, *STORED["tree hash flipped"][1:])
    full.database.close()
    before = {item.name: item.read_bytes() for item in full.path.parent.iterdir()}
    assert states(full.path, full.key) == {"hashes of the tree": State.DERIVED}
    assert {item.name: item.read_bytes() for item in full.path.parent.iterdir()} == before


def test_rewritten_entries_are_lost_however_well_they_fit_their_hashes(full: Site) -> None:
    """A tree over forged entries is no reason to call them sound, and nothing is repaired around them."""
    bodies = bodies_of(full)
    rebuild(full, [*bodies[:3], forge(bodies[3]), *bodies[4:]])
    assert states(full.path, full.key)["entries"] is State.LOST


def test_a_cosignature_under_no_checkpoint_is_told(full: Site) -> None:
    """A line that cannot be read, or of a size that was never kept."""
    sql(full, "INSERT INTO log_cosignature VALUES (17, 'east', 'nonsense', 1)")
    assert states(full.path, full.key) == {"cosignatures": State.LOST}


def test_a_log_on_postgresql_is_repaired(postgresql_url: str, key: LogSigningKey, tmp_path: Path) -> None:
    """Through its URL, by who owns the tables."""
    with Database.open(postgresql_url, kind="server") as database:
        log = AuditLog(database, key=key, clock=FixedClock(START), writer="w")
        log.append_all([sample(number) for number in range(300)])
        site = Site(tmp_path, database, key, FixedClock(START), log)
        sql(site, *STORED["tree hash dropped"][1:], "UPDATE log_entry SET leaf_hash = body WHERE position = 7")
        assert set(states(postgresql_url, key).values()) == {State.DERIVED}
        repair_database(postgresql_url, key, clock=FixedClock(START))
        assert verify_log(postgresql_url, key=key.public.encode()).size == 301


def test_a_partial_copy_is_read_as_far_as_it_goes(full: Site, tmp_path: Path) -> None:
    """A directory without its tiles has lost its entries, and says so instead of failing."""
    directory = export(full, tmp_path / "export")
    shutil.rmtree(directory / "tile")
    (directory / "tile").mkdir()
    assert states(directory, full.key)["entries"] is State.LOST
