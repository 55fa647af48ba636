"""Write the bank federation's data: merchant descriptions of several card networks, by category.

``python examples/bank_merchants/build.py DIRECTORY`` writes the layout that ``examples/hospital_coding/README.md``
describes. The descriptions are those of ISO 18245 merchant category codes as seven organisations publish them (package
``iso18245``); who shops where is drawn at random, no customer stands behind a record.

Guarantees (``tests/demo/test_bank_data.py``): no description of the public prompts, the validation or the held-out set
stands in another of them or in any bank's records, compared without case, punctuation, order and number; no bank holds
a record of a category that it lacks; the same seed writes the same bytes. Banks do hold the same description, as banks
do, and a prompt may be one network's wording of what a bank knows in another's.
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
    from collections.abc import Iterable, Iterator, Sequence

HERE = Path(__file__).parent

# First and last merchant category code, and the category they belong to; the first row that holds a code decides.
CATEGORIES: tuple[tuple[int, int, str], ...] = (
    (1500, 2999, "trades and repairs"),
    (3000, 3350, "airlines"),
    (3351, 3500, "car rental"),
    (3501, 3999, "lodging"),
    (4119, 4119, "health care"),
    (4511, 4511, "airlines"),
    (5047, 5047, "health care"),
    (5122, 5122, "health care"),
    (5411, 5499, "food and drink"),
    (5500, 5599, ""),  # cars, boats and their parts: neither shops nor repairs
    (5600, 5699, "clothing"),
    (5811, 5814, "food and drink"),
    (5912, 5912, "health care"),
    (5921, 5921, "food and drink"),
    (5975, 5976, "health care"),
    (5200, 5999, "shops"),
    (6000, 6999, "financial services"),
    (7011, 7033, "lodging"),
    (7512, 7519, "car rental"),
    (7530, 7699, "trades and repairs"),
    (7800, 7999, "leisure"),
    (8000, 8099, "health care"),
)
LABELS: tuple[str, ...] = tuple(sorted({label for _, _, label in CATEGORIES if label}))
SOURCES = ("iso", "usda", "stripe", "visa", "alipay", "mastercard", "amex")
"""Who describes the codes."""
SHORTEST, LONGEST = 3, 90
PER_CATEGORY = 120
"""Most descriptions of one category: there are three hundred airlines and more than four hundred hotels."""
_FILLER = frozenset({"and", "the", "of", "not", "elsewhere", "classified", "or", "for", "including"})


@dataclass(frozen=True, slots=True)
class Bank:
    """One site, and the categories that its customers never buy in."""

    id: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything is written; shares are of the descriptions of each category."""

    customers: int
    merchants: int
    prompts: float
    validation: float
    heldout: float


# Ten to fifteen customers per prompt and bank: fewer, and the noise decides (README.md has the figures).
FULL = Sizes(customers=3000, merchants=4, prompts=0.3, validation=0.1, heldout=0.25)
SMALL = Sizes(customers=900, merchants=4, prompts=0.1, validation=0.05, heldout=0.25)

# Every category is lacking at one of the honest five; the last three are for sites that misbehave, who know everything.
BANKS: tuple[Bank, ...] = (
    Bank("first-harbor", ("airlines", "car rental")),
    Bank("prairie-trust", ("lodging", "trades and repairs")),
    Bank("union-savings", ("shops", "clothing")),
    Bank("granite-state", ("food and drink", "leisure")),
    Bank("lakeside-credit", ("financial services", "health care")),
    Bank("northern-mutual", ()),
    Bank("old-mill", ()),
    Bank("seaboard", ()),
)


