"""Public pairs of texts of known meaning: what a threshold is calibrated on, and minimal pairs that differ in one fact.

Made of the ICD-10-CM code table and of templates, by a seed; nothing is picked by hand.
"""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import combinations
from typing import NamedTuple

import simple_icd_10_cm as icd

from semfed_secure.consensus.calibration import Pair

OPPOSITES = """open closed, acute chronic, benign malignant, upper lower, initial subsequent, lateral medial,
distal proximal, anterior posterior, internal external, male female, mild severe, minor major, primary secondary,
complete partial, delayed routine, extensor flexor, single multiple, congenital acquired,
hypertrophic atrophic, dominant nondominant"""
NEGATIONS = "with without, displaced nondisplaced, malunion nonunion, intractable nonintractable, venomous nonvenomous"
ORDINALS = "first second third fourth fifth 1 2 3 4 5 one two three four five i ii iii iv v".split()  # noqa: SIM905
UNIT_SWAPS = "mg g, mg mcg, mg ml, ml l, days weeks, hours days, weeks months, % ‰, mmol/l mg/dl, mg mg/kg"
DRUGS = """metformin lisinopril amlodipine warfarin digoxin methotrexate prednisone furosemide atorvastatin
levothyroxine omeprazole gabapentin sertraline ibuprofen amoxicillin ciprofloxacin phenytoin lithium morphine oxycodone
insulin clonazepam metoprolol hydralazine hydroxyzine prednisolone chlorpromazine chlorpropamide cefazolin
ceftriaxone""".split()  # noqa: SIM905
FREQUENCIES = ("daily", "twice daily", "three times a day", "weekly", "every 6 hours", "every other day", "monthly")
SHORTEST, LONGEST = 3, 10
ACCOUNTS = ("savings account", "current account", "credit card", "mortgage", "business account", "debit card", "loan")


class Facts(NamedTuple):
    """A text in two wordings, and another fact in the same two wordings."""

    text: str
    reworded: str
    other: str
    other_reworded: str


def titles() -> list[str]:
    """Every title of the code table, in lower case, once."""
    codes = (code for code in icd.get_all_codes() if not icd.is_chapter(code))
    return sorted({icd.get_description(code).lower() for code in codes})


def calibration_pairs(seed: int, count: int) -> list[Pair]:
    """An inclusion term with its own title; that title with another one of its chapter."""
    chance = random.Random(seed)
    codes = [code for code in icd.get_all_codes() if not icd.is_chapter(code) and icd.get_inclusion_term(code)]
    chance.shuffle(codes)
    by_chapter = defaultdict(list)
    for code in codes:
        by_chapter[icd.get_ancestors(code)[-1]].append(icd.get_description(code))
    pairs = []
    for code in codes[:count]:
        title = icd.get_description(code)
        near = chance.choice([one for one in by_chapter[icd.get_ancestors(code)[-1]] if one != title])
        pairs += [Pair(title, chance.choice(icd.get_inclusion_term(code)), True), Pair(title, near, False)]
    return pairs


def minimal_pairs(seed: int, count: int) -> dict[str, list[Facts]]:
    """``count`` of each kind of fact; the same seed makes the same ones."""
    by_words = one_word_apart(titles())
    listed = {kind: _listed(names) for kind, names in (("opposite", OPPOSITES), ("negation", NEGATIONS))}
    numbers = set(combinations(sorted(ORDINALS), 2))
    known = {*listed["opposite"], *listed["negation"], *numbers, ("left", "right")}
    vague = ("unspecified", "other", "nos", "or", "and", "of", "by", "in", "to")
    entities = [
        pair
        for pair in by_words
        if pair not in known and all(word.isalpha() and len(word) > 4 and word not in vague for word in pair)
    ]
    made = {
        "negation": (_negated, [*listed["negation"]]),
        "number": (_counted, [*numbers]),
        "laterality": (None, [("left", "right")]),
        "opposite": (None, [*listed["opposite"]]),
        "entity": (_drugs, entities),
        "dose": (_dose, []),
        "unit": (_unit, []),
        "frequency": (_frequency, []),
        "role": (_role, []),
    }
    found = {}
    for kind, (template, words) in made.items():
        chance = random.Random(f"{seed} {kind}")
        present = sorted(pair for pair in words if pair in by_words)
        items: dict[Facts, None] = {}  # each once, in the order in which they were drawn
        while len(items) < count:
            titled = template is None or (present and len(items) % 2)
            items[_titled(chance, by_words, present) if titled else template(chance)] = None
        found[kind] = [*items]
    return found


