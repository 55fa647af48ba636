"""Appending: durable, contiguous, signed; and nothing acknowledged that is not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from semfed_secure.audit import merkle, notes
from semfed_secure.audit.events import EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import FixedClock, SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import IntegrityError
from semfed_secure.storage import Database, log_rows, pin_rows
from tests.audit.samples import START, Site, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.storage import Transaction
    from semfed_secure.storage.log_rows import HeadRow

WRITER = """
    import sys
    from semfed_secure.audit.events import Event, EventType
    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import SystemClock
    from semfed_secure.crypto.log_keys import LogSigningKey
    from semfed_secure.storage import Database

    url, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    key = LogSigningKey("hospitals.example/north", b"\\x01" * 32, b"\\x02" * 32)
    log = AuditLog(Database.open(url, kind="client"), key=key, clock=SystemClock(), writer=writer)
    event = Event(type=EventType.LOG_STARTED, outcome="success", actor="north")
    for _ in range(count):
        print(log.append(event), flush=True)
"""


def start_writer(url: str, writer: str, count: int) -> subprocess.Popen[str]:
    """Another process that appends, and prints each number once it was acknowledged."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), url, writer, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def any_log(database_url: str, key: LogSigningKey) -> Iterator[AuditLog]:
    """An empty log on SQLite and on PostgreSQL."""
    with Database.open(database_url, kind="client") as database:
        yield AuditLog(database, key=key, clock=FixedClock(START), writer="north/client")


def test_entries_are_numbered_from_zero_and_come_back(any_log: AuditLog) -> None:
    """What was appended is read back, in order, with its time and writer."""
    assert [any_log.append(sample(number)) for number in range(5)] == [0, 1, 2, 3, 4]
    entries = any_log.entries(1, 9)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    assert [entry.event for entry in entries] == [sample(number) for number in range(1, 5)]
    assert {(entry.at, entry.writer) for entry in entries} == {(START, "north/client")}
    assert any_log.size() == 5


def test_an_empty_log_has_a_checkpoint(site: Site) -> None:
    """A new log can be pinned by others before its first entry."""
    verified = notes.verify_checkpoint(site.log.checkpoint(), site.key.public)
    assert (verified.checkpoint.size, verified.checkpoint.root) == (0, merkle.EMPTY_ROOT)
    assert verified.cosigned_at is not None


@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_checkpoints_sign_the_tree_of_all_entries(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """Whatever the batches, the checkpoint is the RFC 6962 root of the bytes that are stored."""
    key = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
    with Database.open(tmp_path_factory.mktemp("log") / "semfed.db", kind="client") as database:
        log = AuditLog(database, key=key, clock=FixedClock(START), writer="w")
        for size in sizes:
            log.append_all([sample(0)] * size)
        signed = notes.verify_checkpoint(log.checkpoint(), key.public).checkpoint
        frontier = merkle.Frontier()
        with database.snapshot() as tx:
            for row in log_rows.walk_entries(tx):
                frontier.add(merkle.leaf_hash(row.body))
    assert (signed.size, signed.root) == (sum(sizes), frontier.root())


def test_every_full_tile_is_cosigned_at_once(site: Site) -> None:
    """At most 255 entries rest on Ed25519 alone."""
    for count in (255, 1, 300, 1):
        site.log.append_all([sample(0)] * count)
    with site.database.snapshot() as tx:
        kept = [notes.verify_checkpoint(row.note, site.key.public) for row in log_rows.list_checkpoints(tx)]
    assert [(item.checkpoint.size, item.cosigned_at is not None) for item in kept] == [(256, True), (556, True)]


def test_a_checkpoint_handed_out_is_cosigned_and_kept(any_log: AuditLog) -> None:
    """Asking twice gives the same note; it is signed by both keys."""
    any_log.append(sample(0))
    first = any_log.checkpoint()
    assert any_log.checkpoint() == first
    assert len(notes.parse_note(first).signatures) == 2
    any_log.append(sample(1))
    assert any_log.checkpoint() != first


def test_an_append_inside_a_transaction_shares_its_fate(site: Site) -> None:
    """The record of an act is committed with the act, or not at all."""
    with site.database.transaction() as tx:
        pin_rows.set_pin_once(tx, "act", b"done")
        assert site.log.append(sample(0), tx) == 0
        assert site.log.size(tx) == 1
    with pytest.raises(ZeroDivisionError), site.database.transaction() as tx:
        pytest.fail(f"{1 // (site.log.append(sample(1), tx) - 1)}")
    assert site.log.size() == 1
    assert site.log.append(sample(2)) == 1


def test_every_proof_of_the_log_verifies(any_log: AuditLog) -> None:
    """Inclusion and consistency proofs lead to the roots of the checkpoints of their sizes."""
    roots = {0: merkle.EMPTY_ROOT}
    for number in range(20):
        any_log.append(sample(number))
        roots[number + 1] = notes.parse_checkpoint(notes.parse_note(any_log.checkpoint()).text).root
    for size in (1, 7, 16, 20):
        for index in range(size):
            leaf = merkle.leaf_hash(_body(any_log, index))
            proof = any_log.inclusion_proof(index, size)
            assert merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=roots[size]) == index
        for old in range(size + 1):
            merkle.verify_consistency(
                old_size=old,
                old_root=roots[old],
                new_size=size,
                new_root=roots[size],
                proof=any_log.consistency_proof(old, size),
            )


