"""Text for terminals and logs: aligned columns, one line per row, no control characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    """``value`` as one line without control characters; they are shown as escapes.

    Text that comes from another machine goes through here, so that no peer can move the reader's cursor or forge a
    line.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(value))