def one_word_apart(names: list[str]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Titles of a few words that differ in one, by the two words."""
    holes = defaultdict(list)
    for name in names:
        words = name.split()
        if not SHORTEST <= len(words) <= LONGEST:
            continue
        for place, word in enumerate(words):
            holes[" ".join([*words[:place], "_", *words[place + 1 :]])].append((word.strip(",;()"), name))
    found = defaultdict(list)
    for alike in holes.values():
        for (word, name), (other, other_name) in combinations(sorted(alike), 2):
            if word != other:
                found[word, other].append((name, other_name))
    return found


def _listed(names: str) -> list[tuple[str, str]]:
    rows = (tuple(sorted(row.split())) for row in names.split(","))
    return [(first, second) for first, second in rows]


def _titled(chance: random.Random, by_words: dict, present: list[tuple[str, str]]) -> Facts:
    pair = [*chance.choice(by_words[chance.choice(present)])]
    chance.shuffle(pair)
    one, other = (f"The diagnosis is {name}." for name in pair)
    return Facts(one, f"Patient diagnosed: {pair[0]}", other, f"Patient diagnosed: {pair[1]}")


_TITLES: list[str] = []


def _title(chance: random.Random) -> str:
    if not _TITLES:
        _TITLES.extend(name for name in titles() if len(name.split()) <= 4 and name.replace(" ", "").isalpha())
    return chance.choice(_TITLES)


def _negated(chance: random.Random) -> Facts:
    what = _title(chance)
    ways = (
        (
            "The patient has {}.",
            "The patient shows signs of {}.",
            "The patient has no {}.",
            "The patient is without {}.",
        ),
        ("Findings confirm {}.", "There is {}.", "Findings rule out {}.", "There isn't {}."),
        ("He reports {}.", "He complains of {}.", "He denies {}.", "He no longer complains of {}."),
        (
            "This suggests {}.",
            "This is consistent with {}.",
            "This does not suggest {}.",
            "This is not consistent with {}.",
        ),
    )
    return Facts(*(way.format(what) for way in chance.choice(ways)))


def _counted(chance: random.Random) -> Facts:
    number, other = chance.sample(range(2, 60), 2)
    words = (
        ("Your {2} was charged {0} times.", "There were {0} charges on your {2}."),
        ("The transfer limit of the {2} is ${0}00.", "You can transfer up to ${0}00 from your {2}."),
        ("Symptoms of {1} last {0} days.", "{1}: symptoms persist for {0} days."),
        ("About {0}% of patients develop {1}.", "{1} occurs in about {0} percent of patients."),
    )
    first, second = chance.choice(words)
    what, account = _title(chance), chance.choice(ACCOUNTS)
    return Facts(*(way.format(n, what, account) for n in (number, other) for way in (first, second)))


def _medication(drug: str, dose: str, often: str) -> tuple[str, str]:
    return f"Take {drug} {dose} {often}.", f"{drug.capitalize()} is given {often} at a dose of {dose}."


def _dose(chance: random.Random) -> Facts:
    dose = chance.choice([1, 2, 2.5, 5, 7.5, 10, 12.5, 20, 25, 40, 50, 75, 100, 125, 250, 500])
    other = dose * chance.choice([0.1, 0.5, 2, 4, 10])
    unit, drug, often = (
        chance.choice(["mg", "mcg", "g", "ml", "units"]),
        chance.choice(DRUGS),
        chance.choice(FREQUENCIES),
    )
    return Facts(*_medication(drug, f"{dose:g} {unit}", often), *_medication(drug, f"{other:g} {unit}", often))


def _unit(chance: random.Random) -> Facts:
    units = chance.choice([row.split() for row in UNIT_SWAPS.split(", ")])
    number, what = chance.choice([1, 2, 5, 10, 20, 50, 100]), chance.choice(DRUGS)
    if units[0] in {"days", "hours", "weeks"}:
        ways = ("Take {1} for {0}.", "Treatment with {1} lasts {0}.")
    elif "/" in units[0] or units[0] == "%":
        ways = ("The level of {1} was {0}.", "{1} was measured at {0}.")
    else:
        ways = ("Give {0} of {1}.", "The dose of {1} is {0}.")
    return Facts(*(way.format(f"{number} {unit}", what) for unit in units for way in ways))


def _frequency(chance: random.Random) -> Facts:
    often, other = chance.sample(FREQUENCIES, 2)
    drug, dose = chance.choice(DRUGS), f"{chance.choice([1, 2, 5, 10, 20, 50])} mg"
    return Facts(*_medication(drug, dose, often), *_medication(drug, dose, other))


def _drugs(chance: random.Random) -> Facts:
    drug, other = chance.sample(DRUGS, 2)
    dose, often = f"{chance.choice([1, 2, 5, 10, 20, 50])} mg", chance.choice(FREQUENCIES)
    return Facts(*_medication(drug, dose, often), *_medication(other, dose, often))


def _role(chance: random.Random) -> Facts:
    one, other = _title(chance), _title(chance)
    ways = chance.choice(
        (
            ("The patient has {} caused by {}.", "{} arose as a consequence of {}."),
            ("{} is more common than {}.", "More patients have {} than {}."),
            ("Treat {} first, then {}.", "{} should be treated ahead of {}."),
        )
    )
    return Facts(*(way.format(*pair) for pair in ((one, other), (other, one)) for way in ways))
