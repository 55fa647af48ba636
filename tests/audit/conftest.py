"""A log to test on: fixed keys, a fixed clock, a state directory."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.storage import Database
from tests.audit.large_log import write
from tests.audit.samples import SIZE, START, Site, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


KEY = LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)


@pytest.fixture
def key() -> LogSigningKey:
    """The site's log key, the same in every run."""
    return KEY


@pytest.fixture
def site(tmp_path: Path, empty_log: Path) -> Iterator[Site]:
    """An empty log in a state directory."""
    yield from _opened(tmp_path, empty_log)


@pytest.fixture
def full(tmp_path: Path, full_log: Path) -> Iterator[Site]:
    """A log of `SIZE` entries, written in several transactions."""
    yield from _opened(tmp_path, full_log, later=60)


@pytest.fixture(scope="session")
def empty_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty log as one file, made once and copied for each test."""
    return _made(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def full_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of `SIZE` entries as one file, made once and copied for each test."""
    return _made(tmp_path_factory.mktemp("full"), 3, SIZE - 18, 1, 13, 1)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a log of 600 entries under a key of its own, to be copied and corrupted."""
    return write(tmp_path_factory.mktemp("small") / "export", size=600)


def _made(directory: Path, *batches: int) -> Path:
    path = directory / "site.db"
    with Database.open(path, kind="client") as database:
        clock = FixedClock(START)
        log = AuditLog(database, key=KEY, clock=clock, writer="north/client")
        for batch in batches:
            first = log.size()
            log.append_all([sample(number) for number in range(first, first + batch)])
            clock.advance(1)
    return path


def _opened(tmp_path: Path, made: Path, *, later: int = 0) -> Iterator[Site]:
    path = tmp_path / "state" / "site.db"
    path.parent.mkdir()
    shutil.copy(made, path)
    clock = FixedClock(START + timedelta(seconds=later))
    with Database.open(path, kind="client") as database:
        yield Site(path, database, KEY, clock, AuditLog(database, key=KEY, clock=clock, writer="north/client"))
