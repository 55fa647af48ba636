"""The commands of the how-to pages run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> str:
    """Every ``sh`` block of a page, as one script."""
    return "\n".join(BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")))


@pytest.fixture
def shell(tmp_path):
    """Run a script as a reader would, with `semfed` on the path, in an empty directory."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    launcher = bin_directory / "semfed"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m semfed_secure.cli "$@"\n')
    launcher.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()

    def run(script: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        return subprocess.run(
            ["sh", "-eu", "-c", script], cwd=work, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_enrolling_members_works_as_written(shell, tmp_path) -> None:
    """Founding, keys, adding and showing; the member stands on the roster."""
    for name in ("root.pass", "st-mary.pass"):
        (tmp_path / "work" / name).write_text("correct horse battery staple")
        (tmp_path / "work" / name).chmod(0o600)
    done = shell(commands("how-to/enrol-members.md"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"st-mary +client +US", done.stdout)


def test_writing_a_policy_works_as_written(shell) -> None:
    """Both documents load without a remark on what binds, the cases pass, and the question is denied as shown."""
    page = "how-to/write-a-policy-for-a-new-domain.md"
    done = shell(commands(page))
    assert done.returncode == 0, done.stderr
    assert "north-mutual-claims: 9 of 9 cases pass" in done.stdout
    assert "no case notices" not in done.stdout
    shown = (ROOT / "docs" / page).read_text(encoding="utf-8").split("```console\n")[2].split("```")[0]
    assert done.stdout.endswith(shown)


def test_loosening_is_refused_as_the_policy_page_shows(shell) -> None:
    """The refusal in step 2 is what the command prints."""
    page = "how-to/write-a-policy-for-a-new-domain.md"
    script = (
        commands(page).split("END\nsemfed policy lint insurer.yaml")[0].replace('max_epsilon: "4"', 'max_epsilon: "40"')
    )
    done = shell(f"{script}END\nsemfed policy lint insurer.yaml")
    shown = (ROOT / "docs" / page).read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    assert (done.returncode, done.stderr) == (2, shown)
