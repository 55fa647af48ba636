"""Which label-free estimator of client weights survives liars and spares uneven honest clients, and what gold adds.

    python benchmarks/weights.py --json > benchmarks/results/weights.json    # without --json, the tables of the page

Simulated votes with known right answers: 600 prompts of 8 candidates. Honest clients are right with probability .75, or
uneven between .5 and .9, and otherwise choose any wrong candidate. Figures are prompts in a hundred whose winner is the
right one, over the prompts that the attack concerns, means of all seeds; ties end by the round's nonce.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.consensus import Votes, anchor_counts, client_weights
from semfed_secure.consensus.anchors import anchored_weights, right_share
from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, MIN_WEIGHT_PPM, PPM
from semfed_secure.wire.messages import ConsensusRule

if TYPE_CHECKING:
    from collections.abc import Callable

PROMPTS, CANDIDATES, GOLD, SEEDS = 600, 8, 50, 10
SIZES = ((5, 2), (10, 4), (20, 9))
ATTACKS = ("none", "random", "own_wrong", "flip", "targeted", "duplicated", "mimic", "collude_20", "collude_5")
RULE = ConsensusRule("weighted_plurality", 1, 0, 0, 0, 0, "equal")

# Honest rosters of unequal strength: accuracy of each client, and whose errors are the same.
ROSTERS = {
    "n=3, all .7": ((0.7, 0.7, 0.7), ()),
    "n=3, one .1": ((0.7, 0.7, 0.1), ()),
    "n=3, one .9, two .4 with the same errors": ((0.9, 0.4, 0.4), (1, 2)),
    "n=5, all .7": ((0.7,) * 5, ()),
    "n=5, one .1": ((0.7,) * 4 + (0.1,), ()),
    "n=5, two .1 with the same errors": ((0.7,) * 3 + (0.1,) * 2, (3, 4)),
    "n=5, three .1 with the same errors": ((0.7,) * 2 + (0.1,) * 3, (2, 3, 4)),
    "n=5, one .9, four .4 with the same errors": ((0.9,) + (0.4,) * 4, (1, 2, 3, 4)),
    "n=5, all .4": ((0.4,) * 5, ()),
}


# -- worlds ----------------------------------------------------------------------------------------------------------


def honest(random: np.random.Generator, truth: np.ndarray, accuracy: float) -> np.ndarray:
    """Right with this probability, otherwise any other candidate."""
    wrong = (truth + random.integers(1, CANDIDATES, PROMPTS)) % CANDIDATES
    return np.where(random.random(PROMPTS) < accuracy, truth, wrong)


def attacked(
    random: np.random.Generator, clients: int, liars: int, attack: str, *, uneven: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers, the truth, and the prompts that the attack concerns; the last clients lie."""
    truth = random.integers(0, CANDIDATES, PROMPTS)
    accuracies = random.uniform(0.5, 0.9, clients) if uneven else np.full(clients, 0.75)
    answers = np.array([honest(random, truth, accuracy) for accuracy in accuracies])
    target = (truth + random.integers(1, CANDIDATES, PROMPTS)) % CANDIDATES
    share = {"collude_20": 0.2, "collude_5": 0.05}.get(attack, 1)
    concerned = np.arange(PROMPTS) >= PROMPTS - int(PROMPTS * share)
    for liar in range(clients - liars, clients):
        own = answers[liar]
        answers[liar] = {
            "none": own,
            "random": random.integers(0, CANDIDATES, PROMPTS),
            "own_wrong": (truth + random.integers(1, CANDIDATES, PROMPTS)) % CANDIDATES,
            "flip": (own + 1) % CANDIDATES,
            "targeted": np.where(random.random(PROMPTS) < 0.9, target, own),
            "duplicated": target,
            "mimic": answers[0],
        }.get(attack, np.where(concerned, target, own))
    return answers, truth, concerned


