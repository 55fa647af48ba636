"""Is it the consensus that helps? Learning from it beside two controls, on the sites of a finished demo.

``python benchmarks/controls.py --run demo-run --json`` takes each honest site's privately trained adapter and lets it
learn the same public prompts: with the consensus labels, with its **own answers**, and with the answer of a **random
admitted site** per prompt (liars included; drawn three times and averaged). Everything else is equal. It prints exact
match on the held-out phrases of known and of missing departments, and paired bootstrap intervals over phrases for the
differences.

This reads every site's directory and is therefore no part of a federation: it is a measurement after the fact.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from bootstrap import gain

from semfed_secure.client.answers import best_candidates
from semfed_secure.client.config import LocalModelSection, load_site_config
from semfed_secure.llm.local import LocalModel

ROUND = "round-1"
OTHERS = ("base", "local", "own answers", "random site")
DRAWS = 3  # of the random site


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Site:
    """One honest site: its model, its trained adapter, what it was asked and what it is measured on."""

    def __init__(self, directory: Path, missing: set[str]) -> None:
        config = load_site_config(directory / "site.toml")
        assert isinstance(config.model, LocalModelSection)
        self.name, self.missing = config.site.member, missing
        self.model = LocalModel(config.model.source, config.model.settings)
        self.trained = config.site.state / "adapters" / f"{ROUND}-trained"
        self.heldout = [row for row in read_lines(directory / "heldout.jsonl") if row.get("candidates")]
        self.labels = {
            row["prompt"]: row["label"] for row in read_lines(config.site.state / "labels" / f"{ROUND}.jsonl")
        }

    def answers(self, prompts: list[str], candidates: tuple[str, ...]) -> list[str]:
        self.model.use_adapter(self.trained)
        return [candidates[vote] for vote in best_candidates(self.model, prompts, [candidates] * len(prompts))]

    def right(self, candidates: tuple[str, ...]) -> np.ndarray:
        votes = best_candidates(self.model, [row["prompt"] for row in self.heldout], [candidates] * len(self.heldout))
        return np.array([candidates[v] == row["answer"] for v, row in zip(votes, self.heldout, strict=True)])

    def after(self, labels: dict[str, str], candidates: tuple[str, ...]) -> np.ndarray:
        """Which held-out phrases are answered right after learning ``labels`` from the trained adapter."""
        self.model.use_adapter(self.trained)
        with tempfile.TemporaryDirectory() as scratch:
            self.model.fit_labels(
                list(labels),
                list(labels.values()),
                candidates=candidates,
                directory=Path(scratch),
                progress=lambda *_: None,
            )
        return self.right(candidates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("demo-run"))
    parser.add_argument("--report", type=Path, default=Path("demo-report/report.json"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report = json.loads(arguments.report.read_text(encoding="utf-8"))
    plans = {row["id"]: row for row in json.loads((arguments.run / "data/federation.json").read_text())["sites"]}
    roles = {row["id"]: row["role"] for row in report["sites"]}
    admitted = next(row for row in report["rounds"] if row["id"] == ROUND)["admitted"]
    federation = arguments.run / "federation"
    candidates = tuple(json.loads((arguments.run / "data/candidates.json").read_text()))
    asked = read_lines(federation / "prompts/votes.jsonl")
    prompts = [row["prompt"] for row in asked]
    rng = np.random.default_rng(1)

    answers: dict[str, list[str]] = {}
    for name in admitted:
        directory = federation / "sites" / name
        if roles[name] == "honest":
            answers[name] = Site(directory, set(plans[name]["missing"])).answers(prompts, candidates)
        else:
            given = json.loads((directory / "answers.json").read_text())["votes"]
            answers[name] = [given[row["id"]] for row in asked]
    table = np.array([answers[name] for name in admitted])

    rows, parts = [], {"known": [], "missing": []}
    for name in (name for name in admitted if roles[name] == "honest"):
        site = Site(federation / "sites" / name, set(plans[name]["missing"]))
        learned = [prompt for prompt in prompts if prompt in site.labels]
        variants = {
            "consensus": {prompt: site.labels[prompt] for prompt in learned},
            "own answers": dict(zip(prompts, answers[name], strict=True)),
        }
        site.model.use_adapter(None)
        right = {"base": site.right(candidates)}
        site.model.use_adapter(site.trained)
        right["local"] = site.right(candidates)
        right |= {variant: site.after(labels, candidates) for variant, labels in variants.items()}
        drawn = [rng.integers(0, len(admitted), len(prompts)) for _ in range(DRAWS)]
        picked = [table[draw, np.arange(len(prompts))].tolist() for draw in drawn]
        after = [site.after(dict(zip(prompts, labels, strict=True)), candidates) for labels in picked]
        right["random site"] = np.mean(after, axis=0)
        lacks = np.array([row["answer"] in site.missing for row in site.heldout])
        for part, chosen in (("known", ~lacks), ("missing", lacks)):
            scores = {stage: round(100 * float(hits[chosen].mean()), 1) for stage, hits in right.items()}
            against = {other: gain([(right["consensus"][chosen], right[other][chosen])], rng) for other in OTHERS}
            rows.append({"site": name, "part": part, "exact_match": scores, "consensus_minus": against})
            parts[part].append({stage: hits[chosen] for stage, hits in right.items()})
    document = {"schema": 1, "round": ROUND, "sites": rows, "mean": _mean(parts, rng)}
    sys.stdout.write(json.dumps(document, indent=None if arguments.json else 1) + "\n")


def _mean(parts: dict[str, list[dict[str, np.ndarray]]], rng: np.random.Generator) -> dict:
    """Means over sites; intervals resample the phrases of each site."""
    result = {}
    for part, sites in parts.items():
        scores = {s: round(100 * float(np.mean([site[s].mean() for site in sites])), 1) for s in sites[0]}
        best = gain([(site["consensus"], site["base"], site["local"]) for site in sites], rng)
        result[part] = {
            "exact_match": scores,
            "consensus_minus": {o: gain([(site["consensus"], site[o]) for site in sites], rng) for o in OTHERS},
            "consensus_minus_max_base_local": best[0],
        }
    return result


if __name__ == "__main__":
    main()
