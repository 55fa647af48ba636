"""Go's own libraries, which know nothing of us, verify our log and refuse what was done to copies of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.audit.corruptions import CORRUPTIONS, corrupted
from tests.audit.large_log import KEY, SIZE, write

PROGRAM = Path(__file__).parent / "go" / "verify.go"
PACKAGES = Path("/usr/share/gocode")
"""Where Debian's golang-golang-x-mod-dev lies."""


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    if shutil.which("go") is None or not (PACKAGES / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go with golang.org/x/mod is not installed: apt install golang-go golang-golang-x-mod-dev")
    place = tmp_path_factory.mktemp("go")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(place), "GOCACHE": str(place / "cache"), "GOPATH": str(PACKAGES),
        "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "0",
    }  # fmt: skip
    subprocess.run(["go", "build", "-o", place / "verify", PROGRAM], env=environment, check=True, cwd=place)
    return place / "verify"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a log of 10,000 entries."""
    return write(tmp_path_factory.mktemp("large") / "export")


def said_by(go: Path, *directories: Path, key: str = KEY.public.encode()) -> tuple[int, list[str]]:
    """Exit status and lines of the Go program; it knows Ed25519 keys alone."""
    done = subprocess.run(
        [go, key.split(",", maxsplit=1)[0], *directories], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout.splitlines()


def test_go_verifies_checkpoint_every_record_and_all_powers_of_two(go: Path, large: Path) -> None:
    """`sumdb/note` opens the checkpoint; `sumdb/tlog` checks 10,000 records, 105 pairs of trees, and proof files."""
    status, lines = said_by(go, large)
    assert (status, lines) == (0, [f"ok export: {SIZE} records, 105 consistency proofs, 11 proof files"])


def test_go_refuses_every_corrupted_copy(go: Path, small: Path, tmp_path: Path) -> None:
    """Each of the ways in which an export can be changed is refused, and the whole one is not."""
    copies = [corrupted(small, name, tmp_path) for name in CORRUPTIONS]
    status, lines = said_by(go, small, *copies)
    assert lines.pop(0).startswith("ok export: 600 records")
    assert (status, len(lines)) == (1, len(CORRUPTIONS))
    assert [line for line in lines if not line.startswith("refused ")] == []


def test_go_refuses_a_changed_proof_file_and_another_key(go: Path, small: Path, tmp_path: Path) -> None:
    """A proof file for another number, and a log that another key signed."""
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    proof = copy / "0.tlog-proof"
    proof.write_text(proof.read_text().replace("index 0", "index 1"))
    status, lines = said_by(go, copy)
    assert (status, lines[0].split(":", 2)[1].strip()) == (1, "0.tlog-proof")
    other = type(KEY).generate(KEY.name).public.encode()
    assert said_by(go, small, key=other)[0] == 1
