"""What the soak must see: a commit or a sync that one line of the product forgot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.client import adapters
from semfed_secure.identity import files
from semfed_secure.storage import engines
from tests.soak import named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _no_sync_of_files() -> None:
    files._write_through = lambda path, data, *_: path.write_bytes(data)


def _no_sync_of_directories() -> None:
    files.fsync_directory = lambda _path: None


def _no_sync_of_adapters() -> None:
    adapters._flush = lambda _directory: None


def _no_sync_of_the_names_of_adapters() -> None:
    adapters._flush_directory = lambda _directory: None


def _commits_that_do_not_wait() -> None:
    real = engines._durable_sqlite

    def hasty(connection: Any, record: object) -> None:
        real(connection, record)
        connection.execute("PRAGMA synchronous=NORMAL")

    engines._durable_sqlite = hasty


SYNCS: dict[str, Callable[[], None]] = {
    "files are not synced": _no_sync_of_files,
    "directories are not synced": _no_sync_of_directories,
    "adapters are not synced": _no_sync_of_adapters,
    "names of adapters are not synced": _no_sync_of_the_names_of_adapters,
    "SQLite does not wait for the disk": _commits_that_do_not_wait,
}


def verdicts(fresh: Callable[[], Path]) -> dict[str, bool]:
    """Whether each mutant was seen; ``no mutant`` must not be."""
    found = {f"no mutant, {kind}": named.sees_what_is_not_durable(fresh(), f"{kind}-1") for kind in named.KINDS}
    for name, mutate in SYNCS.items():
        found[name] = named.sees_what_is_not_durable(fresh(), "votes-1", mutate)
    for kind in named.KINDS:
        for boundary in named.boundaries_of(fresh(), kind):
            if "." in boundary:  # a commit; steps of the client are none
                found[f"{kind}: {boundary}"] = named.sees_what_is_not_durable(fresh(), f"{kind}-1", drop=boundary)
    return found


def all_seen(found: dict[str, bool]) -> bool:
    """Every mutant, and nothing where there is none."""
    return all(seen is not name.startswith("no mutant") for name, seen in found.items())
