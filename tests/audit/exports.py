"""Exports of a log, and what verifies them that shares no code with us."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from semfed_secure.audit.tiles import export_tiles

if TYPE_CHECKING:
    from tests.audit.samples import Site

SCRIPT = Path(__file__).parents[2] / "compliance" / "verify_log.py"


def export(site: Site, directory: Path) -> Path:
    """Write the log as it stands now as static files."""
    checkpoint = site.log.checkpoint()
    with site.database.snapshot() as tx:
        export_tiles(tx, checkpoint=checkpoint, verification_key=site.vkey, directory=directory)
    return directory


def independently(*arguments: object) -> tuple[int, str]:
    """Exit status and words of `compliance/verify_log.py`, alone in a directory of its own, without our package."""
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr
