"""Turn rows of your own, as JSON lines, into a directory for ``semfed demo --data``.

``docs/how-to/demo-with-your-data.md`` shows how. ``--private`` holds the sites' own rows, each naming its site;
``--public`` holds labelled rows that may be shown to everybody: they become the prompts, the validation and the
held-out set. ``--description`` is a ``federation.json`` without ``sites``, ``--policy`` the sites' policy.

Guarantees (``tests/demo/test_real_data.py``): no public text stands twice, or in a private row, compared without case
and punctuation; what a site is said to lack, it has no row of; the same seed writes the same bytes. The largest sites
come first, so the last three, which misbehave in a demo, are the smallest.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from semfed_secure.demo.data import Row
from semfed_secure.demo.layout import distinct, write_federation

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARES = {"prompts": 0.4, "validation": 0.1, "heldout": 0.5}
"""Of the public rows; more prompts teach more, more held-out rows measure better."""


def normalised(text: str) -> str:
    """What two texts are compared by."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def read(path: Path, fields: dict[str, str]) -> Iterator[dict[str, str]]:
    """The named fields of every line, as texts; a line that lacks one ends it, by number and never by content."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        missing = [name for name in fields.values() if name not in row]
        if missing:
            raise SystemExit(f"{path.name} line {number}: no field `{missing[0]}`")
        yield {target: str(row[name]) for target, name in fields.items()}


def records_of(path: Path, site: str, entity: str | None, fields: dict[str, str]) -> dict[str, list[Row]]:
    """Each site's rows, the largest site first; entities are counted, so that their names stay behind."""
    named = fields | {"site": site} | ({} if entity is None else {"entity": entity})
    records: dict[str, list[Row]] = defaultdict(list)
    numbers: dict[tuple[str, str], int] = {}
    for position, row in enumerate(read(path, named)):
        name = row["site"].replace("_", "-")
        number = numbers.setdefault((name, row.get("entity", str(position))), len(numbers))
        records[name].append(Row(entity_id=f"{name}-{number:06}", text=row["text"], label=row["label"]))
    return dict(sorted(records.items(), key=lambda one: (-len(one[1]), one[0])))


def public_of(
    path: Path, records: dict[str, list[Row]], labels: set[str], seed: int, fields: dict[str, str]
) -> dict[str, list[Row]]:
    """The public rows of labels that somebody has records of, shared out at random."""
    private = {normalised(row.text) for rows in records.values() for row in rows}
    everything = distinct((Row(**row) for row in read(path, fields)), normalised)
    rest = [row for row in everything if row.label in labels and normalised(row.text) not in private]
    random.Random(seed).shuffle(rest)
    total, shares = len(rest), {}
    for name, share in SHARES.items():
        taken = round(total * share)
        shares[name], rest = rest[:taken], rest[taken:]
    return shares


def main() -> None:
    """Write the directory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path, help="replaced")
    for name in ("private", "public", "description", "policy"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FILE")
    parser.add_argument("--site", default="site", help="field that names the site of a private row")
    parser.add_argument("--text", default="text", help="field of the text")
    parser.add_argument("--label", default="label", help="field of the right answer")
    parser.add_argument("--entity", help="field that names whose row it is; without it each row is somebody else's")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    fields = {"text": given.text, "label": given.label}
    records = records_of(given.private, given.site, given.entity, fields)
    known = {site: {row.label for row in rows} for site, rows in records.items()}
    labels = set().union(*known.values())
    sites = [{"id": site, "missing": sorted(labels - own)} for site, own in known.items()]
    write_federation(
        given.directory,
        description=json.loads(given.description.read_text(encoding="utf-8")) | {"sites": sites},
        policy=given.policy,
        candidates=sorted(labels),
        public=public_of(given.public, records, labels, given.seed, fields),
        records=records,
    )


if __name__ == "__main__":
    main()
