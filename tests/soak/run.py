"""The long form of the kills: ``python -m tests.soak.run``; prints one JSON line per part, fails if anything shows.

1. A process is killed at both sides of every named durable boundary, ``--repeats`` times.
2. ``--kills`` processes of a federation on loopback are killed at random; ``--seed`` repeats the choice of victims.
3. ``--races`` times eight processes race for the last of a budget, and ``--kills`` processes of a ledger are killed:
   on SQLite, and on PostgreSQL where it is installed. ``--ledger-only`` does nothing else.
4. Mutants: each drops one commit, or one sync; each must be seen. Without a mutant nothing is seen.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.databases import postgresql_binaries, postgresql_urls, running_cluster
from tests.soak import ledger, mutants, named, network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def fresh() -> Path:
    """A directory for one federation."""
    return Path(tempfile.mkdtemp(prefix="semfed-soak-"))


def killed_by_name(kind: str, repeats: int) -> dict[str, int]:
    """How often a process was killed at each boundary of rounds of ``kind``."""
    boundaries = named.boundaries_of(fresh(), kind)
    total = dict.fromkeys(boundaries, 0)
    for _ in range(repeats):
        for boundary, hits in named.kill_at_each(fresh(), kind, boundaries).items():
            total[boundary] += hits
    return total


def under_many_hands(database: str, urls: Iterator[str], options: argparse.Namespace) -> None:
    """What becomes of a ledger on one kind of database."""
    raced = ledger.race(urls, trials=options.races, seed=options.seed)
    _say(part="races for the last of a budget", database=database, **raced)
    killed = ledger.kill_at_random(next(urls), kills=options.kills, seed=options.seed)
    _say(part="kills of a ledger", database=database, **killed)


def ledgers(options: argparse.Namespace) -> None:
    """The ledger on each kind of database that this machine has."""
    under_many_hands("sqlite", ledger.sqlite_urls(fresh()), options)
    binaries = postgresql_binaries()
    if binaries is None:
        _say(part="races for the last of a budget", database="postgresql", skipped="it is not installed")
        return
    with running_cluster(binaries) as cluster:
        under_many_hands("postgresql", postgresql_urls(cluster), options)


def main(arguments: Sequence[str]) -> int:
    """All parts."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description="Kill everything, everywhere.")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--races", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger-only", action="store_true")
    options = parser.parse_args(arguments)
    if not options.ledger_only:
        for kind in named.KINDS:
            hits = killed_by_name(kind, options.repeats)
            _say(part="named boundaries", kind=kind, least=min(hits.values()), total=sum(hits.values()), hits=hits)
            if min(hits.values()) < options.repeats:
                return 1
        _say(part="random kills", **network.kill_at_random(fresh(), kills=options.kills, seed=options.seed))
    ledgers(options)
    if options.ledger_only:
        return 0
    seen = mutants.verdicts(fresh)
    _say(part="mutants", **seen)
    return int(not mutants.all_seen(seen))


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
