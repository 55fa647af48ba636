"""How much of admission the kept forgeries reach: ``python -m tests.fuzz.measure`` (needs the extra ``fuzz``).

Lines of the functions that decide steps 8 to 15, by `coverage`, while the kept inputs of ``forged_contribution`` are
replayed.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import coverage

from semfed_secure.server import admission
from tests.fuzz.targets import TARGETS

STEPS_8_TO_15 = ("accept", "admit", "_meets", "_decode", "_check_shape", "_check_content", "_refuse")
LEAST = 0.95


def reached() -> tuple[set[int], set[int]]:
    """Lines of the bodies of those functions that were executed, and all of them."""
    path = str(admission.__file__)
    measured = coverage.Coverage(data_file=None, include=[path])
    measured.start()
    for data in TARGETS["forged_contribution"].corpus():
        TARGETS["forged_contribution"].attempt(data)
    measured.stop()
    _, statements, _, missing, _ = measured.analysis2(path)
    bodies = {
        line
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name in STEPS_8_TO_15
        for part in node.body
        for line in range(part.lineno, (part.end_lineno or part.lineno) + 1)
    }
    wanted = set(statements) & bodies
    return wanted - set(missing), wanted


def main() -> int:
    """Say how much, and fail below the bar."""
    lines, wanted = reached()
    sys.stdout.write(f"steps 8 to 15: {len(lines)} of {len(wanted)} lines, missing {sorted(wanted - lines)}\n")
    return int(len(lines) < LEAST * len(wanted))


if __name__ == "__main__":
    sys.exit(main())
