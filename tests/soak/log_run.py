"""Kills of the audit log: ``python -m tests.soak.log_run``; prints one JSON line per part, fails if anything shows.

1. A writer kills itself at each point of an append, ``--repeats`` times, on each kind of database.
2. ``--kills`` writers, three processes of three threads at a time, are killed at random on each.
3. ``--crashes`` times a process of PostgreSQL is killed, so that the server loses its memory.
4. Mutants: a commit that is lost, a commit that does not wait for the disk; each must be seen.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.storage import engines
from tests.databases import postgresql_binaries, postgresql_urls, running_cluster
from tests.soak import boundaries, log
from tests.soak.ledger import sqlite_urls
from tests.soak.mutants import SYNCS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def fresh() -> Path:
    """A directory for what the writers were told."""
    return Path(tempfile.mkdtemp(prefix="semfed-log-"))


def commits_that_do_not_wait() -> None:
    """A mutant: PostgreSQL acknowledges what it only has in memory."""
    real = engines._durable_postgresql

    def hasty(connection: Any, record: object) -> None:
        real(connection, record)
        connection.autocommit = True
        connection.execute("SET synchronous_commit = off")
        connection.autocommit = False

    engines._durable_postgresql = hasty


def is_seen(part: Any, *words: Any, **more: Any) -> bool:
    """Whether a part of the soak misses what a mutant lost."""
    try:
        part(*words, **more)
    except log.LostError:
        return True
    return False


def on(database: str, urls: Iterator[str], options: argparse.Namespace) -> bool:
    """All parts on one kind of database; whether every mutant was seen."""
    say(part="points", database=database, **log.kill_at_each_point(next(urls), fresh(), **of(options, "repeats")))
    say(part="random", database=database, **log.kill_at_random(next(urls), fresh(), **of(options, "kills")))
    forget = lambda: boundaries.install(log.Forgetful())  # noqa: E731
    seen = {"a lost commit": is_seen(log.kill_at_random, next(urls), fresh(), kills=10, seed=1, mutate=forget)}
    name = "a commit that does not wait"
    if database == "sqlite":
        if log.sees_a_commit_that_does_not_wait(next(urls)):
            raise AssertionError("the watch complains without a mutant")
        mutant = SYNCS["SQLite does not wait for the disk"]
        seen[name] = log.sees_a_commit_that_does_not_wait(next(urls), mutant)
    else:
        crashes = log.crash_server(next(urls), fresh(), kills=options.crashes, seed=options.seed)
        say(part="server crashes", database=database, **crashes)
        mutant = commits_that_do_not_wait
        seen[name] = is_seen(log.crash_server, next(urls), fresh(), kills=20, seed=1, mutate=mutant)
    say(part="mutants", database=database, **seen)
    return all(seen.values())


def of(options: argparse.Namespace, name: str) -> dict[str, int]:
    """How often, and the seed."""
    return {name: getattr(options, name), "seed": options.seed}


def say(**line: Any) -> None:
    """One line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """All parts."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.log_run", description="Kill the writers of a log.")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--crashes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    options = parser.parse_args(arguments)
    well = options.database == "postgresql" or on("sqlite", sqlite_urls(fresh()), options)
    binaries = postgresql_binaries()
    if binaries is None:
        say(part="points", database="postgresql", skipped="it is not installed")
    elif options.database != "sqlite":
        with running_cluster(binaries) as cluster:
            well = on("postgresql", postgresql_urls(cluster), options) and well
    return int(not well)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
