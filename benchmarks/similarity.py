"""Which cosine makes two texts one answer: measured on ICD-10-CM titles with the embedder that a server would use.

    python benchmarks/similarity.py path/to/all-minilm-l6-v2 [--json]

Pairs that mean the same: an inclusion term and the title it stands under. Pairs that do not: two titles of one
chapter, two titles of different chapters. The threshold of a round (`similarity_ppm`) trades the first share
against the other two.
"""

from __future__ import annotations

import argparse
import json
import random

import simple_icd_10_cm as icd

from semfed_secure.llm.embedding import SentenceEmbedder, load_embedder

PAIRS = 800
THRESHOLDS = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def collect(seed: int) -> dict[str, list[tuple[str, str]]]:
    """Pairs by what they are."""
    chance = random.Random(seed)
    codes = [code for code in icd.get_all_codes() if not icd.is_chapter(code) and icd.get_inclusion_term(code)]
    chance.shuffle(codes)
    codes = codes[:PAIRS]
    title = {code: icd.get_description(code) for code in codes}
    chapter = {code: icd.get_ancestors(code)[-1] for code in codes}
    pairs: dict[str, list[tuple[str, str]]] = {"same meaning": [], "same chapter": [], "other chapter": []}
    for code in codes:
        pairs["same meaning"].append((title[code], chance.choice(icd.get_inclusion_term(code))))
        for kind, near in (("same chapter", True), ("other chapter", False)):
            others = [one for one in codes if (chapter[one] == chapter[code]) == near and title[one] != title[code]]
            if others:
                pairs[kind].append((title[code], title[chance.choice(others)]))
    return pairs


def shares(embedder: SentenceEmbedder, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Share of the pairs at or above each threshold."""
    left, right = (embedder.embed([pair[side] for pair in pairs]) for side in (0, 1))
    cosine = (left * right).sum(axis=1)
    return {f"{threshold:.2f}": round(float((cosine >= threshold).mean()), 3) for threshold in THRESHOLDS}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embedder", help="directory of the embedder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    embedder = load_embedder(arguments.embedder)
    found = {kind: shares(embedder, pairs) for kind, pairs in collect(arguments.seed).items()}
    if arguments.json:
        print(json.dumps({"embedder": embedder.name, "pairs": PAIRS, "share_at_or_above": found}))
        return
    print("cosine  " + "  ".join(f"{kind:>13}" for kind in found))
    for threshold in found["same meaning"]:
        print(f"{threshold:>6}  " + "  ".join(f"{row[threshold]:>13.3f}" for row in found.values()))


if __name__ == "__main__":
    main()
