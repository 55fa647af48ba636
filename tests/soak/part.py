"""One part of the soak as a process: ``python -m tests.soak.part DIRECTORY PART …`` prints one JSON value."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.databases import postgresql_urls
from tests.soak import ledger, mutants, named, network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def answer(directory: Path, part: str, *words: str) -> Any:
    """What ``part`` has to say."""
    if part == "random":
        return network.kill_at_random(directory, kills=int(words[0]), seed=int(words[1]))
    if part == "races":
        return ledger.race(_urls(directory, *words[2:]), trials=int(words[0]), seed=int(words[1]))
    if part == "ledger":
        return ledger.kill_at_random(next(_urls(directory, *words[2:])), kills=int(words[0]), seed=int(words[1]))
    if part == "named":
        return named.kill_at_each(directory, words[0], list(words[1:]))
    if part == "dropped":
        return named.sees_what_is_not_durable(directory, f"{words[0]}-1", drop=words[1])
    mutate = None if words[0] == "none" else mutants.SYNCS[words[0]]
    return named.sees_what_is_not_durable(directory, "votes-1", mutate)


def _urls(directory: Path, cluster: str | None = None) -> Iterator[str]:
    return ledger.sqlite_urls(directory) if cluster is None else postgresql_urls(cluster)


def main(arguments: Sequence[str]) -> int:
    """Answer."""
    sys.stdout.write(json.dumps(answer(Path(arguments[0]), *arguments[1:])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
