"""What embeddings cannot see: numbers, doses, units, negation and opposite words.

A sentence and its negation, or 5 mg and 50 mg, lie as near each other as two paraphrases. Two texts may stand in one
group only if their guards agree. Word lists are English. No guard sees who does what to whom, or one drug's name in
another's place, which is why decision-type prompts should be ``votes``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from semfed_secure.consensus.quantities import quantities
from semfed_secure.detect.normalise import normalise

# Letters of other alphabets that a reader takes for Latin ones.
_LOOK_ALIKE = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0455\u0458\u0501\u04bb\u051b\u051d"
    "\u03b1\u03bf\u03bd\u03c1\u03c4\u03b9\u03ba\u03c5\u03c7\u0131",
    "abekmhopctyxisjdhqwaovptikuxi",
)
_SIGNS = str.maketrans(
    {"\u2019": "'", "\u02bc": "'", "\u2044": "/", ">": " more ", "\u2265": " more ", "<": " less ", "\u2264": " less "}
)
_JARGON = re.compile(r"\bnot (?:elsewhere classified|otherwise specified)\b")
_NEGATION = re.compile(
    r"(?P<not>\b(?:no|not|never|neither|nor|none|nothing|nobody|cannot|without|w/o)\b"
    r"|\b(?:do|does|did|is|are|was|were|has|have|had|ca|wo|could|should|would|must|need|ai) ?n[ ']?t\b)"
    r"|\b(?:lack|lacks|lacked|lacking|absent|absence|den(?:y|ies|ied|ying)|negative|unlikely|exclud(?:e|es|ed|ing)"
    r"|rul(?:e|es|ed|ing) out|free (?:of|from)|contraindicated|unable|fail(?:s|ed|ing)? to|asymptomatic|afebrile"
    r")\b|(?<=\w)-free\b"
)
_NON = re.compile(r"\bnon[- ]?(?!etheless|sense)([a-z]{4,})\b")
_CLAUSE_END = re.compile(r"[.,;:!?()\n]|\b(?:and|or|but)\b")
_NEAR = 12
"""Characters between a word of negation and one that it turns round: "not ruled out", "cannot be excluded"."""

# A text that only ever says the first never agrees with one that only ever says the second.
_OPPOSITES = tuple(
    (re.compile(first), re.compile(second))
    for first, second in (
        ("left", "right"),
        (
            r"increas\w*|rais(?:e|es|ed|ing)|elevat\w*|high|higher|rises?|rising|hyper\w{3,}",
            r"decreas\w*|reduc\w*|diminish\w*|low|lower(?:s|ed|ing)?|falls?|falling|drops?|hypo(?!thes)\w{3,}",
        ),
        ("upper", "lower"),
        ("gain(?:s|ed)?", "loss|loses|lost"),
        ("more|greater|above|over|exceed(?:s|ing)?|minimum", "less|fewer|below|under|maximum"),
        ("acute", "chronic"),
        ("benign", "malignant|malignancy|cancerous"),
        ("open", "closed?"),
        ("before|prior", "after|following"),
        (
            r"start(?:s|ed|ing)?|begin\w*|initiat\w*|continu\w*|resum\w*",
            r"stop(?:s|ped|ping)?|discontinu\w*|ceas\w*|withh\w*",
        ),
        ("positive", "negative"),
        ("males?|man|men|boys?", "females?|woman|women|girls?"),
        ("internal", "external"),
        (r"credit(?:s|ed)?|deposit\w*", r"debit(?:s|ed)?|withdr\w*"),
        (r"accept\w*|approv\w*", r"reject\w*|declin\w*|refus\w*"),
        (r"buy|bought|purchas\w*", "sell|sells|selling|sold"),
        ("safe", "unsafe|dangerous"),
        ("stable", "unstable"),
        ("controlled|complicated|authori[sz]ed|treated", "un(?:controlled|complicated|authori[sz]ed|treated)"),
        ("complete", "incomplete"),
        ("active|valid|correct|possible|regular", "in(?:active|valid|correct)|impossible|irregular"),
        ("initial", "subsequent"),
        ("lateral", "medial"),
        ("distal", "proximal"),
        ("anterior", "posterior"),
        ("mild|minor|slight", "severe|major"),
        ("primary", "secondary"),
        ("systolic|arterial", "diastolic|venous"),
        (r"tachy\w+", r"brady\w+"),
        ("double", "halve"),
        ("morning", "evening"),
        ("incoming|lender|creditor", "outgoing|borrower|debtor"),
        (r"allow(?:s|ed)?|permit(?:s|ted)?|recommend\w*", r"forbid\w*|forbidden|prohibit\w*|avoid\w*"),
    )
)
_WORD = re.compile("[a-z]+")


@dataclass(frozen=True, slots=True)
class Guard:
    """What two texts must share besides their direction.

    Attributes:
        negated: "not" if a word of negation occurs that no other turns round, and each word that "non" stands before.
        quantities: Every number in base units, sorted: ``("1/200 g",)`` for both "5 mg" and "0.005 g".
        first: Bit mask of the pairs of opposites of which the text says the first only.
        second: Of which it says the second only.
    """

    negated: tuple[str, ...]
    quantities: tuple[str, ...]
    first: int
    second: int

    def agrees(self, other: Guard) -> bool:
        """Whether nothing of what is guarded differs: never between texts whose numbers, units or negation do."""
        same = (self.negated, self.quantities) == (other.negated, other.quantities)
        return same and not (self.first & other.second or self.second & other.first)


@lru_cache(maxsize=4096)  # short answers are given again and again
def guard(text: str) -> Guard:
    """The guard of one text; equal texts have equal ones."""
    plain = _plain(text)
    first = second = 0
    for word in _WORD.findall(plain):
        sides = _sides(word)
        first, second = first | sides[0], second | sides[1]
    return Guard(_negated(_JARGON.sub(" ", plain)), quantities(plain), first & ~second, second & ~first)


@lru_cache(maxsize=65_536)
def _sides(word: str) -> tuple[int, int]:
    """Of which pairs of opposites a word is the first, and of which the second."""
    one, other = (sum(1 << n for n, pair in enumerate(_OPPOSITES) if pair[side].fullmatch(word)) for side in (0, 1))
    return one, other


def _plain(text: str) -> str:
    folded = normalise("".join(_digit(char) for char in text)).text.casefold().translate(_LOOK_ALIKE)
    return folded.translate(_SIGNS).replace("at least", "more").replace("at most", "less")


def _digit(char: str) -> str:
    """Set apart what folding would run into its neighbours: 2\u00bd is not 21/2, and 10\u00b2 not 102."""
    if char.isascii() or unicodedata.category(char) != "No":
        return char
    return ("^" if unicodedata.decomposition(char).startswith("<su") else " ") + char


def _negated(plain: str) -> tuple[str, ...]:
    words = [*_NEGATION.finditer(plain)]
    place = left = 0
    while place < len(words):
        here, then = words[place], words[place + 1] if place + 1 < len(words) else None
        between = plain[here.end() : then.start()] if then else ""
        turned = then and here["not"] and not then["not"] and len(between) <= _NEAR and not _CLAUSE_END.search(between)
        left += not turned
        place += 2 if turned else 1
    return (*sorted(set(_NON.findall(plain))), *(["not"] if left else []))