def roster(
    random: np.random.Generator, accuracies: tuple[float, ...], alike: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Answers and the truth of honest clients, some of which make the same errors."""
    truth = random.integers(0, CANDIDATES, PROMPTS)
    shared = (truth + random.integers(1, CANDIDATES, PROMPTS)) % CANDIDATES
    rows = [honest(random, truth, accuracy) for accuracy in accuracies]
    return np.array(
        [np.where((row != truth) & (client in alike), shared, row) for client, row in enumerate(rows)]
    ), truth


# -- estimators: answers to weights ----------------------------------------------------------------------------------


def agreements(answers: np.ndarray) -> np.ndarray:
    """Share of prompts on which each two clients say the same."""
    return (answers[:, None] == answers[None]).mean(axis=2)


def medians(pairs: np.ndarray) -> np.ndarray:
    """Of each client, the median over the others."""
    return np.array([np.median(np.delete(row, client)) for client, row in enumerate(pairs)])


def bounded(weights: np.ndarray) -> np.ndarray:
    """No more than half taken, in comparison with the median client."""
    return np.clip(weights / np.median(weights), MIN_WEIGHT_PPM / PPM, 1)


def plain_agreement(answers: np.ndarray) -> np.ndarray:
    """Median agreement, bounded."""
    return bounded(medians(agreements(answers)))


def agreement_is_collusion(answers: np.ndarray) -> np.ndarray:
    """Outliers down, and whoever agrees more than is usual down: the crude estimator, not bounded."""
    pairs = agreements(answers)
    middle = medians(pairs)
    usual = np.median(middle)
    excess = np.clip((pairs - usual) / (1 - usual), 0, 1)
    np.fill_diagonal(excess, 0)
    return np.clip(middle / usual, 0, 1) / (1 + excess.sum(axis=1))


def one_coin(answers: np.ndarray) -> np.ndarray:
    """Dawid and Skene with one accuracy per client, by expectation maximisation: log odds."""
    accuracy, places = np.full(len(answers), 0.7), np.arange(PROMPTS)
    for _ in range(20):
        logs = np.zeros((PROMPTS, CANDIDATES))
        for row, share in zip(answers, accuracy, strict=True):
            logs[places, row] += np.log(share * (CANDIDATES - 1) / (1 - share))
        belief = np.exp(logs - logs.max(axis=1, keepdims=True))
        belief /= belief.sum(axis=1, keepdims=True)
        accuracy = np.clip([(belief[places, row].sum() + 1) / (PROMPTS + 2) for row in answers], 0.01, 0.99)
    return np.maximum(np.log(accuracy * (CANDIDATES - 1) / (1 - accuracy)), 0.02)


def eigenvector(answers: np.ndarray) -> np.ndarray:
    """Leading eigenvector of agreement beyond chance, without its diagonal."""
    pairs = agreements(answers) - 1 / CANDIDATES
    np.fill_diagonal(pairs, 0)
    vector = np.ones(len(answers))
    for _ in range(60):
        vector = pairs @ vector
        vector /= np.abs(vector).max()
    return np.maximum(vector * np.sign(np.median(vector)), 0.02)


def ours(answers: np.ndarray) -> np.ndarray:
    """What the product does under `agreement`."""
    return client_weights(evidence_of(answers), mode="agreement").weight_ppm / PPM


ESTIMATORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "equal": lambda answers: np.ones(len(answers)),
    "plain_agreement": plain_agreement,
    "agreement_is_collusion": agreement_is_collusion,
    "agreement_is_collusion_bounded": lambda answers: bounded(agreement_is_collusion(answers)),
    "one_coin_em": one_coin,
    "one_coin_em_bounded": lambda answers: bounded(one_coin(answers)),
    "eigenvector": eigenvector,
    "eigenvector_bounded": lambda answers: bounded(eigenvector(answers)),
    "ours": ours,
}


# -- gold --------------------------------------------------------------------------------------------------------------


def anchored(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What the product does under `anchored`, the first prompts being gold."""
    evidence = evidence_of(answers)
    counts = anchor_counts(evidence, {prompt: int(truth[prompt]) for prompt in range(GOLD)})
    return client_weights(evidence, mode="anchored", anchors=counts).weight_ppm / PPM


def gold_alone(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same without regard to who is wrong together."""
    counts = anchor_counts(evidence_of(answers), {prompt: int(truth[prompt]) for prompt in range(GOLD)})
    share = right_share(counts.right * PPM, counts.seen * PPM)
    return anchored_weights(share, np.full(len(answers), PPM))[0] / PPM


def log_odds(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The same gold prompts and shrinkage, weighed by log odds, without a cap."""
    right = (answers[:, :GOLD] == truth[:GOLD]).sum(axis=1)
    share = (right + 4 * (right.sum() + 1) / (GOLD * len(answers) + 2)) / (GOLD + 4)
    weights = np.log(share / (1 - share))
    return np.maximum(weights / max(weights.max(), 1e-9), 0.02)


# -- the run -----------------------------------------------------------------------------------------------------------


def evidence_of(answers: np.ndarray, seed: int = 0) -> Votes:
    """Evidence of a votes round."""
    names = tuple(f"p{prompt}" for prompt in range(PROMPTS))
    return Votes(answers, np.full(PROMPTS, CANDIDATES), names, seed.to_bytes(32, "big"))


def right_of(answers: np.ndarray, truth: np.ndarray, concerned: np.ndarray, weights: np.ndarray, seed: int) -> float:
    """Prompts in a hundred whose winner is right."""
    ppm = np.round(weights / weights.max() * MAX_WEIGHT_PPM).astype(np.int64)
    label = evidence_of(answers, seed).consensus(ppm, rule=RULE).label
    return float((label == truth)[concerned].mean() * 100)


def under_attack(seeds: int) -> list[dict[str, Any]]:
    """Every estimator under every attack."""
    rows, golden = [], {"gold_alone": gold_alone, "anchored": anchored}
    for uneven in (False, True):
        for clients, liars in SIZES:
            for attack in ATTACKS:
                found: dict[str, list[float]] = {name: [] for name in (*ESTIMATORS, *golden)}
                for seed in range(seeds):
                    world = attacked(np.random.default_rng(seed), clients, liars, attack, uneven=uneven)
                    answers, truth, concerned = world
                    for name, estimator in ESTIMATORS.items():
                        found[name].append(right_of(answers, truth, concerned, estimator(answers), seed))
                    scored = concerned & (np.arange(PROMPTS) >= GOLD)
                    for name, by_gold in golden.items():
                        found[name].append(right_of(answers, truth, scored, by_gold(answers, truth), seed))
                right = {name: round(float(np.mean(values)), 1) for name, values in found.items()}
                rows.append({"n": clients, "f": liars, "uneven": uneven, "attack": attack, "right": right})
    return rows


def of_unequal_strength(seeds: int) -> list[dict[str, Any]]:
    """Honest rosters: what gold prompts win back, and what they cost."""
    rows = []
    for name, (accuracies, alike) in ROSTERS.items():
        found: dict[str, list[float]] = {"equal": [], "agreement": [], "anchored": [], "log_odds_without_cap": []}
        for seed in range(seeds):
            answers, truth = roster(np.random.default_rng(seed), accuracies, alike)
            scored = np.arange(PROMPTS) >= GOLD
            weights = {
                "equal": np.ones(len(answers)),
                "agreement": ours(answers),
                "anchored": anchored(answers, truth),
                "log_odds_without_cap": log_odds(answers, truth),
            }
            for mode, weight in weights.items():
                found[mode].append(right_of(answers, truth, scored, weight, seed))
        right = {mode: round(float(np.mean(values)), 1) for mode, values in found.items()}
        rows.append({"roster": name, "best_client": round(max(accuracies) * 100), "right": right})
    return rows


def tables(found: dict[str, Any]) -> list[str]:
    """The rows of the tables of docs/explanation/client-weights.md: uneven honest clients, then honest rosters."""
    shown = [row for row in found["under_attack"] if row["uneven"] and row["n"] > SIZES[0][0]]
    attacked_rows = [
        f"| {row['n']}, {row['f']} | {row['attack'].replace('_', ' ')} | "
        + " | ".join(f"{share:.0f}" for share in row["right"].values())
        + " |"
        for row in shown
    ]
    everywhere = [np.mean([row["right"][name] for row in found["under_attack"]]) for name in shown[0]["right"]]
    mean = "| all 54 | mean | " + " | ".join(f"{share:.1f}" for share in everywhere) + " |"
    rosters = [
        f"| {row['roster']} | {row['best_client']} | "
        + " | ".join(f"{share:.0f}" for share in row["right"].values())
        + " |"
        for row in found["unequal_strength"]
    ]
    return [*attacked_rows, mean, *rosters]


def measure(seeds: int) -> dict[str, Any]:
    """Both tables."""
    setup = {"prompts": PROMPTS, "candidates": CANDIDATES, "gold": GOLD, "seeds": seeds}
    return {"setup": setup, "under_attack": under_attack(seeds), "unequal_strength": of_unequal_strength(seeds)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.seeds)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print("\n".join(tables(found)))


if __name__ == "__main__":
    main()
