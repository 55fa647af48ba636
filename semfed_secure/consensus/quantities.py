"""Every number of an English text in base units: counts, doses, rates, frequencies, dates, stages.

Texts that state the same quantities in other words have the same tokens. Where one spelling has two readings, the
English one is taken: "1,250" is a thousand and more, "1.250" one and a quarter.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

from semfed_secure.consensus.measures import (
    COUNTS,
    MONEY,
    MONTH,
    MONTHS,
    ORDINALS,
    ROMAN,
    SCALES,
    SPANS,
    TIMES,
    UNITS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _any(names: Iterable[str]) -> str:
    return "(?:" + "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) + ")"


_N = r"\d{1,9}(?:\.\d{1,9})?"
_SPAN, _UNIT = _any(SPANS), _any(UNITS) + r"(?![a-z\d])"
_LY = "hour|dai|night|week|fortnight|month|year|annual"
_DEGREES = re.compile(r"(?:°|\bdegrees?) ?(?=(?:c|f|celsius|fahrenheit)\b)")
_ABBREVIATION = re.compile(r"\b([a-z])\.\s?([a-z])\.(?:\s?([a-z])\.)?")
_SPELLED = re.compile(
    rf"\b(?:{_any(COUNTS)}|a(?= {_any(SCALES)}\b))"
    rf"(?:(?:-| |(?<=hundred) and |(?<=thousand) and ){_any(COUNTS | SCALES)}\b)*(?![a-z])"
)
_COUNTED = re.compile(f"[ -]{_UNIT}")
_ORDINAL = re.compile(rf"(?<!\d)(?<!\d )\b{_any(ORDINALS)}\b")
_DATE = re.compile(rf"\b(?:(?:(?<=[0-9] )(?!may\b)|(?<=[0-9] of )|(?<=[0-9][a-z]{{2}} )){MONTH}|{MONTH}(?=\.? \d))\b")
_DESIGNATED = re.compile(
    r"\b(?:type|stage|grade|class|phase|group|category|factor|level|hepatitis|vitamin|influenza) "
    rf"(?:(?P<roman>{_any(ROMAN)})(?P<part>[a-d])?|(?P<number>\d+)(?P<of>[a-d])|(?P<letter>[a-h]))\b"
)
_TIMES_PER = re.compile(
    rf"\b(?:(?P<word>once|twice|thrice)|(?P<n>{_N}) ?(?:x|times))[ ,]*"
    rf"(?:(?:an?|per|each|every) |/ ?)?(?P<unit>{_SPAN})(?:ly)?\b"
)
_LATIN = re.compile(r"\b(?:bid|bd|tid|tds|qid|qds)\b")
_EVERY = re.compile(
    rf"\b(?:every|each|per|q) ?(?:(?P<low>{_N}) ?(?:-|to|or) ?)?(?P<n>{_N}|other)?[ -]?(?P<unit>{_SPAN})\b"
    rf"|\b(?:(?P<m>{_N})(?:-|(?= hourly) ))?(?P<ly>{_LY})ly\b|\b(?P<annual>annual)\b|\b(?P<two>alternate day)s\b"
)
_NUMBER = re.compile(
    rf"(?:(?P<before>{_any(MONEY)})[ ]?)?(?:(?<![^\W_])(?!x\d)(?P<label>[a-z]{{1,6}})-?(?=\d))?(?P<minus>(?<![\w.)])-)?"
    r"(?:(?:(?P<whole>\d{1,6}) )?(?<![\d/.])(?P<top>\d)/(?P<bottom>[2-9]|10)(?![\d/.])"
    r"|(?P<digits>\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)|[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d{1,30})?"
    r"|\d{1,30}(?:[.,]\d{1,30})?|(?<![\w.])\.\d{1,30}))"
    rf"(?: ?(?P<scale>{_any(SCALES)})\b|(?P<short>k|bn|(?(before)m|(?!)))(?![a-z\d]))?"
    rf"(?:[ -]?(?P<after>{_UNIT}))?(?P<per>(?:(?: ?/ ?| (?:per|an?|each) ){_UNIT})*)"
)
_PER = re.compile(rf"(?:/ ?| (?:per|an?|each) )({_UNIT})")
_RANGE = re.compile(r" ?(?:-|/|to|and|or|over) ?")
_DIGIT = re.compile(r"\d")
_SHORT = {"k": 1_000, "m": 10**6, "bn": 10**9}


def quantities(plain: str) -> tuple[str, ...]:
    """Every quantity as a token, sorted: ``("1/200 g", "every 43200 s")`` for "5 mg twice daily".

    Once a day is how often things are done unless a text says otherwise, so it has no token.

    Args:
        plain: The text in lower case, with plain digits, dashes and spaces.
    """
    text = _ABBREVIATION.sub(lambda match: "".join(filter(None, match.groups())), plain)
    text = _DEGREES.sub("°", text.replace("per cent", "percent"))
    text = re.sub(r"\b(\d+) \(\1\)", r"\1", _SPELLED.sub(_digits, text))
    text = re.sub(r"\b(\d+) and (?:a |one )?half\b", r"\1.5", text)
    text = re.sub(r"\bhalf\b(?: an?\b)?(?![ -]?li[fv]e)", "0.5", text)
    text = _ORDINAL.sub(lambda match: str(ORDINALS[match[0]]), re.sub(r"\b1st\b", "", text))
    if _DIGIT.search(text):
        text = _DATE.sub(lambda match: str(MONTHS[match[0][:3]]), text)
    found: list[str] = []
    for pattern, token in _PHRASES:
        found += [token(match) for match in pattern.finditer(text)]
        text = pattern.sub(" ", text)
    if _DIGIT.search(text):
        found += _numbers(text)
    return tuple(sorted(filter(None, found)))


def _digits(match: re.Match[str]) -> str:
    """The numbers of a run of number words: "two hundred and fifty" is 250, "two or three" never a run."""
    if match[0] == "one" and not _COUNTED.match(match.string, match.end()):
        return "one"
    numbers, total, part, last = [], 0, 0, 100
    for word in re.findall(r"[a-z]+", match[0]):
        if word in SCALES and SCALES[word] == SCALES["hundred"]:
            part, last = max(part, 1) * 100, 100
        elif word in SCALES:
            total, part, last = total + max(part, 1) * SCALES[word], 0, 100
        elif word in COUNTS:
            value = COUNTS[word]
            if last >= 100 or (last >= 20 and 0 < value < 10):
                part += value
            else:
                numbers.append(total + part)
                total, part = 0, value
            last = value or 1
    return " ".join(str(number) for number in [*numbers, total + part])


def _designated(match: re.Match[str]) -> str:
    if match["letter"]:
        return match["letter"]
    return f"{ROMAN[match['roman']] if match['roman'] else int(match['number'])}{match['part'] or match['of'] or ''}"


def _every(times: Fraction | int, span: str) -> str:
    base, factor = SPANS[span]
    every = f"every {factor * times} {base}"
    return "" if every == "every 86400 s" else every


def _times_per(match: re.Match[str]) -> str:
    times = Fraction(match["n"]) if match["n"] else Fraction(TIMES[match["word"]])
    return _every(1 / times, match["unit"]) if times else "every 0"


def _each(match: re.Match[str]) -> str:
    if match["two"]:
        return _every(2, "day")
    span, number = match["unit"] or match["ly"] or match["annual"], match["n"] or match["m"] or "1"
    least = f"{_every(Fraction(match['low']), span)} to " if match["low"] else ""
    return least + _every(Fraction("2" if number == "other" else number), span)


_PHRASES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_DESIGNATED, _designated),
    (_TIMES_PER, _times_per),
    (_LATIN, lambda match: _every(Fraction(1, TIMES[match[0]]), "day")),
    (_EVERY, _each),
)


def _numbers(text: str) -> list[str]:
    matches = [*_NUMBER.finditer(text)]
    units = [_unit(match) for match in matches]
    for place in range(len(matches) - 1):
        # "5-10 mg" and "$5 to 10": a range has one unit, said once.
        if not (units[place] and units[place + 1]) and _RANGE.fullmatch(
            text[matches[place].end() : matches[place + 1].start()]
        ):
            units[place] = units[place + 1] = units[place] or units[place + 1]
    return [token for match, unit in zip(matches, units, strict=True) for token in _tokens(match, unit)]


def _unit(match: re.Match[str]) -> str:
    return MONEY[match["before"]] if match["before"] else match["after"] or ""


def _tokens(match: re.Match[str], unit: str) -> list[str]:
    base, factor = UNITS.get(unit, ("", Fraction(1)))
    tokens = []
    for name in _PER.findall(match["per"]):
        per, size = UNITS[name]
        if name in SPANS:
            tokens.append(_every(1, name))
        else:
            base, factor = f"{base}/{per}", factor / size
    return [*tokens, f"{match['label'] or ''}{_value(match) * factor} {base}".strip()]


def _value(match: re.Match[str]) -> Fraction:
    if match["top"]:
        value = Fraction(int(match["top"]), int(match["bottom"])) + int(match["whole"] or 0)
    else:
        value = Fraction(_decimal(match["digits"]))
    if match["short"]:
        value *= _SHORT[match["short"]]
    return value * SCALES.get(match["scale"] or "", 1) * (-1 if match["minus"] else 1)


def _decimal(digits: str) -> str:
    """With a point: "1,250" is a thousand and more, "0,125" and "2,5" are decimals, "1.250,5" is both."""
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits):
        return digits.replace(",", "")
    return (digits.replace(".", "") if "," in digits else digits).replace(",", ".")
