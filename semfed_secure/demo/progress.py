"""What the demo says while it works: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from semfed_secure.columns import printable

LONGEST_LINE = 110


class Progress(Protocol):
    """Is told what happens; shows it its own way."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""
        ...

    def say(self, text: str) -> None:
        """A step of the whole run."""
        ...

    def lines(self, current: Mapping[str, str]) -> None:
        """The last line of every process."""
        ...


class PlainProgress:
    """One line a step, with the seconds since the start; a process's line only when it changed."""

    def __init__(self) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Nothing to set up."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take down."""

    def say(self, text: str) -> None:
        """Print the step."""
        sys.stdout.write(f"{time.monotonic() - self._start:6.0f} s  {printable(text)}\n")
        sys.stdout.flush()

    def lines(self, current: Mapping[str, str]) -> None:
        """Print every line that changed since the last call."""
        for name, line in current.items():
            if line and self._shown.get(name) != line:
                self._shown[name] = line
                self.say(f"{name}: {line[:LONGEST_LINE]}")


class LiveProgress:
    """A table that is redrawn in place: steps scroll above it."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``."""
        self._start = time.monotonic()
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Print the step above the table."""
        self._console.print(Text(f"{time.monotonic() - self._start:6.0f} s  {printable(text)}"))

    def lines(self, current: Mapping[str, str]) -> None:
        """Redraw the table."""
        table = Table("process", "now", box=None, pad_edge=False)
        for name, line in current.items():
            table.add_row(Text(name), Text(printable(line)[:LONGEST_LINE]))
        self._live.update(table)


class SilentProgress(PlainProgress):
    """Says nothing: standard output belongs to one JSON document."""

    def say(self, text: str) -> None:
        """Keep it to itself."""


def progress_for(console: Console) -> Progress:
    """Live on a terminal, plain lines otherwise."""
    return LiveProgress(console) if console.is_terminal else PlainProgress()