def _body(log: AuditLog, index: int) -> bytes:
    with log._database.snapshot() as tx:
        return log_rows.read_entries(tx, index, index + 1)[0].body


def test_proofs_beyond_the_log_are_refused(site: Site) -> None:
    """There is no proof for an entry that is not there yet."""
    site.fill(3)
    with pytest.raises(ValueError, match="not 4"):
        site.log.inclusion_proof(3, 4)
    with pytest.raises(ValueError, match="not 4"):
        site.log.consistency_proof(2, 4)


def test_a_log_belongs_to_one_key(site: Site) -> None:
    """Another key cannot take the log up."""
    other = LogSigningKey.generate(site.key.name)
    with pytest.raises(IntegrityError) as caught:
        AuditLog(site.database, key=other, clock=site.clock, writer="w")
    assert caught.value.code == "SF503"


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE log_head SET frontier = zeroblob(32)", "SF501"),
        ("UPDATE log_head SET frontier = x''", "SF501"),
        ("UPDATE log_head SET size = size + 1", "SF501"),
        ("UPDATE log_head SET frontier = 'text of thirty-two characters...'", "SF501"),
        ("UPDATE log_head SET checkpoint = replace(checkpoint, 'north', 'south')", "SF503"),
        ("UPDATE log_head SET verification_key = 'x'", "SF503"),
        ("DELETE FROM log_head", "SF501"),
    ],
)
def test_nothing_is_appended_to_a_damaged_head(site: Site, damage: str, code: str) -> None:
    """A changed head is told before a signature could make it look genuine."""
    site.fill(1)
    with site.database.transaction() as tx:
        tx.connection.execute(text(damage))
    with pytest.raises(IntegrityError) as caught:
        site.log.append(sample(1))
    assert caught.value.code == code
    with site.database.snapshot() as tx:
        assert len(list(log_rows.walk_entries(tx))) == 1


def test_a_rewritten_head_needs_the_key(site: Site) -> None:
    """A head that someone rebuilt consistently, but could not sign, is refused."""
    site.fill(2)
    frontier = merkle.Frontier()
    frontier.add(merkle.leaf_hash(b"forged"))
    forger = LogSigningKey(site.key.name, b"\x07" * 32, b"\x02" * 32)
    forged = notes.sign_checkpoint(notes.Checkpoint(site.key.name, 1, frontier.root()), forger, cosigned_at=None)
    with site.database.transaction() as tx:
        log_rows.advance_head(tx, old_size=2, size=1, frontier=frontier.encode(), checkpoint=forged)
    with pytest.raises(IntegrityError) as caught:
        site.log.append(sample(1))
    assert caught.value.code == "SF503"


def test_a_clock_that_steps_back_is_told_by_an_entry_of_its_own(site: Site) -> None:
    """Entries keep their order by number and say what the clock said; that it was out of order is on record, once."""
    site.log.append(sample(0))
    site.clock.advance(-60)
    assert site.log.append(sample(1)) == 2
    assert site.log.append(sample(2)) == 3
    _, notice, *later = site.log.entries(0, 9)
    assert (notice.event.type, notice.event.codes) == (EventType.LOG_CLOCK_BACK, ("SF519",))
    assert notice.event.details == {"seconds": 60, "newest": "2026-03-01T08:00:00.000Z"}
    assert [entry.at for entry in (notice, *later)] == [START - timedelta(seconds=60)] * 3


def test_a_clock_that_stepped_back_while_nobody_wrote_is_told_by_the_next_process(site: Site) -> None:
    """The newest entry says what the clock must not stand before, whoever wrote it."""
    site.fill(2)
    with Database.open(site.path, kind="client") as database:
        log = AuditLog(database, key=site.key, clock=FixedClock(START - timedelta(days=1)), writer="w")
        assert log.append(sample(2)) == 3
        assert log.entries(2, 3)[0].event.details["seconds"] == 86_401


