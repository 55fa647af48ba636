"""Which cosine makes two texts one answer: calibrated on ICD-10-CM with the embedder that a server would use.

    python benchmarks/similarity.py path/to/all-minilm-l6-v2 --json > benchmarks/results/similarity.json
    python benchmarks/similarity.py --pairs pairs.jsonl    # the pairs alone, for `semfed server calibrate`

Pairs that mean the same: an inclusion term and the title it stands under. Pairs that do not: two titles of one chapter.
What the default threshold of a server does to them, and what is recommended for each share of false joins.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from meanings import calibration_pairs

from semfed_secure.consensus.calibration import calibrate, pair_cosines_ppm
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import hex_digest
from semfed_secure.llm.embedding import load_embedder

SEED, COUNT = 0, 1_000
DEFAULT_PPM = 650_000
SHARES_PPM = (5_000, 10_000, 20_000, 30_000, 50_000)


def table(found: dict[str, Any]) -> list[str]:
    """The rows of the table of docs/explanation/what-embeddings-miss.md."""
    rates = ("false_join", "unguarded_false_join", "false_split")
    return [
        f"| {row['max_false_join_ppm'] / 10_000:g} % | {row['similarity_ppm']} | "
        + " | ".join(f"{100 * row[name]['count'] / row[name]['of']:.1f} %" for name in rates)
        + " |"
        for row in found["calibrations"]
        if "refused" not in row
    ]


def main() -> None:
    """Write the pairs, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embedder", nargs="?", help="directory of the embedder")
    parser.add_argument("--pairs", type=Path, help="write the pairs here")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    arguments = parser.parse_args()
    pairs = calibration_pairs(SEED, COUNT)
    if arguments.pairs:
        arguments.pairs.write_text("".join(json.dumps(asdict(pair)) + "\n" for pair in pairs), encoding="utf-8")
    if not arguments.embedder:
        return
    embedder = load_embedder(arguments.embedder)
    cosine = pair_cosines_ppm(embedder.embed([pair.a for pair in pairs]), embedder.embed([pair.b for pair in pairs]))
    found = []
    for share in SHARES_PPM:
        try:
            found.append(
                calibrate(
                    pairs,
                    cosine,
                    embedder=embedder.name,
                    weights_digest=embedder.weights_digest,
                    max_false_join_ppm=share,
                ).as_json()
            )
        except ConfigurationError as error:
            found.append({"max_false_join_ppm": share, "refused": error.message})
    document = {
        "schema": 1,
        "command": "python benchmarks/similarity.py path/to/all-minilm-l6-v2 --json",
        "embedder": {"name": embedder.name, "weights_digest": hex_digest(embedder.weights_digest)},
        "pairs": len(pairs),
        "joined_at_default_by_cosine": {
            str(same).lower(): round(sum(cosine[n] >= DEFAULT_PPM for n in chosen) / len(chosen), 4)
            for same in (True, False)
            for chosen in [[n for n, pair in enumerate(pairs) if pair.same is same]]
        },
        "calibrations": found,
    }
    print(json.dumps(document, indent=1) if arguments.json else "\n".join(table(document)))


if __name__ == "__main__":
    main()
