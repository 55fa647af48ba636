"""What the audit log costs: durable appends, alone and from 64 threads; a million entries to verify, prove and list.

    python benchmarks/audit.py [--only appends|large] [--entries 1000000] [--directory DIR] [--json]

Every commit waits for the disk below DIR (SQLite: write-ahead log, synchronous=FULL; PostgreSQL: fsync and
synchronous_commit on, a cluster of its own on loopback). Rates of appends are medians of `REPEATS` runs. Beside
them stands what the database or SHA-256 alone does with the same bytes in the same minute, because other work on the
machine slows both, and what it costs in CPU time, which other work changes less.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))

from semfed_secure import cli
from semfed_secure.audit import merkle
from semfed_secure.audit.events import Entry, Event, encode_entry
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.storage import Database
from tests.audit.samples import sample
from tests.databases import postgresql_binaries, postgresql_urls, running_cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Run: TypeAlias = tuple[float, float]
REPEATS = 3
SINGLE, WRITERS, EACH = 300, 64, 50
KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)
EVENTS = [sample(number) for number in range(300)]
GOALS = {  # at least so many a second; at most so many seconds
    "sqlite_single_per_second": 1_000,
    "sqlite_64_writers_per_second": 20_000,
    "postgresql_single_per_second": 500,
    "postgresql_64_writers_per_second": 10_000,
    "verify_seconds": 30,
    "inclusion_proof_seconds": 0.001,
    "list_page_seconds": 0.1,
}


def event(number: int) -> Event:
    """One of a few hundred."""
    return EVENTS[number % len(EVENTS)]


def body(number: int) -> bytes:
    """The bytes of its entry."""
    return encode_entry(Entry(number, "2026-03-01T08:00:00.000Z", "north/client", event(number)))


def seconds(act: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def cpu_seconds() -> float:
    """What this process and those that it waited for have used."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))


def timed(act: Callable[[], object], count: int) -> Run:
    """How many acts a second, and the CPU seconds of this process for each."""
    used = time.process_time()
    rate = count / seconds(act)
    return rate, (time.process_time() - used) / count


def log_on(url: str) -> AuditLog:
    """The log of a database, which stays open."""
    return AuditLog(Database.open(url, kind="client"), key=KEY, clock=SystemClock(), writer="north/client")


def single(log: AuditLog) -> Run:
    """One append after the other."""

    def act() -> None:
        for number in range(SINGLE):
            log.append(event(number))

    return timed(act, SINGLE)


def crowd(log: AuditLog) -> Run:
    """Sixty-four threads, each append waiting for its own commit."""
    start = threading.Barrier(WRITERS + 1)

    def write() -> None:
        start.wait()
        for number in range(EACH):
            log.append(event(number))

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()

    def act() -> None:
        start.wait()
        for thread in threads:
            thread.join()

    return timed(act, WRITERS * EACH)


def bare(execute: Callable[[str, Sequence[Any]], object], commit: Callable[[], object], mark: str) -> Run:
    """The database alone: a row of the same size and a commit, one after the other."""
    rows = [(os.urandom(32), body(number)) for number in range(SINGLE)]

    def act() -> None:
        for row in rows:
            execute(f"INSERT INTO bare (leaf_hash, body) VALUES ({mark}, {mark})", row)
            commit()

    return timed(act, SINGLE)


def bare_sqlite(path: Path) -> Callable[[], Run]:
    """The same settings, on a file of its own."""
    connection = sqlite3.connect(path)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE bare (position INTEGER PRIMARY KEY, leaf_hash BLOB, body BLOB)")
    return lambda: bare(connection.execute, connection.commit, "?")


def bare_postgresql(url: str) -> Callable[[], Run]:
    """The same server, a database of its own."""
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is

    connection = psycopg.connect(url)
    connection.execute("CREATE TABLE bare (position bigserial PRIMARY KEY, leaf_hash bytea, body bytea)")
    connection.commit()
    return lambda: bare(connection.execute, connection.commit, "%s")


