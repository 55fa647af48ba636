"""Write the hospital federation's data: ICD-10-CM phrases for training, asking and measuring.

``python examples/hospital_coding/build.py DIRECTORY`` writes what ``semfed demo --data DIRECTORY`` reads; the layout
is described in README.md beside this file. ICD-10-CM is public; nothing here comes from a patient.

Guarantees (``tests/demo/test_hospital_data.py``): no phrase of the public prompts, the validation set or the held-out
set stands in another of them or in any site's records, compared without case and punctuation; no site holds a record
of a department that it lacks; the same seed writes the same bytes. Two hospitals may have coded the same diagnosis,
as hospitals do.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from semfed_secure.demo.data import Row
from semfed_secure.demo.layout import distinct, write_federation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent

# Chapter of ICD-10-CM -> the name of the department that treats it.
DEPARTMENTS: dict[str, str] = {
    "1": "infectious diseases",
    "2": "cancer and tumours",
    "4": "endocrine and metabolic",
    "5": "mental health",
    "6": "nervous system",
    "9": "circulatory",
    "11": "digestive",
    "15": "pregnancy and childbirth",
    "17": "congenital",
    "19": "injury and poisoning",
}
SHORTEST, LONGEST = 4, 70
"""Characters of a phrase: longer ones are lists of synonyms and cost time without teaching more."""
PER_DEPARTMENT = 850
"""Most phrases of one department, so that injuries do not drown the rest."""
_SHOWN = "".join(
    f"Diagnosis: {text}\nCategory: {title}\n"
    for text, title in (
        ("Acute follicular tonsillitis", "Acute tonsillitis"),
        ("Chronic sinusitis", "Chronic sinusitis"),
        ("Gout of ankle", "Gout"),
    )
)
"""What a category is, shown by three phrases of chapters that no hospital codes."""
TWO_RECORDS = 20
"""One patient in this many has two records: the privacy unit is the patient, not the record."""


@dataclass(frozen=True, slots=True)
class Hospital:
    """One site: what it lacks entirely, and of what it has only a few records."""

    id: str
    missing: tuple[str, ...]
    few: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is written."""

    records: int
    bound: int
    few: int
    prompts: int
    validation: int
    heldout: int


FULL = Sizes(records=1000, bound=1000, few=20, prompts=1000, validation=200, heldout=2200)
SMALL = Sizes(records=160, bound=200, few=6, prompts=60, validation=60, heldout=200)

# Every department is lacking at one of the honest five and well known at four; the last three are for sites that
# misbehave, who know everything.
HOSPITALS: tuple[Hospital, ...] = (
    Hospital("st-mary", ("pregnancy and childbirth", "congenital"), ("mental health",)),
    Hospital("riverside", ("cancer and tumours", "circulatory"), ("digestive",)),
    Hospital("hillcrest", ("mental health", "nervous system"), ("infectious diseases",)),
    Hospital("lakeview", ("digestive", "endocrine and metabolic"), ("congenital",)),
    Hospital("northgate", ("infectious diseases", "injury and poisoning"), ("circulatory",)),
    Hospital("eastfield", (), ()),
    Hospital("westbrook", (), ()),
    Hospital("southport", (), ()),
)


def normalised(text: str) -> str:
    """``text`` without case and punctuation: what two phrases are compared by."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def _plain(text: str) -> str:
    """``text`` without code ranges in brackets and doubled spaces."""
    return re.sub(r"\s+", " ", re.sub(r"\s*\([A-Z]\d\d.*?\)", "", text)).strip()


def phrases() -> Iterator[Row]:
    """Every phrase of the ten chapters that is neither too short nor too long, with the title of its category."""
    import simple_icd_10_cm as icd  # noqa: PLC0415 - reading the tables takes seconds and is only wanted here

    for chapter, label in DEPARTMENTS.items():
        for code in icd.get_descendants(chapter):
            if not (icd.is_category(code) or icd.is_subcategory(code)):
                continue
            title = _plain(icd.get_description(code[:3]))
            texts = [_plain(term) for term in icd.get_inclusion_term(code)]
            for text in [*texts, title] if icd.is_category(code) else texts:
                if SHORTEST <= len(text) <= LONGEST:
                    yield Row(text=text, label=label, title=title)


def build(directory: Path, *, seed: int, small: bool) -> None:
    """Write the data of a whole federation into ``directory``, which is created; what it held is replaced.

    The same ``seed`` and ``small`` write the same bytes.

    Args:
        directory: Where to write; see README.md for the layout.
        seed: Decides which phrase goes where.
        small: Write the sizes of ``semfed demo --fast``.
    """
    sizes, rng = (SMALL if small else FULL), random.Random(seed)
    shares, pool = _split(distinct(phrases(), normalised), sizes, rng)
    write_federation(
        directory,
        description=_description(sizes),
        policy=HERE / "policy.yaml",
        candidates=list(DEPARTMENTS.values()),
        public=shares,
        records={hospital.id: _records(hospital, pool, sizes, rng) for hospital in HOSPITALS},
    )


def _split(
    everything: Sequence[Row], sizes: Sizes, rng: random.Random
) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """The public shares by name, and the rest by department."""
    shuffled = sorted(everything, key=lambda phrase: phrase.text)
    rng.shuffle(shuffled)
    count: dict[str, int] = defaultdict(int)
    kept = []
    for phrase in shuffled:
        count[phrase.label] += 1
        if count[phrase.label] <= PER_DEPARTMENT:
            kept.append(phrase)
    shares: dict[str, list[Row]] = {}
    for name in ("heldout", "prompts", "validation"):
        size = getattr(sizes, name)
        shares[name], kept = kept[:size], kept[size:]
    pool: dict[str, list[Row]] = defaultdict(list)
    for phrase in kept:
        pool[phrase.label].append(phrase)
    return shares, pool


def _records(hospital: Hospital, pool: Mapping[str, Sequence[Row]], sizes: Sizes, rng: random.Random) -> list[Row]:
    """The private records of one hospital: even over its departments, few where it has few."""
    full = [label for label in DEPARTMENTS.values() if label not in {*hospital.missing, *hospital.few}]
    chosen = [phrase for label in hospital.few for phrase in rng.sample(pool[label], sizes.few)]
    for place, label in enumerate(full):
        share = (sizes.records - len(chosen)) // (len(full) - place)
        chosen += rng.sample(pool[label], min(share, len(pool[label])))
    rng.shuffle(chosen)
    return [
        phrase.model_copy(update={"entity_id": f"{hospital.id}-{_patient(number):05}"})
        for number, phrase in enumerate(chosen)
    ]


def _patient(number: int) -> int:
    """The patient of record ``number``: record 20, 40, … belongs to the patient of the one before."""
    return number - 1 if number and number % TWO_RECORDS == 0 else number


def _description(sizes: Sizes) -> dict[str, object]:
    """What the demo must know beside the data: names, sites, how a phrase becomes a question."""
    return {
        "federation": "hospital-coding",
        "domain": "healthcare",
        "jurisdiction": "US",
        "dataset": "synthetic-icd10cm-phrases",
        "classification": "de-identified",
        "templates": {"votes": "Diagnosis: {text}\nDepartment:", "text": _SHOWN + "Diagnosis: {text}\nCategory:"},
        "answers": {"votes": "label", "text": "title"},
        "population_bound": sizes.bound,
        "max_records_per_entity": 2,
        "sites": [{"id": h.id, "missing": list(h.missing), "few": list(h.few)} for h in HOSPITALS],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="the sizes of `semfed demo --fast`")
    arguments = parser.parse_args()
    build(arguments.directory, seed=arguments.seed, small=arguments.small)
