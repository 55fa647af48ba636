"""Content goes when its time is over, for good; what proves the log, and what others rely on, stays."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as engine_event

from semfed_secure.audit import retention, testimony, verify
from semfed_secure.audit.catalogue import EventType
from semfed_secure.audit.gather import gather
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.pages import last_entries
from semfed_secure.audit.proofs import check_proof, make_proof
from semfed_secure.audit.report import render
from semfed_secure.audit.retained import KEPT, PRUNABLE
from semfed_secure.audit.retention import EVERYTHING, Terms, hold, holds_in, lift, prune
from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError, RefusedError
from semfed_secure.storage import Database, log_guard, log_rows
from tests.audit.aged import DAY, TERMS, age, month, owner, pruned
from tests.audit.conftest import KEY
from tests.audit.exports import export, independently
from tests.audit.intruder import bodies_of
from tests.audit.samples import START, Site

if TYPE_CHECKING:
    import sqlite3

    from semfed_secure.crypto.log_keys import LogSigningKey
    from semfed_secure.storage import Transaction

FORK = multiprocessing.get_context("fork")


def removed(site: Site) -> list[int]:
    """The entries without content."""
    return [index for index, body in enumerate(bodies_of(site)) if not body]


def test_every_type_of_event_is_kept_or_may_be_pruned() -> None:
    """A type of event that was added without this decision fails here."""
    assert PRUNABLE | KEPT.keys() == set(EventType)
    assert not PRUNABLE & KEPT.keys()


def test_what_verifiers_compare_is_never_pruned() -> None:
    """Neither what is told once, nor what another log, the ledger, the roster or a review is held against."""
    compared = testimony._KEPT | verify.ONCE | {EventType.PEER_REFUSED, EventType.PROMPTS_REVIEWED}
    ours = ("budget.", "log.", "member.", "key.", "roster.", "policy.", "consensus.")
    assert not PRUNABLE & (compared | {kind for kind in EventType if kind.startswith(ours)})


def test_pruning_removes_the_content_of_old_entries_that_nothing_needs(site: Site) -> None:
    """Two of five entries in each of the months before; one entry says what, under which policy."""
    age(site, 4)
    root = verify_log(site.path, key=site.vkey).root
    found = pruned(site)
    assert (found.count, found.entry, found.gone) == (6, 20, True)
    assert found.kinds == {"dataset.opened": 3, "decision": 3}
    assert removed(site) == [1, 3, 6, 8, 11, 13]
    verdict = verify_log(site.path, key=site.vkey)
    assert (verdict.size, verdict.pruned) == (21, 6)
    event = site.log.entries(20, 21)[0].event
    assert (event.type, event.policy_id) == (EventType.LOG_PRUNED, "north/patients")
    assert (event.details["first"], event.details["last"], event.details["before"]) == (0, 14, "2026-05-01")
    with site.database.snapshot() as tx:
        assert site_root(tx, 20) == root


def site_root(tx: Transaction, size: int) -> str:
    """The root over the first entries, from the stored hashes."""
    frontier = Frontier()
    for row in log_rows.walk_entries(tx):
        if row.position < size:
            frontier.add(row.leaf_hash)
    return frontier.root().hex()


def test_pruning_again_removes_nothing_and_says_nothing(site: Site) -> None:
    """Until time has passed; the next stretch follows the one before."""
    age(site, 4)
    pruned(site)
    assert (pruned(site).count, site.log.size()) == (0, 21)
    again = pruned(site, "2026-07-01")
    assert (again.count, again.entry) == (2, 21)
    assert site.log.entries(21, 22)[0].event.details["first"] == 15
    assert verify_log(site.path, key=site.vkey).pruned == 8


def test_nothing_of_the_content_is_left_in_the_files(site: Site) -> None:
    """Neither in the database nor in its write-ahead log; what is younger stays."""
    age(site, 4)
    files = lambda: b"".join(path.read_bytes() for path in site.path.parent.iterdir())  # noqa: E731
    assert b"an old secret of month 1" in files()
    assert pruned(site).gone
    found = files()
    assert b"an old secret of month 3" in found
    assert not any(
        f"secret of month {number}".encode() in found or f"set-{number}".encode() in found for number in range(3)
    )


def test_a_reader_that_keeps_the_content_in_the_files_is_told(site: Site) -> None:
    """Pruning again, when it is gone, removes it from there too."""
    age(site, 4)
    with site.database.snapshot() as reader:
        assert log_rows.read_head(reader) is not None
        assert not pruned(site).gone
    assert pruned(site).gone


def test_what_is_younger_than_the_policy_says_is_refused_and_the_refusal_is_entered(site: Site) -> None:
    """As denied, with its code; nothing is removed. One day later it is old enough."""
    age(site, 2)
    days = (site.clock.now().date() - date(2026, 5, 1)).days + 1
    with pytest.raises(RefusedError, match="are kept for") as caught:
        pruned(site, terms=Terms(days))
    event = site.log.entries(10, 11)[0].event
    assert (caught.value.code, removed(site)) == ("SF204", [])
    assert (event.type, event.outcome, event.codes) == (EventType.LOG_PRUNED, "denied", ("SF204",))
    site.clock.advance(DAY)
    assert pruned(site, terms=Terms(days)).count == 4
    assert verify_log(site.path, key=site.vkey).pruned == 4
    with pytest.raises(ConfigurationError, match="that many days"):
        pruned(site, terms=Terms(10**9))


def test_a_legal_hold_stops_pruning_until_it_is_lifted(site: Site) -> None:
    """The refusal names it and is entered; a hold on later entries is in nobody's way."""
    age(site, 4)
    hold(owner(site), "inquiry", reference="2 O 17/26", since=None)
    hold(owner(site), "later", reference="B-1", since=date(2026, 5, 1))
    assert verify_log(site.path, key=site.vkey).holds == ("inquiry", "later")
    with pytest.raises(RefusedError, match="legal hold inquiry") as caught:
        pruned(site)
    event = site.log.entries(22, 23)[0].event
    assert (caught.value.code, event.outcome, event.codes, removed(site)) == ("SF205", "denied", ("SF205",), [])
    lift(owner(site), "inquiry", reference="closed 2027-01")
    assert pruned(site).count == 6
    with pytest.raises(RefusedError, match="legal hold later"):
        pruned(site, "2026-05-02")
    assert verify_log(site.path, key=site.vkey).holds == ("later",)


