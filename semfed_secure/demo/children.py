"""The processes of the demo's federation: started, watched, and always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from semfed_secure.errors import ConfigurationError

Item = TypeVar("Item")
Result = TypeVar("Result")

GRACE_SECONDS = 15.0
"""A server drains and a client ends its step within seconds; who does not is killed."""
TAIL_BYTES = 4096


@dataclass(slots=True)
class Child:
    """One process and the file that holds everything it printed."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self.process.poll()

    def last_line(self) -> str:
        """The last line that it printed."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@dataclass(slots=True)
class Children:
    """All processes of one run; leaving the context ends every one of them, however the run ended.

    Each runs with one thread for its arithmetic and with the model hub off, so that a machine with two cores
    carries a whole federation and nothing is fetched while it runs.
    """

    logs: Path
    environment: dict[str, str] = field(default_factory=dict)
    members: dict[str, Child] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Make the directory of the logs."""
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process."""
        self.stop(*self.members)

    def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start ``python ARGUMENTS`` under ``name``."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            # The arguments are ours: module names, and paths inside the run's own directory.
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-u", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment,
            )
        self.members[name] = Child(name, process, log)
        return self.members[name]

    def require_running(self, *names: str) -> None:
        """Raise if one of ``names`` has ended, with the last thing it said."""
        for name in names:
            child = self.members[name]
            if not child.running:
                raise ConfigurationError(
                    "SF107", f"`{name}` ended with status {child.status}: {child.last_line()}", log=str(child.log)
                )

    def stop(self, *names: str) -> None:
        """Ask these processes to end, and kill who does not within `GRACE_SECONDS`."""
        wanted = [self.members[name] for name in names]
        for child in wanted:
            if child.running:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in wanted:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results in the order of ``items``; as many at a time as the machine has cores. The first error is raised.

    For commands that touch different directories: each is a process of its own, so threads may wait for them.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def run_command(arguments: Sequence[str], *, environment: dict[str, str]) -> str:
    """Run one ``semfed`` command to its end and return what it printed.

    Raises:
        ConfigurationError: SF107 if it fails, with its last line.
    """
    done = subprocess.run(  # noqa: S603 - as above
        [sys.executable, "-m", "semfed_secure.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ConfigurationError("SF107", f"`semfed {' '.join(arguments[:2])}` failed: {last}", status=done.returncode)
    return done.stdout
