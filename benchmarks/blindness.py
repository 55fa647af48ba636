"""What a sentence embedder does not see, and how much of it the guards do.

    python benchmarks/blindness.py path/to/all-minilm-l6-v2 --json > benchmarks/results/blindness.json

Minimal pairs of `meanings`, two texts that differ in one fact, and the same fact in other words. Of each kind of fact:
the share of different texts that would be joined as one answer at the threshold, by the cosine alone and with the
guards, with 95 % intervals; and the area under the curve by which the cosine tells same from different meaning (1/2 is
guessing, below it different meanings look more alike than the same). Then what the guards cost: the share of honest
pairs that the cosine would join and a guard splits. Data in ../shared/data is used where it is.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from meanings import Facts, calibration_pairs, minimal_pairs

from semfed_secure.consensus.calibration import pair_cosines_ppm
from semfed_secure.consensus.guards import guard
from semfed_secure.ids import hex_digest
from semfed_secure.llm.embedding import SentenceEmbedder, load_embedder
from semfed_secure.privacy.attack import auc, rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED, COUNT, SHOWN, HONEST, DRAWS = 1, 240, 12, 300, 500
THRESHOLD_PPM = 650_000
DATA = Path(__file__).parents[2] / "shared/data"


def cosines(embedder: SentenceEmbedder, pairs: list[tuple[str, str]]) -> NDArray[np.int64]:
    """Cosine of each pair, parts per million, as a round computes it."""
    left, right = (embedder.embed([pair[side] for pair in pairs]) for side in (0, 1))
    return pair_cosines_ppm(left, right)


def agreeing(pairs: list[tuple[str, str]]) -> NDArray[np.bool_]:
    """Whether the guards of each pair agree."""
    return np.array([guard(one).agrees(guard(other)) for one, other in pairs], dtype=bool)


def share(hits: NDArray[np.bool_]) -> dict[str, float]:
    """A share with its exact 95 % interval."""
    return {name: round(value, 4) for name, value in asdict(rate(int(hits.sum()), len(hits))).items()}


def area(same: NDArray[np.int64], different: NDArray[np.int64]) -> dict[str, float]:
    """The area under the curve, with a bootstrap interval over the pairs."""
    chance = np.random.default_rng(SEED)

    def once(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
        return auc(np.concatenate([one, other]).astype(float), np.arange(len(one) + len(other)) < len(one))

    drawn = [
        once(*(side[chance.integers(0, len(side), len(side))] for side in (same, different))) for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": round(once(same, different), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def sides(facts: list[Facts]) -> dict[str, list[tuple[str, str]]]:
    """Of each item the same fact in other words, and the other fact in the same words and in other words."""
    return {
        "same": [(one.text, one.reworded) for one in facts],
        "different": [(one.text, one.other) for one in facts],
        "reworded": [(one.text, one.other_reworded) for one in facts],
    }


def blindness(embedder: SentenceEmbedder, facts: list[Facts]) -> dict[str, object]:
    """One kind of fact."""
    pairs = sides(facts)
    cosine = {side: cosines(embedder, rows) for side, rows in pairs.items()}
    near = {side: values >= THRESHOLD_PPM for side, values in cosine.items()}
    agree = {side: agreeing(rows) for side, rows in pairs.items()}
    return {
        "n": len(facts),
        "different_joined_by_cosine": share(near["different"]),
        "different_joined_with_guards": share(near["different"] & agree["different"]),
        "different_reworded_joined_by_cosine": share(near["reworded"]),
        "different_reworded_joined_with_guards": share(near["reworded"] & agree["reworded"]),
        "same_joined_by_cosine": share(near["same"]),
        "same_joined_with_guards": share(near["same"] & agree["same"]),
        "auroc_same_words": area(cosine["same"], cosine["different"]),
        "auroc_other_words": area(cosine["same"], cosine["reworded"]),
        "guards_agree_on_different": int(agree["different"].sum()),
        "first_cosines_ppm": cosine["different"][:SHOWN].tolist(),
    }


def honest_pairs() -> dict[str, list[tuple[str, str]] | str]:
    """Pairs that honest sites might give; a reason where the data are not at hand."""
    coded = [(pair.a, pair.b) for pair in calibration_pairs(0, 1_000) if pair.same]
    return {
        "ICD-10-CM inclusion term and its title": coded,
        "bank messages of one intent": _grouped("bank", ("intent",), "text", apart="text"),
        "medical answers of two institutes to one question": _grouped(
            "hospital", ("focus", "qtype"), "answer", apart="client"
        ),
    }


def _grouped(folder: str, by: tuple[str, ...], field: str, *, apart: str) -> list[tuple[str, str]] | str:
    """Pairs of one group whose ``apart`` differs."""
    file = DATA / folder / "train.jsonl"
    if not file.is_file():
        return f"{folder} data are not at hand"
    groups = defaultdict(list)
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        groups[tuple(row[name].lower() for name in by)].append(row)
    chance, pairs = random.Random(SEED), set()
    several = [group for _, group in sorted(groups.items()) if len({row[apart] for row in group}) > 1]
    while len(pairs) < HONEST:
        one, other = chance.sample(chance.choice(several), 2)
        if one[apart] != other[apart]:
            pairs.add((one[field], other[field]))
    return sorted(pairs)


def cost(embedder: SentenceEmbedder, pairs: list[tuple[str, str]]) -> dict[str, object]:
    """What the guards split of what the cosine would join."""
    near, agree = cosines(embedder, pairs) >= THRESHOLD_PPM, agreeing(pairs)
    return {
        "n": len(pairs),
        "joined_by_cosine": share(near),
        "joined_with_guards": share(near & agree),
        "split_by_guards_of_those_joined": share(~agree[near]),
        "guards_disagree": share(~agree),
    }


def measure(embedder: SentenceEmbedder) -> dict[str, object]:
    """The whole table."""
    kinds = minimal_pairs(SEED, COUNT)
    honest = honest_pairs()
    return {
        "schema": 1,
        "command": "python benchmarks/blindness.py path/to/all-minilm-l6-v2 --json",
        "embedder": {"name": embedder.name, "weights_digest": hex_digest(embedder.weights_digest)},
        "similarity_ppm": THRESHOLD_PPM,
        "seed": SEED,
        "kinds": {kind: blindness(embedder, facts) for kind, facts in kinds.items()},
        "honest": {what: pairs if isinstance(pairs, str) else cost(embedder, pairs) for what, pairs in honest.items()},
    }


def table(found: dict[str, Any]) -> list[str]:
    """The rows of the tables of docs/explanation/what-embeddings-miss.md."""
    shares = ("different_joined_by_cosine", "different_joined_with_guards", "same_joined_with_guards")
    costs = ("joined_by_cosine", "joined_with_guards", "split_by_guards_of_those_joined")
    areas = ("auroc_same_words", "auroc_other_words")
    kinds = [
        [kind, *(_percent(row[name]) for name in shares), *(f"{row[name]['value']:.2f}" for name in areas)]
        for kind, row in found["kinds"].items()
    ]
    honest = [
        [what, str(row["n"]), *(_percent(row[name]) for name in costs)]
        for what, row in found["honest"].items()
        if not isinstance(row, str)
    ]
    return [f"| {' | '.join(row)} |" for row in (*kinds, *honest)]


def _percent(rate: dict[str, float]) -> str:
    return f"{100 * rate['count'] / rate['of']:.1f} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embedder", help="directory of the embedder")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    arguments = parser.parse_args()
    found = measure(load_embedder(arguments.embedder))
    print(json.dumps(found, indent=1) if arguments.json else "\n".join(table(found)))


if __name__ == "__main__":
    main()