def test_a_hold_has_a_name_and_a_reference_and_is_put_once(site: Site) -> None:
    """No story and no person's full sentence; what is not in force cannot be lifted."""
    for name, reference in (("Big Case", "1"), ("case", "his wife said, that"), ("case", "")):
        with pytest.raises(ConfigurationError, match="a hold is named by"):
            hold(owner(site), name, reference=reference, since=None)
    hold(owner(site), "case", reference="1", since=None)
    with pytest.raises(ConfigurationError, match="already in force"):
        hold(owner(site), "case", reference="1", since=None)
    with pytest.raises(ConfigurationError, match="not in force"):
        lift(owner(site), "other", reference="1")
    with site.database.snapshot() as tx:
        assert holds_in(tx) == {"case": EVERYTHING}


def test_a_hold_that_comes_while_a_log_is_read_for_pruning_counts(site: Site, monkeypatch) -> None:
    """Nothing is removed; whoever asks again is told of the hold."""
    age(site, 3)
    real = retention.verify_source

    def slow(*args: object, **kwargs: object) -> object:
        found = real(*args, **kwargs)
        hold(owner(site), "sudden", reference="1", since=None)
        return found

    monkeypatch.setattr(retention, "verify_source", slow)
    with pytest.raises(IntegrityError, match="entered meanwhile"):
        pruned(site)
    monkeypatch.undo()
    assert removed(site) == []
    with pytest.raises(RefusedError, match="sudden"):
        pruned(site)


def test_a_damaged_log_is_not_pruned(site: Site) -> None:
    """It is verified first, and then nothing in it is touched."""
    age(site, 3)
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.exec_driver_sql("UPDATE log_entry SET body = replace(body, 'key-0', 'key-9') WHERE position = 2")
    before = bodies_of(site)
    with pytest.raises(IntegrityError):
        pruned(site)
    assert bodies_of(site) == before


def test_an_entry_of_a_clock_that_ran_ahead_ends_what_is_pruned(site: Site) -> None:
    """Content goes in the order of the log, up to the first entry that says it is younger."""
    site.log.append_all(month(0))
    site.clock.advance(60 * DAY)
    site.log.append_all(month(1))
    site.clock.advance(-50 * DAY)
    site.log.append_all(month(2))
    site.clock.advance(180 * DAY)
    assert (pruned(site, "2026-04-01").count, removed(site)) == (2, [1, 3])


def test_exported_tiles_of_a_pruned_log_verify_with_both_verifiers(site: Site, tmp_path: Path) -> None:
    """Entry bundles hold an entry of no length in its place; the auditor's script says how many there are."""
    age(site, 60)
    assert pruned(site, "2028-01-01").count > 40
    verdict = verify_log(site.path, key=site.vkey)
    exported = export(site, tmp_path / "export")
    assert verify_log(exported, key=site.vkey).root == verdict.root
    for place in (site.path, exported):
        status, said = independently(place, "--key", site.vkey)
        assert (status, f"{verdict.size - verdict.pruned} of them with content" in said) == (0, True)
    with open_source(exported) as source:
        assert sum(not stored.body for stored in source.entries()) == verdict.pruned


