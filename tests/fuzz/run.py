"""Fuzz one target under atheris, or replay inputs without it.

::

    python -m tests.fuzz.run TARGET --seconds 60          new inputs go to .fuzz/corpus, defects to .fuzz/crashes
    python -m tests.fuzz.run TARGET --replay FILE…        what each input leads to; a defect is raised

What may not happen: an exception outside the coded tree, five seconds for one input, a gigabyte of memory.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".fuzz"
SECONDS_PER_INPUT, MEGABYTES = 5, 2_048
SECONDS_TO_START = 120
"""Importing under instruments, and the last input, on a machine that has other work."""
INSTRUMENTED = ["semfed_secure", "tomllib"]
STEPS_ONLY = {"forged_contribution": ["semfed_secure.server", "semfed_secure.detect"]}
"""Where to look at less: what reads the bytes has targets of its own, and each instrument costs executions."""

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.fuzz.target import Target


def main(arguments: Sequence[str]) -> int:
    """One target, as the arguments say; fuzzing ends the process itself."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz one target, or replay inputs.")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="end after so many executions")
    parser.add_argument("--replay", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.replay:
        from tests.fuzz.targets import TARGETS

        for path in options.replay:
            sys.stdout.write(f"{path}: {TARGETS[options.target].attempt(path.read_bytes()) or 'accepted'}\n")
        return 0
    _fuzz(options.target, options.seconds, options.runs)
    return 0


def _fuzz(name: str, seconds: int, runs: int) -> None:
    import atheris

    # libFuzzer watches the target, not what changes its inputs: whatever stands still must say where.
    faulthandler.dump_traceback_later(seconds + SECONDS_TO_START, exit=True)
    # Whoever ends takes its handlers away first; libFuzzer's alarm would then kill it, and nobody would see why.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    with atheris.instrument_imports(include=STEPS_ONLY.get(name, INSTRUMENTED), enable_loader_override=False):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    work, seeds, crashes = WORK / "corpus" / name, WORK / "seeds" / name, WORK / "crashes"
    for folder in (work, seeds, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.corpus()):
        (seeds / f"{number:04d}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-runs={runs}",
        f"-max_len={target.longest}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={crashes}/{name}-",
        *([f"-dict={_dictionary(target)}"] if target.words else []),
        "-print_final_stats=1",
        "-reload=0",
        "-len_control=0",
        "-verbosity=0" if os.environ.get("SEMFED_FUZZ_QUIET") else "-verbosity=1",
    ]
    mutator = {"custom_mutator": _mutator(target)} if target.tree else {}
    atheris.Setup(["fuzz", *options, str(work), str(seeds)], target.attempt_only, **mutator)
    atheris.Fuzz()


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    import atheris

    from tests.fuzz.mutate import mutate_tree

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        changed = mutate_tree(data, seed) if seed % 2 else None
        return changed if changed is not None and len(changed) <= max_size else bytes(atheris.Mutate(data, max_size))

    return mutate


def _dictionary(target: Target) -> Path:
    path = WORK / f"{target.name}.dict"
    words = ("".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "surrogatepass")) for word in target.words)
    path.write_text("".join(f'"{word}"\n' for word in words), encoding="utf-8")
    return path


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
