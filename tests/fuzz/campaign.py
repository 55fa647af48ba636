"""Fuzz targets in turn, each in a process of its own, and say what was executed.

::

    python -m tests.fuzz.campaign --seconds 60                      the whole set shares a minute
    python -m tests.fuzz.campaign --each 600 --runs 1000000 cbor    ten minutes or a million executions for one

Exit status 1 if any target found a defect; its input lies in ``.fuzz/crashes``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.fuzz.run import ROOT
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target did: executions, new corpus entries, peak memory, how its process ended, and whether it fell."""

    target: str
    executions: int
    new_inputs: int
    peak_mb: int
    status: int
    defect: bool


def fuzz(name: str, *, seconds: int, runs: int) -> Outcome:
    """One target until its time or its runs are over, or it falls."""
    command = [sys.executable, "-m", "tests.fuzz.run", name, "--seconds", str(seconds), "--runs", str(runs)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    found = {key: int(value) for key, value in _STATISTIC.findall(done.stderr)}
    defect = done.returncode != 0 or "number_of_executed_units" not in found
    if defect:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])  # what the target raised stands in the first
    return Outcome(
        name,
        found.get("number_of_executed_units", 0),
        found.get("new_units_added", 0),
        found.get("peak_rss_mb", 0),
        done.returncode,
        defect,
    )


def main(arguments: Sequence[str]) -> int:
    """Every target that is named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.campaign", description="Fuzz targets in turn.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=[])
    share = parser.add_mutually_exclusive_group()
    share.add_argument("--seconds", type=int, default=60, help="for all targets together")
    share.add_argument("--each", type=int, help="for each target")
    parser.add_argument("--runs", type=int, default=-1, help="end a target after so many executions")
    options = parser.parse_args(arguments)
    names = options.targets or list(TARGETS)
    seconds = options.each or max(1, options.seconds // len(names))
    defects = 0
    for name in names:
        outcome = fuzz(name, seconds=seconds, runs=options.runs)
        defects += outcome.defect
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
    return int(defects > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