def test_clocks_of_machines_that_share_a_log_may_differ_by_a_second(site: Site) -> None:
    """Such a step is visible in the times and needs no entry."""
    site.log.append(sample(0))
    site.clock.advance(-1)
    assert site.log.append(sample(1)) == 1


def test_threads_append_without_gaps(any_log: AuditLog) -> None:
    """Numbers handed to threads are exactly 0, 1, 2 and so on."""
    numbers: list[int] = []

    def write() -> None:
        numbers.extend(any_log.append(sample(0)) for _ in range(10))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(40))
    assert [entry.seq for entry in any_log.entries(0, 100)] == list(range(40))


def test_processes_append_without_gaps(database_url: str, key: LogSigningKey) -> None:
    """Several processes share one log: every number is given once, and the log verifies as one."""
    Database.open(database_url, kind="client").close()
    children = [start_writer(database_url, f"writer-{number}", 30) for number in range(3)]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sorted(int(line) for output in outputs for line in output.split()) == list(range(90))
    with Database.open(database_url, kind="client") as database:
        log = AuditLog(database, key=key, clock=SystemClock(), writer="w")
        entries = log.entries(0, 100)
        assert [entry.seq for entry in entries] == list(range(90))
        assert {entry.writer for entry in entries} == {"writer-0", "writer-1", "writer-2"}
        assert notes.verify_checkpoint(log.checkpoint(), key.public).checkpoint.size == 90


def test_kill_9_loses_no_acknowledged_entry(database_url: str, key: LogSigningKey) -> None:
    """Whatever was acknowledged before a kill is there afterwards, and the log goes on without a gap."""
    acknowledged = -1
    with Database.open(database_url, kind="client") as database:
        for after in (1, 7, 23):
            child = start_writer(database_url, "victim", 1_000_000)
            assert child.stdout is not None
            for _ in range(after):
                acknowledged = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().split("\n") if line)])
            assert child.wait() == -signal.SIGKILL
            child.stdout.close()
            log = AuditLog(database, key=key, clock=SystemClock(), writer="w")
            entries = log.entries(0, 10_000_000)
            assert [entry.seq for entry in entries] == list(range(len(entries)))
            assert len(entries) > acknowledged
            assert log.append(sample(0)) == len(entries)


def test_a_read_only_database_acknowledges_nothing(site: Site) -> None:
    """No audit, no release: an append to a log that cannot be written raises."""
    site.fill(2)
    site.database.close()
    with Database.open(f"sqlite:///file:{site.path}?mode=ro&uri=true", kind="client") as database:
        log = AuditLog(database, key=site.key, clock=site.clock, writer="w")
        with pytest.raises(IntegrityError, match="cannot be written") as caught:
            log.append(sample(0))
        assert caught.value.code == "SF502"
    assert site.log.size() == 2


def test_a_full_disk_acknowledges_nothing(site: Site) -> None:
    """When the disk is full the append raises, and the log goes on from where it was once there is room."""
    site.fill(2)
    with site.database.transaction() as tx:
        tx.connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite takes it as: no page more than now
    with pytest.raises(IntegrityError, match="full") as caught:
        site.fill(1000)
    assert caught.value.code == "SF502"
    size = site.log.size()
    with site.database.transaction() as tx:
        tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert [entry.seq for entry in site.log.entries(0, 10_000)] == list(range(size))
    assert site.log.append(sample(1)) == size


def test_nothing_is_written_if_the_head_moved_meanwhile(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of writers makes it impossible; if it ever fails, two entries do not get one number."""
    site.fill(1)
    monkeypatch.setattr(log_rows, "read_head", lambda tx, real=log_rows.read_head: moved(tx, real(tx)))

    def moved(tx: Transaction, head: HeadRow | None) -> HeadRow | None:
        assert head is not None
        tx.connection.execute(text("UPDATE log_head SET size = size + 1"))
        return head

    with pytest.raises(IntegrityError, match="moved the head") as caught:
        site.log.append(sample(1))
    assert caught.value.code == "SF502"
    monkeypatch.undo()
    assert site.log.append(sample(1)) == 1


def test_an_empty_append_is_a_mistake(site: Site) -> None:
    """There is no number to return for nothing."""
    with pytest.raises(ValueError, match="at least one"):
        site.log.append_all([])
