"""Measure what the banks' votes are worth: accuracy, coverage and what learning them changes, by epsilon and size.

``python examples/bank_merchants/measure.py`` prints the table of README.md (a minute). Votes,
noise and consensus are the production functions; what is left out is the way of the bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.client.ballots import cast_ballots
from semfed_secure.consensus.outcome import PPM
from semfed_secure.consensus.votes import vote_consensus
from semfed_secure.demo.data import FederationData
from semfed_secure.ids import PromptId
from semfed_secure.llm.model import Record
from semfed_secure.privacy.accountant import compose, epsilon_of, gaussian_rdp, noise_multiplier_for
from semfed_secure.privacy.histogram import NoisyCounts, add_noise, count_votes, votes_from_counts
from semfed_secure.wire.messages import ConsensusRule
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from types import ModuleType

    from numpy.typing import NDArray

HONEST = 5
DELTA = "1e-6"
RULE = ConsensusRule(
    name="weighted_plurality",
    min_clients=3,
    min_support_ppm=PPM // 2,
    min_margin_ppm=0,
    similarity_ppm=0,
    trim_ppm=0,
    weights="equal",
)
HEAD = (
    "customers",
    "per prompt",
    "epsilon",
    "sigma",
    "cast",
    "right",
    "cast, blind",
    "agreed",
    "right",
    "known",
    "missing",
)


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bank_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Banks:
    """One draw of the data, and the five honest banks' counts of their customers' votes."""

    def __init__(self, directory: Path, *, customers: int) -> None:
        """Count the votes of the first ``customers`` of each bank."""
        self.data = FederationData(directory)
        rows = self.data.prompts
        prompts = tuple(Prompt(PromptId(row.id), self.data.question(row, "votes")) for row in rows)
        self.prompts = PromptSet("votes", prompts, self.data.candidates)
        self.gold = np.array([self.data.candidates.index(row.label) for row in self.data.gold])
        self.sites = self.data.description.sites[:HONEST]
        self.records = [self._records(site.id, customers) for site in self.sites]
        self.scorer = _load("scorer").MerchantScorer
        shape = (len(prompts), len(self.data.candidates))
        self.counts = [
            count_votes(cast_ballots(own, self.prompts, self.scorer([])).votes, shape) for own in self.records
        ]
        self.blind = [
            np.isin(self.gold, [self.data.candidates.index(label) for label in site.missing]) for site in self.sites
        ]

    def _records(self, site: str, customers: int) -> list[Record]:
        rows = self.data.records[site]
        first = set(list(dict.fromkeys(row.entity_id for row in rows))[:customers])
        return [
            Record(row.entity_id, self.data.question(row, "votes"), row.label) for row in rows if row.entity_id in first
        ]

    def votes(self, sigma: float | None) -> NDArray[np.int64]:
        """What each bank releases, (banks, prompts); None is without noise."""
        released = [NoisyCounts(count) if sigma is None else add_noise(count, sigma=sigma) for count in self.counts]
        return np.array([votes_from_counts(one, sigma=sigma or 1e-3) for one in released])

    def consensus(self, votes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The agreed candidate of each prompt, -1 for none."""
        found = vote_consensus(
            votes,
            np.full(len(votes), PPM),
            candidate_counts=np.full(votes.shape[1], len(self.data.candidates)),
            rule=RULE,
            nonce=bytes(32),
            prompt_ids=[prompt.id for prompt in self.prompts.prompts],
        )
        return found.label

    def heldout(self, learned: Sequence[tuple[str, str]], *, own: bool = True) -> tuple[float, float]:
        """Mean exact match of the banks' scorers on the categories they know, and on those they lack."""
        asked = [self.data.question(row, "votes") for row in self.data.heldout]
        labels = np.array([row.label for row in self.data.heldout])
        known, missing = [], []
        for site, records in zip(self.sites, self.records, strict=True):
            memory = [(record.prompt, record.completion) for record in records] if own else []
            scores = self.scorer([*memory, *learned]).score(asked, self.data.candidates)
            right = np.array(self.data.candidates)[scores.argmax(axis=1)] == labels
            lacking = np.isin(labels, site.missing)
            known.append(right[~lacking].mean())
            missing.append(right[lacking].mean())
        return float(np.mean(known)), float(np.mean(missing))

    def row(self, sigma: float | None) -> tuple[float, ...]:
        """One line of the table from ``cast`` on."""
        votes = self.votes(sigma)
        cast, right = votes >= 0, votes == self.gold
        blind = np.array(self.blind)
        agreed = self.consensus(votes)
        spoken = agreed >= 0
        texts = [prompt.text for prompt in self.prompts.prompts]
        learned = [(texts[at], self.data.candidates[agreed[at]]) for at in np.flatnonzero(spoken)]
        return (
            float(cast[~blind].mean()),
            float(right[cast].mean()) if cast.any() else float("nan"),
            float(cast[blind].mean()),
            float(spoken.mean()),
            float((agreed == self.gold)[spoken].mean()) if spoken.any() else float("nan"),
            *self.heldout(learned),
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    with tempfile.TemporaryDirectory() as place:
        build = _load("build")
        for seed in range(1, arguments.seeds + 1):
            build.build(Path(place) / str(seed), seed=seed, small=False)
        for customers in (3000, 2000, 1000, 500):
            draws = [Banks(Path(place) / str(seed), customers=customers) for seed in range(1, arguments.seeds + 1)]
            if customers == 3000:
                for name, own in (("untrained", False), ("local only", True)):
                    known, missing = np.mean([draw.heldout([], own=own) for draw in draws], axis=0)
                    print(f"| {name} | | | | | | | | | {known:.0%} | {missing:.0%} |")
            for epsilon in ("none", "8", "4", "2", "1"):
                sigma = None if epsilon == "none" else noise_multiplier_for(epsilon, DELTA)
                values = np.nanmean([draw.row(sigma) for draw in draws], axis=0)
                per_prompt = customers / len(draws[0].gold)
                shown = " | ".join(f"{value:.0%}" for value in values)
                print(f"| {customers} | {per_prompt:.1f} | {epsilon} | {sigma or 0:.2f} | {shown} |", flush=True)
    for rounds in (1, 2, 3, 4):
        sigma = next(s for s in np.arange(0.5, 5, 0.001) if _total(s, rounds) <= 8)
        print(f"{rounds} rounds within epsilon 8: sigma {sigma:.3f}, each alone epsilon {_total(sigma, 1)}")


def _total(sigma: float, rounds: int) -> Decimal:
    return epsilon_of(compose([gaussian_rdp(float(sigma))] * rounds), DELTA)


if __name__ == "__main__":
    main()
