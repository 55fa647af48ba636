"""What ε costs: the demo's round of votes once for each of several budgets, after longer private training.

``python benchmarks/epsilon.py --json`` builds the hospital data and, for each ε, does what the sites of ``semfed demo``
do in their first round: every honest site trains privately, answers the public prompts, learns what was agreed, and
keeps that unless its validation score drops. The demo's liar votes too. ``none`` is the same clipping without noise.
Models, settings, terms and code are the demo's; keys, servers and logs are left out. It prints exact match on the
held-out phrases of known and of missing departments, with paired bootstrap intervals over phrases.

Every fit is a file in ``--work``: after a kill the same command goes on where it was. Noise and fresh adapters are
drawn from the system, so another run gives other figures, and the intervals do not cover that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from bootstrap import gain
from epsilon_sites import KIND, NONE, Bench, Document

from semfed_secure import __version__
from semfed_secure.columns import table
from semfed_secure.demo.examples import HOSPITAL, build_example
from semfed_secure.demo.scales import FAST, FULL
from semfed_secure.demo.weights import prepare
from semfed_secure.demo.workspace import OFFLINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from semfed_secure.demo.plan import Scale

EPSILONS = (NONE, "8", "3", "1")
STEPS = 20
PARTS = ("known", "missing")
STAGES = ("base", "local", "consensus")
PACKAGES = ("torch", "transformers", "peft", "opacus", "dp-accounting", "numpy", "simple-icd-10-cm")

_bench: list[Bench] = []  # of this worker process


def _start(work: Path, scale: Scale, models: Mapping[str, Path], steps: int) -> None:
    _bench.append(Bench(work, scale, models, steps=steps))


def _do(method: str, *arguments: object) -> Document:
    return dict(getattr(_bench[0], method)(*arguments))


def in_turn(pool: ProcessPoolExecutor, jobs: Sequence[tuple[object, ...]]) -> dict[tuple[object, ...], Document]:
    """The result of every job, by its method and first two arguments; says on stderr what is done."""
    waiting = {pool.submit(_do, *job): job[:3] for job in jobs}
    found = {}
    for future in as_completed(waiting):
        name, result = waiting[future], future.result()
        found[name] = result
        print(f"{len(found)}/{len(waiting)} {' '.join(map(str, name))}: {result['seconds']:.0f} s", file=sys.stderr)
    return found


def measure(bench: Bench, epsilons: Sequence[str], pool: ProcessPoolExecutor) -> list[Document]:
    """One entry per ε."""
    done = in_turn(pool, [("base", family) for family in sorted({s.family for s in bench.honest.values()})])
    done |= in_turn(pool, [("fit", epsilon, name) for epsilon in epsilons for name in bench.honest])
    rounds = {e: bench.consensus({name: done["fit", e, name] for name in bench.honest}) for e in epsilons}
    done |= in_turn(pool, [("learn", e, name, labels) for e, (labels, _) in rounds.items() for name in bench.honest])
    rng, gold = np.random.default_rng(1), {row.id: row.label for row in bench.data.gold}
    curve = []
    for epsilon, (labels, report) in rounds.items():
        agreed = [
            (gold[row.id], bench.data.candidates[vote])
            for row, vote in zip(bench.asked, labels, strict=True)
            if vote >= 0
        ]
        liar = next(row for row in report.clients if row.member == bench.liar)
        hits = {}
        for name, site in bench.honest.items():
            results = (done["base", site.family], done["fit", epsilon, name], done["learn", epsilon, name])
            hits[name] = dict(zip(STAGES, (np.array(result["right"]) for result in results), strict=True))
        curve.append(
            {
                "epsilon": epsilon,
                "round": {
                    "agreed": report.agreed,
                    "contested": report.contested,
                    "too_few": report.too_few,
                    "agreed_right": sum(right == label for right, label in agreed),
                    "attacker_label_agreed": liar.influence.agreed_only_with,
                    "weights_ppm": {row.member: row.weight_ppm for row in report.clients},
                },
                "sites": [_site(bench, epsilon, name, hits[name], done, rng) for name in bench.honest],
                "mean": _scores(bench, hits, rng),
                "cpu_seconds": round(sum(result["cpu_seconds"] for key, result in done.items() if epsilon in key[1:2])),
            }
        )
    return curve


def _site(
    bench: Bench, epsilon: str, name: str, hits: Mapping[str, np.ndarray], done: Mapping, rng: np.random.Generator
) -> Document:
    return {
        "site": name,
        "model": bench.honest[name].family,
        "noise_multiplier": done["fit", epsilon, name]["noise_multiplier"],
        "kept": done["learn", epsilon, name]["kept"],
        **_scores(bench, {name: hits}, rng),
    }


def _scores(bench: Bench, hits: Mapping[str, Mapping[str, np.ndarray]], rng: np.random.Generator) -> Document:
    """Exact match of these sites, the mean over them, and how far the consensus leads; in per cent and points."""
    scores = {}
    for part in PARTS:
        sites = []
        for name, stages in hits.items():
            lacks = np.array([row.label in bench.honest[name].plan.missing for row in bench.heldout])
            chosen = lacks if part == "missing" else ~lacks
            sites.append({stage: right[chosen] for stage, right in stages.items()})
        scores[part] = {
            "exact_match": {s: round(100 * float(np.mean([site[s].mean() for site in sites])), 1) for s in STAGES},
            "consensus_minus_local": gain([(site["consensus"], site["local"]) for site in sites], rng),
            "consensus_minus_max_base_local": gain([[site[s] for s in reversed(STAGES)] for site in sites], rng),
        }
    return scores


def same_run(work: Path, description: Document) -> None:
    """Remember what this directory's fits were made with; refuse to mix them with others."""
    path, text = work / "run.json", json.dumps(description, indent=1, ensure_ascii=False)
    if not path.exists():
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        sys.exit(f"{work} holds fits of other settings (run.json): give another --work")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("epsilon-run"), help="where fits are kept")
    parser.add_argument("--epsilon", action="append", help="`none` or a number; repeat it; none, 8, 3, 1")
    parser.add_argument("--steps", type=int, default=STEPS, help="of private training; the demo takes 12")
    parser.add_argument("--seed", type=int, default=1, help="decides which phrase goes where")
    parser.add_argument("--fast", action="store_true", help="the sizes of `semfed demo --fast`")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    start, work, scale = time.monotonic(), arguments.work.resolve(), FAST if arguments.fast else FULL
    epsilons = tuple(arguments.epsilon or EPSILONS)
    versions = {"semfed-secure": __version__, "python": sys.version.partition(" ")[0]}
    versions |= {name: version(name) for name in PACKAGES}
    settings = {
        "seed": arguments.seed,
        "steps": arguments.steps,
        "sample_rate": scale.training.sample_rate,
        "clip_norm": scale.training.clip_norm,
        "delta": scale.training.delta,
        "scale": scale.name,
        "prompts": scale.asked[KIND],
        "gold": scale.gold[KIND],
        "heldout": scale.measured[KIND],
        "models": {family: dict(scale.settings[family]) for family in scale.families},
        "terms": list(scale.terms[KIND]),
    }
    same_run(work, {"settings": settings, "versions": versions})
    os.environ.update(OFFLINE)
    build_example(HOSPITAL, work / "data", seed=arguments.seed, small=arguments.fast)
    models = prepare(scale.families, report=lambda line: print(line, file=sys.stderr))
    bench = (work, scale, models, arguments.steps)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context, initializer=_start, initargs=bench) as pool:
        curve = measure(Bench(work, scale, models, steps=arguments.steps), epsilons, pool)
    document = {
        "schema": 1,
        "command": " ".join(["python", "benchmarks/epsilon.py", *sys.argv[1:]]),
        "versions": versions,
        "cores": os.cpu_count(),
        "workers": arguments.workers,
        "seconds": round(time.monotonic() - start),
        "settings": settings,
        "curve": curve,
    }
    print(json.dumps(document, indent=1, ensure_ascii=False) if arguments.json else summary(curve))


def summary(curve: Sequence[Document]) -> str:
    """One line per ε: exact match on known and on missing departments, and the round."""
    rows = []
    for point in curve:
        scores = [point["mean"][part]["exact_match"][stage] for part in PARTS for stage in STAGES]
        rows.append([point["epsilon"], *scores, point["round"]["agreed"], point["round"]["attacker_label_agreed"]])
    return table(["ε", *(f"{part} {stage}" for part in PARTS for stage in STAGES), "agreed", "only the liar's"], rows)


if __name__ == "__main__":
    main()
