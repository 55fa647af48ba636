"""A private training that is killed and resumed in new processes costs what it costs one that was never disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure import cli
from semfed_secure.audit.verify import verify_log
from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.errors import ExitCode
from tests.client.resume_driver import KILLED, KILLED_AT, MEMBERS, MUTANTS, STEPS, UNTOUCHED

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
Results = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Where the sites lie, and what was left at each after its last process."""
    directory = tmp_path_factory.mktemp("resumed")
    command = [sys.executable, "-m", "tests.client.resume_driver", str(directory)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return directory / "federation" / "sites", json.loads(done.stdout)


def check(killed: Mapping[str, Any], untouched: Mapping[str, Any]) -> None:
    """Fail unless the killed run paid once, before its first step, what the other paid, and drew its noise anew."""
    (charge,) = untouched["charges"]
    assert charge[0] == "committed"
    for moment in killed["after_kills"]:
        assert moment["charges"] == [["reserved", *charge[1:]]]
    assert killed["charges"] == untouched["charges"]
    assert killed["last"] == untouched["last"] == {"steps": STEPS, "reserved": 1, "finished": 1}
    # The last kill came after the adapter was written: that one was never active, and is not written a second time.
    adapters = [killed["after_kills"][-1]["adapter"], killed["adapter"], untouched["adapter"]]
    assert None not in adapters
    assert len(set(adapters)) == len(adapters)


def test_a_resumed_training_costs_what_an_undisturbed_one_costs(results: Results) -> None:
    """Killed before, between and after its steps: one charge, the same epsilon, all steps anew, noise of its own."""
    _, found = results
    assert len(found[KILLED]["after_kills"]) == len(KILLED_AT)
    check(found[KILLED], found[UNTOUCHED])


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_training_that_resumes_wrongly_is_noticed(results: Results, mutant: str) -> None:
    """One that pays at each attempt, one that pays only at the end, one that draws the same noise again."""
    _, found = results
    with pytest.raises(AssertionError):
        check(found[mutant], found[UNTOUCHED])


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_same_epsilon_is_printed_of_both(
    results: Results, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    """`semfed budget show` prints the same of both sites, and both logs verify."""
    sites, _ = results
    printed = {}
    for member in (KILLED, UNTOUCHED):
        state = sites / member / "state"
        assert cli.main(["budget", "show", "--state", str(state), *form]) == ExitCode.OK
        printed[member] = capsys.readouterr().out.replace(member, "site")
        assert verify_log(state / DATABASE_FILE, key=None).size >= 10
    assert printed[KILLED] == printed[UNTOUCHED]
    assert "lifetime" in printed[KILLED]
    assert set(MEMBERS) == {path.name for path in sites.iterdir()}
