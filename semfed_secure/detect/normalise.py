"""The text as a reader sees it: compatibility forms folded, invisible characters gone, dashes and spaces made plain."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Normalised:
    """Folded text, and for each of its characters the place in the original it came from."""

    text: str
    places: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original behind ``text[start:end]``."""
        return self.places[start], self.places[end - 1] + 1


def normalise(text: str) -> Normalised:
    """Fold what would hide an identifier from a pattern.

    A full-width, circled or otherwise styled digit becomes a digit, a digit of another script its value; zero-width,
    soft-hyphen and direction characters vanish; every dash becomes ``-`` and every blank but a line's end a space.
    """
    if text.isascii():
        return Normalised(text, tuple(range(len(text))))
    folded: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        for part in char if char.isascii() else unicodedata.normalize("NFKC", char):
            plain = part if part.isascii() else _fold(part)
            folded.append(plain)
            places.extend([place] * len(plain))
    return Normalised("".join(folded), tuple(places))


def _fold(char: str) -> str:
    category = unicodedata.category(char)
    if category in {"Cf", "Mn"}:
        return ""
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category == "Pd" or char == "\N{MINUS SIGN}":
        return "-"
    return " " if category == "Zs" else char
