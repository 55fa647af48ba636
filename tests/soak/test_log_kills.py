"""The short form of the kills of the audit log; `make soak` runs hundreds on each kind of database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import postgresql_binaries
from tests.soak.log import points

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_writers_lose_no_acknowledged_entry_and_leave_no_gap(database: str) -> None:
    """At each point of an append, at random under load, in a crashed server; and two mutants are seen."""
    if database == "postgresql":
        pytest.importorskip("psycopg", reason="the extra semfed-secure[postgres] is not installed")
        if postgresql_binaries() is None:
            pytest.skip("PostgreSQL is not installed under /usr/lib/postgresql")
    command = [sys.executable, "-m", "tests.soak.log_run", "--repeats", "1", "--kills", "6", "--crashes", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [*command, "--database", database],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    parts = {line["part"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert parts["points"]["hits"] == dict.fromkeys(points(database), 1)
    assert parts["random"]["killed"] == 6
    assert parts["random"]["entries"] >= parts["random"]["acknowledged"] > 0
    assert set(parts["mutants"]) == {"part", "database", "a lost commit", "a commit that does not wait"}
