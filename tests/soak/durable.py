"""Whether what should survive a loss of power is asked of the operating system in time.

A killed process loses nothing that it wrote: only a dead machine shows a missing sync, and we cannot pull the plug.
So this watch looks at the requests: a file is synced before it takes its name, the directory of a new name before
anything else is committed, every commit of SQLite runs with a write-ahead log and ``synchronous=FULL``, and what was
said to be committed can be seen by a second connection. What SQLite and the disk make of these requests is theirs, and
not tested here.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from semfed_secure.storage.database import Transaction

_FULL = 2


class Watch:
    """Intercepts syncs, renames and links of this process, and checks at each boundary that none is missing."""

    def __init__(self, drop: str | None = None) -> None:
        """Begin to watch; the first commit of ``drop`` that wrote is rolled back, while its writer goes on."""
        self._drop, self._versions = drop, dict[str, int]()
        self._complaints: list[str] = []
        self._changes, self._seconds = dict[int, int](), dict[str, sqlite3.Connection]()
        self._synced: set[tuple[int, int]] = set()
        self._unsynced_directories: dict[tuple[int, int], str] = {}
        fsync, replace, rename, link = os.fsync, Path.replace, Path.rename, Path.hardlink_to

        def watched_fsync(descriptor: Any) -> None:
            fsync(descriptor)
            found = os.fstat(descriptor if isinstance(descriptor, int) else descriptor.fileno())
            self._synced.add((found.st_dev, found.st_ino))
            self._unsynced_directories.pop((found.st_dev, found.st_ino), None)

        def watched_replace(source: Path, target: Path) -> Path:
            self._named(source, Path(target))
            return replace(source, target)

        def watched_rename(source: Path, target: Path) -> Path:
            self._named(source, Path(target))
            return rename(source, target)

        def watched_link(target: Path, source: Path) -> None:
            self._named(Path(source), target)
            link(target, source)

        os.fsync, Path.replace = watched_fsync, watched_replace  # type: ignore[assignment]
        Path.rename, Path.hardlink_to = watched_rename, watched_link  # type: ignore[method-assign]

    def before(self, name: str, tx: Transaction) -> bool:
        """Names are on disk before the commit that may rely on them; the commit itself waits for the disk."""
        self._check(name)
        if tx.connection.dialect.name == "sqlite":
            mode = tx.connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            level = tx.connection.exec_driver_sql("PRAGMA synchronous").scalar()
            if (mode, level) != ("wal", _FULL):
                self._complain(f"{name} commits with journal {mode} and synchronous={level}")
            return self._expected(name, tx)
        return True

    def after(self, name: str) -> None:
        """What was written can be seen from outside."""
        versions, self._versions = self._versions, {}
        for path, version in versions.items():
            if self._version(path) == version:
                self._complain(f"{name} was told of a commit that did not happen")

    def _expected(self, name: str, tx: Transaction) -> bool:
        """Note that a version must follow, if anything was written; whether the commit may happen."""
        driver: Any = tx.connection.connection.driver_connection
        wrote = driver.total_changes != self._changes.get(id(driver), 0)
        self._changes[id(driver)] = driver.total_changes
        if not wrote:
            return True
        path = str(tx.connection.engine.url.database)
        self._versions[path] = self._version(path)
        dropped, self._drop = name == self._drop, None if name == self._drop else self._drop
        return not dropped

    def _version(self, path: str) -> int:
        """Changes whenever another connection has committed."""
        second = self._seconds.setdefault(path, sqlite3.connect(path, isolation_level=None))
        version: int = second.execute("PRAGMA data_version").fetchone()[0]
        return version

    def step(self, name: str) -> None:
        """As at a commit."""
        self._check(name)

    def finish(self) -> None:
        """At the end nothing is left to sync, and nobody swallowed a complaint."""
        self._check("the end")
        if self._complaints:
            raise AssertionError("; ".join(self._complaints))

    def _complain(self, sentence: str) -> NoReturn:
        # The server lets one damaged round stop no other: it would catch this, and try again.
        self._complaints.append(sentence)
        raise AssertionError(sentence)

    def _named(self, source: Path, target: Path) -> None:
        inner = [path for path in source.rglob("*") if path.is_file()] if source.is_dir() else [source]
        for path in inner:
            found = path.stat()
            if (found.st_dev, found.st_ino) not in self._synced:
                self._complain(f"{path.name} takes the name {target.name} before it is synced")
        directory = target.parent.stat()
        self._unsynced_directories[directory.st_dev, directory.st_ino] = str(target.parent)

    def _check(self, place: str) -> None:
        if self._unsynced_directories:
            self._complain(f"at {place}: not synced: {sorted(self._unsynced_directories.values())}")
