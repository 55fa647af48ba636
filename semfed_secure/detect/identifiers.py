"""The detector of the base package: patterns, check digits and labels.

It knows no names of people and no places without a form; what it finds is likely an identifier, what it does not find
may still be one. Differential privacy is the guarantee, this is a seat belt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from semfed_secure.detect.findings import Finding
from semfed_secure.detect.normalise import normalise
from semfed_secure.detect.patterns import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.detect.normalise import Normalised
    from semfed_secure.detect.patterns import Row

DETECTOR = "identifiers"
"""What policies call this detector."""

_GAP = re.compile("[ -]")
_SHORTEST_GROUPED = 13
"""Characters of the shortest card number; no IBAN is shorter."""


def scan(text: str) -> tuple[Finding, ...]:
    """Find personal and financial identifiers in ``text``.

    Spans do not overlap, are ordered by place, and lie inside ``text``; no finding holds any of it. Time is linear in
    the length of the text, whatever it holds.
    """
    folded = normalise(text)
    kept: list[Finding] = []
    taken = bytearray(len(folded.text))
    for kind, start, end in _candidates(folded):
        if not any(taken[start:end]):
            taken[start:end] = b"\x01" * (end - start)
            first, last = folded.span(start, end)
            kept.append(Finding(kind, first, last, DETECTOR))
    return tuple(sorted(kept, key=lambda finding: finding.start))


def _candidates(folded: Normalised) -> Iterator[tuple[str, int, int]]:
    present = set(folded.text)
    for row in ROWS:
        if row.needs and row.needs.isdisjoint(present):
            continue
        place = 0
        while match := row.pattern.search(folded.text, place):
            start, value = match.start("v"), match["v"]
            end = next((end for end in _ends(row, value) if row.check is None or row.check(value[:end])), None)
            if end is not None:
                yield row.kind.value, start, start + end
            place = _next_place(row, match, end)


def _ends(row: Row, value: str) -> Iterator[int]:
    """Where the identifier may end: at the end of the match, or, written in groups, after any earlier group too."""
    yield len(value)
    if row.grouped:
        yield from (gap.start() for gap in reversed(list(_GAP.finditer(value, _SHORTEST_GROUPED))))


def _next_place(row: Row, match: re.Match[str], end: int | None) -> int:
    """Where to look on: behind what was found, or at the next group of what was not."""
    if not row.grouped:
        return match.end()
    gap = _GAP.search(match["v"])
    step = end if end is not None else gap.end() if gap else len(match["v"])
    return match.start("v") + step