def test_what_reads_entries_passes_over_those_without_content(site: Site, tmp_path: Path) -> None:
    """Lists, pages of the last ones, and the log itself; no entry comes twice or is lost."""
    age(site, 60)
    count = pruned(site, "2028-01-01").count
    for place in (site.path, export(site, tmp_path / "export")):
        with open_source(place) as source:
            numbers = [entry.seq for entry in read_entries(source)]
            assert len(numbers) == len(set(numbers)) == 301 - count
            assert [entry.seq for entry in last_entries(source, 150, lambda _: True)] == numbers[-150:]
    assert [entry.seq for entry in site.log.entries(0, 5)] == [0, 2, 4]


def test_a_report_says_what_was_removed_and_held(site: Site) -> None:
    """Also in a period before the removal: what is missing there is missing everywhere."""
    age(site, 4)
    pruned(site)
    hold(owner(site), "inquiry", reference="2 O 17/26", since=None)
    with pytest.raises(RefusedError):
        pruned(site, "2026-07-01")
    for until in (None, START + timedelta(days=40)):
        page = render(gather(site.path, since=None, until=until, key=site.vkey))
        assert "removed the content of 6 entries of 0 to 14, all from before 2026-05-01" in page
        assert "3 dataset.opened, 3 decision" in page
        assert "30 days, north/patients" in page
        assert "Legal holds in force: inquiry." in page
        assert "recomputed, and all but 6 read" in page


def test_a_removed_entry_is_proven_by_its_hash_alone(site: Site) -> None:
    """Whoever kept the entry, or its hash from an export, can still show that it was in the log."""
    age(site, 4)
    with open_source(site.path) as source:
        whole = make_proof(source, 1, site.key.public)
    leaf = check_proof(whole, site.key.public).leaf
    pruned(site)
    site.log.checkpoint()
    with open_source(site.path) as source:
        text = make_proof(source, 1, site.key.public)
    assert "extra" not in text
    proven = check_proof(text, site.key.public, leaf=leaf)
    assert (proven.index, proven.leaf, proven.entry) == (1, leaf, None)
    check_proof(whole, site.key.public, leaf=leaf)  # made before, and still good
    for wrong in (None, bytes(32)):
        with pytest.raises(PeerError):
            check_proof(text, site.key.public, leaf=wrong)
    with pytest.raises(PeerError, match="another entry"):
        check_proof(whole, site.key.public, leaf=bytes(32))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.one_of(st.integers(1, 3), st.dates(date(2026, 3, 1), date(2026, 12, 1))), min_size=3, max_size=7)
)
def test_whatever_is_pruned_in_whatever_order_root_checkpoints_and_proofs_stay(
    empty_log: Path, tmp_path: Path, steps: list[int | date]
) -> None:
    """Numbers write months, days prune up to them: what could be proven before can be proven in the same bytes."""
    path = tmp_path / "state.db"
    for old in tmp_path.glob("state.db*"):
        old.unlink()
    shutil.copy(empty_log, path)
    clock = FixedClock(START)
    with Database.open(path, kind="client") as database:
        site = Site(path, database, KEY, clock, AuditLog(database, key=KEY, clock=clock, writer="w"))
        for step in steps:
            if isinstance(step, int):
                for _ in range(step):
                    site.log.append_all(month(clock.now().toordinal()))
                    clock.advance(30 * DAY)
                site.log.checkpoint()
                continue
            before = proofs(site)
            with contextlib.suppress(RefusedError):
                prune(owner(site), step, TERMS)
            assert proofs(site, size=len(before[0])) == before
            verdict = verify_log(path, key=site.vkey)
            assert verdict.pruned == len(removed(site))


def proofs(site: Site, size: int | None = None) -> tuple[list[object], object, object]:
    """Every inclusion and consistency proof, every kept checkpoint and the root, of the first ``size`` entries."""
    length = site.log.size() if size is None else size
    with site.database.snapshot() as tx:
        kept = [row for row in log_rows.list_checkpoints(tx) if row.size <= length]
        inclusion = [site.log.inclusion_proof(index, length, tx) for index in range(length)]
        consistency = [site.log.consistency_proof(old, length, tx) for old in range(1, length + 1)]
        return inclusion, (consistency, kept), site_root(tx, length)


