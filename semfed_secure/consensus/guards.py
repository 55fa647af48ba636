"""What embeddings cannot see: numbers, doses, units and negation.

A sentence and its negation, or 5 mg and 50 mg, lie as near each other as two paraphrases. Two texts may
stand in one group only if their signatures are equal. Word lists are English; polarity that hides in
other words ("benign", "malignant") is not seen, which is why decision-type prompts should be ``votes``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

_NEGATIONS = frozenset(
    {
        "no",
        "not",
        "non",
        "none",
        "never",
        "neither",
        "nor",
        "nothing",
        "cannot",
        "without",
        "lack",
        "lacks",
        "lacking",
        "absent",
        "absence",
        "deny",
        "denies",
        "denied",
        "negative",
        "unlikely",
        "excluded",
        "contraindicated",
    }
)
# "one" is not among them: it is more often a pronoun than a count.
_NUMBER_WORDS = {
    "zero": "0",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
}
_UNITS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("kg", "kilogram", "kilograms"), ("g", "1000")),
    **dict.fromkeys(("g", "gram", "grams"), ("g", "1")),
    **dict.fromkeys(("mg", "milligram", "milligrams"), ("g", "0.001")),
    **dict.fromkeys(("mcg", "ug", "μg", "microgram", "micrograms"), ("g", "0.000001")),
    **dict.fromkeys(("l", "liter", "liters", "litre", "litres"), ("l", "1")),
    **dict.fromkeys(("dl", "deciliter", "decilitre"), ("l", "0.1")),
    **dict.fromkeys(("ml", "milliliter", "milliliters", "millilitre", "millilitres", "cc"), ("l", "0.001")),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), ("m", "1")),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), ("m", "0.01")),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), ("m", "0.001")),
    **dict.fromkeys(("min", "minute", "minutes"), ("s", "60")),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), ("s", "3600")),
    **dict.fromkeys(("day", "days"), ("s", "86400")),
    **dict.fromkeys(("week", "weeks"), ("s", "604800")),
    **dict.fromkeys(("month", "months"), ("month", "1")),
    **dict.fromkeys(("year", "years"), ("month", "12")),
    **dict.fromkeys(("%", "percent"), ("%", "1")),
    **dict.fromkeys(("$", "usd", "dollar", "dollars"), ("usd", "1")),
    **dict.fromkeys(("€", "eur", "euro", "euros"), ("eur", "1")),
    **dict.fromkeys(("iu", "unit", "units"), ("unit", "1")),
    **dict.fromkeys(("mmhg",), ("mmhg", "1")),
}
_NUMBER = re.compile(
    r"(?P<before>[$€])?\s?(?P<minus>(?<![\w.])-)?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s?(?P<after>%|[a-zμ]+)?"
)
_WORD = re.compile(r"[a-z]+(?:'t)?")


@dataclass(frozen=True, slots=True)
class Guard:
    """What two texts must share besides their direction.

    Attributes:
        negated: Whether a word of negation occurs.
        quantities: Every number in base units, sorted: ``("0.005 g",)`` for both "5 mg" and "0.005 g".
    """

    negated: bool
    quantities: tuple[str, ...]


def guard(text: str) -> Guard:
    """The signature of one text.

    Equal texts have equal signatures; texts that differ in a number, a unit's size or the presence of a
    negation have different ones.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("\u2212", "-")
    words = _WORD.findall(plain)
    negated = any(word in _NEGATIONS or word.endswith("n't") for word in words)
    spelled = " ".join(_NUMBER_WORDS.get(word, word) for word in plain.split())
    return Guard(negated, tuple(sorted(_quantity(match) for match in _NUMBER.finditer(spelled))))


def _quantity(match: re.Match[str]) -> str:
    number = Decimal(match["digits"].replace(",", "")) * (-1 if match["minus"] else 1)
    base, factor = _UNITS.get(match["before"] or match["after"] or "", ("", "1"))
    return f"{(number * Decimal(factor)).normalize():f} {base}".strip()
