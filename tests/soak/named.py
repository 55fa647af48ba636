"""Kill a process at every named durable boundary, go on in a new one, and look whether anything shows."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from tests.soak import rounds
from tests.soak.boundaries import Death, Recorder, install
from tests.soak.durable import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = ("votes", "text", rounds.BALLOTS)
SITE = ("bay",)
OURS = ("testing.", "tests")
"""Writers that are no product: they open the databases of the tests."""


def in_a_child(act: Callable[[], object]) -> int:
    """The exit status of a process that does ``act``; the negative number of the signal that killed it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        except BaseException:  # noqa: BLE001 - the parent is told by the status
            if os.environ.get("SEMFED_SOAK_VERBOSE"):
                traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def boundaries_of(directory: Path, kind: str) -> list[str]:
    """Every boundary and client step of one round of ``kind``, in the order of their first crossing."""
    path = directory / f"{kind}.boundaries"

    def record() -> None:
        recorder = Recorder(path)
        install(recorder)
        rounds.run_alone(directory, f"{kind}-recorded", on_step=recorder.step)

    if in_a_child(record):
        raise AssertionError(f"an undisturbed round of {kind} does not end")
    return [name for name in path.read_text().splitlines() if not name.startswith(OURS)]


def kill_at_each(directory: Path, kind: str, boundaries: list[str]) -> dict[str, int]:
    """A new process is killed at each side of each boundary in turn, and the next goes on: how often each was hit.

    A process that does not come by a boundary any more ends its round, and the next one begins another.
    """
    hits = dict.fromkeys(boundaries, 0)
    names = [f"{kind}-1"]
    for boundary, side in [(boundary, side) for boundary in boundaries for side in ("before", "after")]:
        for _ in range(2):
            status = in_a_child(lambda boundary=boundary, side=side: _die(directory, names[-1], boundary, side))
            if status == -signal.SIGKILL:
                hits[boundary] += 1
                break
            if status:
                raise AssertionError(f"{names[-1]} cannot go on after a kill before {boundary}")
            names.append(f"{kind}-{len(names) + 1}")
    if in_a_child(lambda: rounds.run_alone(directory, names[-1])):
        raise AssertionError(f"{names[-1]} cannot be finished")
    found = rounds.faults(directory, names, SITE)
    if found:
        raise AssertionError("; ".join(found))
    return hits


def _die(directory: Path, name: str, boundary: str, side: str) -> None:
    death = Death(boundary, side)
    install(death)
    rounds.run_alone(directory, name, on_step=death.step)


def sees_what_is_not_durable(
    directory: Path, name: str, mutate: Callable[[], Any] | None = None, *, drop: str | None = None
) -> bool:
    """Whether a round in which every commit, rename and sync is watched complains.

    ``mutate`` removes a sync first; the first commit at the boundary ``drop`` is lost.
    """

    def watched() -> None:
        if mutate is not None:
            mutate()
        watch = Watch(drop)
        install(watch)
        rounds.run_alone(directory, name, on_step=watch.step)
        watch.finish()

    def check() -> None:
        rounds.run_alone(directory, name)  # whoever finds the round unfinished goes on
        found = rounds.faults(directory, [name], SITE)
        if found:
            raise AssertionError("; ".join(found))

    return bool(in_a_child(watched)) or bool(in_a_child(check))