def test_a_process_killed_at_any_statement_leaves_all_or_nothing(site: Site, tmp_path: Path) -> None:
    """The files as they are before each statement are what a kill there leaves: all of a removal, or nothing of it."""
    age(site, 1)
    states: dict[bytes, Path] = {}
    statements = 0

    def keep(_statement: str) -> None:
        nonlocal statements
        statements += 1
        found = b"".join(path.read_bytes() for path in sorted(site.path.parent.iterdir()) if "shm" not in path.name)
        if found not in states:
            states[found] = Path(shutil.copytree(site.path.parent, tmp_path / f"killed-{statements}"))

    connections: list[sqlite3.Connection] = []
    engine_event.listen(site.database._engine, "checkout", lambda connection, *_: connections.append(connection))
    with site.database.snapshot():
        connections[0].set_trace_callback(keep)
    pruned(site)
    connections[0].set_trace_callback(None)
    verdicts = [verify_log(copy, key=site.vkey) for copy in states.values()]
    assert {(verdict.size, verdict.pruned) for verdict in verdicts} == {(5, 0), (6, 2)}
    assert statements > 30


@pytest.mark.parametrize("number", [5, 15, 25])
def test_a_process_that_is_killed_while_it_prunes_can_prune_again(site: Site, number: int) -> None:
    """Nothing is torn, and nothing waits for who is gone."""
    age(site, 1)
    site.database.close()
    process = FORK.Process(target=_prune_and_die, args=(site.path, site.clock, number))
    process.start()
    process.join()
    assert (process.exitcode, removed(site)) == (9, [])
    assert pruned(site).count == 2


def _prune_and_die(path: Path, clock: FixedClock, number: int) -> None:
    """Prune; die before the statement of this number, from the first that writes on."""
    database = Database.open(path, kind="client")
    left, writing = number, False

    def count(statement: str) -> None:
        nonlocal left, writing
        writing = writing or statement == "BEGIN IMMEDIATE"
        left -= writing
        if not left:
            os._exit(9)

    log = AuditLog(database, key=KEY, clock=clock, writer="w")
    connections: list[sqlite3.Connection] = []
    engine_event.listen(database._engine, "checkout", lambda connection, *_: connections.append(connection))
    with database.snapshot():
        connections[0].set_trace_callback(count)
    pruned(Site(path, database, KEY, clock, log))


def test_a_log_on_postgresql_is_pruned_by_its_owner_only(
    postgresql_url: str, key: LogSigningKey, tmp_path: Path
) -> None:
    """The role that may only insert is refused, and its attempt is entered; triggers stand again afterwards."""
    with Database.open(postgresql_url, kind="server") as database:
        clock = FixedClock(START)
        site = Site(tmp_path, database, key, clock, AuditLog(database, key=key, clock=clock, writer="w"))
        age(site, 3)
        with database.transaction() as tx:
            tx.connection.exec_driver_sql("DROP ROLE IF EXISTS pruner")
            tx.connection.exec_driver_sql("CREATE ROLE pruner LOGIN")
            log_guard.grant(tx.connection, "pruner")
        with Database.open(postgresql_url.replace("semfed@", "pruner@"), kind="server") as theirs:
            log = AuditLog(theirs, key=key, clock=clock, writer="w")
            with pytest.raises(IntegrityError, match="the owner of the log's tables") as caught:
                pruned(Site(tmp_path, theirs, key, clock, log))
        event = site.log.entries(15, 16)[0].event
        assert (caught.value.code, event.type, event.outcome) == ("SF502", EventType.LOG_PRUNED, "failed")
        assert removed(site) == []
        found = pruned(site)
        # not gone: PostgreSQL keeps the old rows until VACUUM
        assert (found.count, found.gone, removed(site)) == (6, False, [1, 3, 6, 8, 11, 13])
        assert verify_log(postgresql_url, key=site.vkey).pruned == 6
        with pytest.raises(IntegrityError, match="only grows"), database.transaction() as tx:
            tx.connection.exec_driver_sql("UPDATE log_entry SET body = ''")
        with database.transaction() as tx:
            tx.connection.exec_driver_sql("DROP OWNED BY pruner")
            tx.connection.exec_driver_sql("DROP ROLE pruner")


def test_large_pruned_logs_are_read_in_several_processes(site: Site, monkeypatch) -> None:
    """As in one."""
    age(site, 60)
    pruned(site, "2028-01-01")
    alone = verify_log(site.path, key=site.vkey)
    monkeypatch.setattr("semfed_secure.audit.reading.WORTHWHILE", 1)
    assert verify_log(site.path, key=site.vkey, processes=2) == alone