def appends(name: str, url: str, peer: Callable[[], Run]) -> dict[str, Any]:
    """Medians, with the database alone measured between the others."""
    log = log_on(url)
    runs = [(peer(), single(log), crowd(log)) for _ in range(REPEATS)]
    found: dict[str, Any] = {}
    for kind, column in zip(("alone", "single", "64_writers"), zip(*runs, strict=True), strict=True):
        rates = [rate for rate, _ in column]
        found[f"{name}_{kind}_per_second"] = round(statistics.median(rates))
        found[f"{name}_{kind}_best_per_second"] = round(max(rates))
        found[f"{name}_{kind}_cpu_microseconds"] = round(statistics.median(cpu for _, cpu in column) * 1e6)
    return found


def build(path: Path, entries: int) -> float:
    """A log of so many entries."""
    log = log_on(str(path))

    def act() -> None:
        for start in range(0, entries, 1_000):
            log.append_all([event(number) for number in range(start, min(start + 1_000, entries))])
        log.checkpoint()

    return seconds(act)


def hashes_alone(entries: int) -> float:
    """SHA-256 over so many entries and their tree, and nothing else."""
    bodies = [body(number) for number in range(3_000)]

    def act() -> None:
        frontier = merkle.Frontier()
        for number in range(entries):
            frontier.add(merkle.leaf_hash(bodies[number % 3_000]))
        frontier.root()

    used = time.process_time()
    act()
    return time.process_time() - used


def large(path: Path, entries: int) -> dict[str, Any]:
    """Verify, prove and list a large log."""
    built = build(path, entries)
    key, cores = KEY.public.encode(), len(os.sched_getaffinity(0))
    used = cpu_seconds()
    verified = seconds(lambda: verify_log(path, key=key, processes=cores))
    used = cpu_seconds() - used
    log = log_on(str(path))
    step = max(1, entries // 500)
    proofs = [seconds(lambda index=index: log.inclusion_proof(index, entries)) for index in range(0, entries, step)]

    def page() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            cli.main(["audit", "list", str(path), "--limit", "50"])

    page()  # imports what any command imports
    return {
        "entries": entries,
        "build_seconds": round(built, 1),
        "verify_seconds": round(verified, 1),
        "verify_cpu_seconds": round(used, 1),
        "verify_processes": cores + 1,
        "hashes_alone_cpu_seconds": round(hashes_alone(entries), 1),
        "inclusion_proof_seconds": round(statistics.median(proofs), 6),
        "inclusion_proof_p99_seconds": round(sorted(proofs)[int(len(proofs) * 0.99)], 6),
        "list_page_seconds": round(statistics.median(seconds(page) for _ in range(20)), 4),
        "list_page_best_seconds": round(min(seconds(page) for _ in range(20)), 4),
        "file_bytes": path.stat().st_size,
    }


def all_appends(directory: Path) -> dict[str, Any]:
    """On SQLite, and on PostgreSQL where it is installed."""
    found = appends("sqlite", str(directory / "log.db"), bare_sqlite(directory / "bare.db"))
    binaries = postgresql_binaries()
    if binaries is not None:
        with running_cluster(binaries, fsync="on") as cluster:
            urls = postgresql_urls(cluster)
            found |= appends("postgresql", next(urls), bare_postgresql(next(urls)))
    return found


def measure(directory: Path, entries: int, only: str | None) -> dict[str, Any]:
    """Everything, or one part."""
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_at_start": round(os.getloadavg()[0], 1)}
    if only != "large":
        found |= all_appends(directory)
    if only != "appends":
        found |= large(directory / "large.db", entries)
    found["load_at_end"] = round(os.getloadavg()[0], 1)
    missed = [name for name, goal in GOALS.items() if name in found and missed_by(found[name], goal, name)]
    return found | {"goals": GOALS, "missed": missed}


def missed_by(value: float, goal: float, name: str) -> bool:
    """Rates are to be higher, times lower."""
    return value < goal if name.endswith("_per_second") else value > goal


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("appends", "large"))
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path, help="where the databases are made; a disk, not memory")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(dir=arguments.directory))
    tempfile.tempdir = str(directory)
    directory.chmod(0o755)  # PostgreSQL may run as a user of its own
    try:
        found = measure(directory, arguments.entries, arguments.only)
    finally:
        shutil.rmtree(directory)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
