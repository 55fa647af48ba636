"""A log to test on: fixed keys, a fixed clock, a state directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.storage import Database
from tests.audit.samples import START, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def key() -> LogSigningKey:
    """The site's log key, the same in every run."""
    return LogSigningKey("hospitals.example/north", b"\x01" * 32, b"\x02" * 32)


@pytest.fixture
def site(tmp_path: Path, key: LogSigningKey) -> Iterator[Site]:
    """An empty log in a state directory."""
    clock = FixedClock(START)
    path = tmp_path / "state" / "semfed.db"
    path.parent.mkdir()
    with Database.open(path, kind="client") as database:
        yield Site(path, database, key, clock, AuditLog(database, key=key, clock=clock, writer="north/client"))
