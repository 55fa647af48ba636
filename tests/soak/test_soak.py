"""The short form of the soak: a few kills of each sort, and mutants that prove that the soak can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def soak(directory: Path, *words: str) -> Any:
    """The answer of a part of the soak, in a process that has no threads to fork."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.soak.part", str(directory), *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_processes_killed_at_random_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """A server and three sites over HTTP: every bundle counted once, every budget spent once, all logs verify."""
    result = soak(tmp_path, "random", "6", "3")
    assert result["server"] + result["site"] == 6
    assert result["rounds"] >= 1


def test_eight_processes_racing_for_the_last_of_a_budget_never_exceed_it(tmp_path: Path) -> None:
    """What is granted fits, what is refused would not have, and each has its entry; the long form races 1000 times."""
    result = soak(tmp_path, "races", "3", "1")
    assert (result["races"], result["racers"], result["asked"]) == (3, 8, 24)
    assert 0 < result["granted"] < 24


def test_eight_processes_racing_on_postgresql_never_exceed_it_either(tmp_path: Path, postgresql_cluster: str) -> None:
    """The same races in a database whose writers queue by a lock of its own."""
    result = soak(tmp_path, "races", "3", "1", postgresql_cluster)
    assert (result["races"], result["racers"], result["asked"]) == (3, 8, 24)
    assert 0 < result["granted"] < 24


def test_processes_of_a_ledger_killed_at_random_lose_and_double_nothing(tmp_path: Path) -> None:
    """Three processes do the same acts, one after the other dies: every act is charged once."""
    assert soak(tmp_path, "ledger", "6", "1") == {"killed": 6, "acts": 40}


@pytest.mark.parametrize("boundary", ["privacy.ledger.reserve", "client.release.finish"])
def test_a_release_of_ballots_survives_a_kill_at_its_own_boundaries(tmp_path: Path, boundary: str) -> None:
    """Charged before its noise is drawn: one charge, one release and the same bytes, whatever was drawn in vain."""
    assert soak(tmp_path, "named", "ballots", boundary) == {boundary: 2}


@pytest.mark.parametrize(
    "boundary",
    [
        "server.transitions.unseal",
        "client.commitments.see_commitments",
        "server.intake.record",
        "client.release.finish",
    ],
)
def test_a_round_of_texts_survives_a_kill_at_its_own_boundaries(tmp_path: Path, boundary: str) -> None:
    """Between committing and opening, before and after the commit: the round ends as if nothing had been."""
    assert soak(tmp_path, "named", "text", boundary) == {boundary: 2}


@pytest.mark.parametrize("boundary", ["privacy.ledger.reserve", "server.intake.record", "server.transitions.form"])
def test_a_lost_commit_is_seen(tmp_path: Path, boundary: str) -> None:
    """One commit is rolled back while its writer goes on: the round cannot end as if nothing had been."""
    assert soak(tmp_path, "dropped", "votes", boundary) is True


def test_a_round_without_a_mutant_shows_nothing(tmp_path: Path) -> None:
    """The watch over syncs and commits has nothing to say about the product as it is."""
    assert soak(tmp_path, "synced", "none") is False


@pytest.mark.parametrize(
    "mutant",
    [
        "files are not synced",
        "directories are not synced",
        "adapters are not synced",
        "names of adapters are not synced",
        "SQLite does not wait for the disk",
    ],
)
def test_a_lost_sync_is_seen(tmp_path: Path, mutant: str) -> None:
    """A file, a directory, an adapter or a commit that nobody asked the disk for."""
    assert soak(tmp_path, "synced", mutant) is True