def normalised(text: str) -> str:
    """``text`` without case, punctuation, order, plural and filler: what two descriptions are compared by."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return " ".join(sorted(re.sub(r"(es|s)$", "", word) for word in words if word not in _FILLER))


def label_of(code: int) -> str:
    """The category of a merchant category code; nothing for codes that this example leaves out."""
    return next((label for first, last, label in CATEGORIES if first <= code <= last), "")


def descriptions() -> Iterator[Row]:
    """Every description that is neither too short nor too long; the title is the standard's own, where it has one."""
    import iso18245  # noqa: PLC0415 - only the builder needs the tables

    for code in iso18245.get_all_mccs():
        label = label_of(int(code.mcc))
        texts = [" ".join(getattr(code, f"{source}_description").split()) for source in SOURCES]
        for text in texts if label else ():
            if SHORTEST <= len(text) <= LONGEST:
                yield Row(text=text, label=label, title=code.iso_description or text)


def build(directory: Path, *, seed: int, small: bool) -> None:
    """Write the data of a whole federation into ``directory``, which is created; what it held is replaced.

    The same ``seed`` and ``small`` write the same bytes.

    Args:
        directory: Where to write.
        seed: Decides which description goes where, and who shops where.
        small: Write fewer customers and prompts, for a quick run.
    """
    sizes, rng = (SMALL if small else FULL), random.Random(seed)
    shares = _split(distinct(descriptions(), normalised), sizes, rng)
    write_federation(
        directory,
        description=_description(sizes),
        policy=HERE / "policy.yaml",
        candidates=LABELS,
        public=shares,
        records={bank.id: _records(bank, shares["private"], sizes, rng) for bank in BANKS},
    )


def _split(everything: Iterable[Row], sizes: Sizes, rng: random.Random) -> dict[str, list[Row]]:
    """The public shares by name, and what is left for the banks; every category gives its share to each."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for description in sorted(everything, key=lambda one: one.text):
        by_label[description.label].append(description)
    shares: dict[str, list[Row]] = {"prompts": [], "validation": [], "heldout": [], "private": []}
    for label in LABELS:
        rest = by_label[label]
        rng.shuffle(rest)
        rest = rest[:PER_CATEGORY]
        total = len(rest)
        for name in ("prompts", "validation", "heldout"):
            taken = max(1, round(total * getattr(sizes, name)))
            shares[name] += rest[:taken]
            rest = rest[taken:]
        shares["private"] += rest
    for name in ("prompts", "validation", "heldout"):
        rng.shuffle(shares[name])
    return shares


def _records(bank: Bank, pool: Sequence[Row], sizes: Sizes, rng: random.Random) -> Iterator[Row]:
    """The card payments of one bank's customers: each shops at a few merchants, in any category that the bank knows."""
    known: dict[str, list[Row]] = defaultdict(list)
    for description in pool:
        if description.label not in bank.missing:
            known[description.label].append(description)
    labels = sorted(known)
    for number in range(sizes.customers):
        for _ in range(sizes.merchants):
            chosen = rng.choice(known[rng.choice(labels)])
            yield chosen.model_copy(update={"entity_id": f"{bank.id}-{number:05}"})


def _description(sizes: Sizes) -> dict[str, object]:
    """What a run must know beside the data: names, sites, how a text becomes a question."""
    return {
        "federation": "bank-merchants",
        "domain": "finance",
        "jurisdiction": "US",
        "dataset": "synthetic-card-payments",
        "classification": "npi",
        "templates": {"votes": "Merchant: {text}\nCategory:"},
        "answers": {"votes": "label"},
        "rounds": ["votes", "votes"],
        # Two releases of 2.7 compose to less than 4, half of the policy's lifetime budget; the second shows some of
        # what noise hid in the first.
        "black_box": {
            "model": "merchant-lookup",
            "provenance": "public",
            "mechanism": "record_histogram",
            "epsilon": "2.7",
            "delta": "1e-6",
        },
        "population_bound": sizes.customers,
        "max_records_per_entity": sizes.merchants,
        "sites": [{"id": bank.id, "missing": list(bank.missing)} for bank in BANKS],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="fewer customers and prompts")
    arguments = parser.parse_args()
    build(arguments.directory, seed=arguments.seed, small=arguments.small)
