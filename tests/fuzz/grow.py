"""Keep the few small inputs of a fuzzing run that reach what seeds do not: ``python -m tests.fuzz.grow [TARGET …]``.

An input is kept for a step of the product's code, one line after another, that no smaller kept input makes. What was
kept before is judged again, so the corpus shrinks as well as it grows.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

from tests.fuzz.run import ROOT, WORK
from tests.fuzz.target import CORPUS, Target
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LARGEST_PER_TARGET = 9_000
_PRODUCT = str(ROOT / "semfed_secure")


def steps_of(target: Target, data: bytes) -> set[tuple[str, int, int]]:
    """The pairs of lines of the product that are executed one after the other."""
    found: set[tuple[str, int, int]] = set()

    def trace(frame: Any, event: str, _argument: object) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_PRODUCT):
            return None
        last = frame.f_lineno

        def lines(inner: Any, event: str, _argument: object) -> Any:
            nonlocal last
            if event == "line":
                found.add((name, last, inner.f_lineno))
                last = inner.f_lineno
            return lines

        return lines

    sys.settrace(trace)
    try:
        target.attempt(data)
    finally:
        sys.settrace(None)
    return found


def chosen(target: Target, inputs: Sequence[bytes]) -> list[bytes]:
    """The smallest inputs first, each for something new, up to a size."""
    reached = set().union(*(steps_of(target, seed) for seed in target.seeds()))
    kept: list[bytes] = []
    for data in sorted(set(inputs), key=lambda each: (len(each), each)):
        if sum(map(len, kept)) + len(data) > LARGEST_PER_TARGET:
            break
        new = steps_of(target, data) - reached
        if new:
            reached |= new
            kept.append(data)
    return kept


def _contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def main(names: Sequence[str]) -> int:
    """Write the corpus of each target anew."""
    for name in names or TARGETS:
        folder = CORPUS / name
        kept = chosen(TARGETS[name], [*_contents(folder), *_contents(WORK / "corpus" / name)])
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for data in kept:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        sys.stdout.write(f"{name}: {len(kept)} inputs, {sum(map(len, kept))} bytes\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
