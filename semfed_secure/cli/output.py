"""How every command prints: text for people, or one JSON document.

Text that comes from another machine goes through `printable`, so that no peer can move the reader's cursor or
forge a line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def emit(document: Mapping[str, object], *, as_json: bool, text: str | Callable[[], str]) -> None:
    """Print ``document`` as one JSON line if ``as_json``, else ``text``.

    Exactly one document goes to stdout, so that ``semfed … --json`` can be piped.

    Args:
        document: JSON-ready; decimals, dates and paths are written as strings.
        as_json: What the command's `JsonOption` said.
        text: The same for a person, or a function that builds it only when it is wanted.
    """
    if as_json:
        sys.stdout.write(json.dumps(document, default=str, ensure_ascii=False) + "\n")
    else:
        body = text if isinstance(text, str) else text()
        sys.stdout.write(body if body.endswith("\n") else body + "\n")
    sys.stdout.flush()


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """``rows`` under ``headers`` as aligned columns; numbers to the right.

    Plain text that a screen reader, a log file and ``grep`` all read; every cell is made `printable`.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    numeric = [bool(rows) and all(isinstance(row[index], int | float) for row in rows) for index in range(len(headers))]

    def line(values: Sequence[str]) -> str:
        aligned = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, cells)])


def printable(value: object) -> str:
    """``value`` as one line without control characters; they are shown as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(value))


def note(text: str) -> None:
    """Say ``text`` on stderr, where it never mixes with a JSON document."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
