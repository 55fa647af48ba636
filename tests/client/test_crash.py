"""kill -9 between any two steps: nothing is spent twice, no second bundle exists, the log verifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STEPS = {
    ("votes", "dp_sgd"): [
        f"{act}-{n}" for act, last in (("train", 6), ("release", 12), ("learn", 6)) for n in range(1, last + 1)
    ],
    ("votes", "record_histogram"): [f"release-{n}" for n in range(4, 13)],
    ("text", "unsafe_no_noise"): [f"release-{n}" for n in range(4, 16)],
}


def crashed_through(directory: Path, case: tuple[str, str]) -> dict[str, Any]:
    """What is left of a round whose site was killed at every step, one after the other."""
    command = [sys.executable, "-m", "tests.client.crash_driver", str(directory), *case, *STEPS[case]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("case", sorted(STEPS), ids="-".join)
def test_a_site_that_dies_at_every_step_still_finishes_its_round_once(tmp_path: Path, case: tuple[str, str]) -> None:
    """Killed at a step, the next process goes on: one charge, one bundle, one fate, a log that verifies.

    Of texts there are two messages, the commitment and what it commits to, and each is one.
    """
    result = crashed_through(tmp_path, case)
    messages = 2 if case[0] == "text" else 1
    assert result.pop("survived") == []
    assert result.pop("log_entries") > 10
    assert result == {
        "receipt": "admitted",
        "kept": True,
        "charges": ["committed"],
        "bundles": messages,
        "different_posts": messages,
        "released": 1,
        "receipts": messages,
        "trained": int(case[1] == "dp_sgd"),
        "fates": 1,
    }
