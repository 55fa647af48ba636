"""How fast many prompts are averaged robustly: our rules against byzfl's and Flower's, in the same run and in turns.

    python benchmarks/consensus.py [--runs 5] [--only numpy] [--json]

Two sizes: 10 000 prompts of 20 clients with the compiled rules, and 512 prompts of 32 clients with plain numpy; 384
dimensions. A time is the least of the runs, of the wall and of the CPU; the machine's load stands beside them, and the
bandwidth at which it copies the same array. byzfl takes one prompt a call, or for coordinate-wise rules all of them
at once: its better form counts. Its geometric median gets as many steps as it needs for a sum of distances within
0.1 % of the least, and ours is held to the same, against a reference of far more steps. The peers are found if they
lie beside this package, whose dependencies flwr would otherwise replace, and are left out and named where missing:

    pip install --no-deps --target peers byzfl flwr protobuf grpcio iterators tomli tomli-w pycryptodome
    OMP_NUM_THREADS=1 PYTHONPATH=peers python benchmarks/consensus.py --json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import sys
import time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus import rules

if TYPE_CHECKING:
    from collections.abc import Callable

    Calls = dict[str, dict[str, Callable[[], object]]]

DIMENSIONS = 384
SIZES = {"compiled": (10_000, 20, 4), "numpy": (512, 32, 6)}
QUALITY = 1e-3
STREAMED, BLOCK = 2_000, 50


def vectors(prompts: int, clients: int) -> np.ndarray:
    """Directions of honest clients about one answer (cosine about 0.7), every fifth client somewhere else."""
    chance = np.random.default_rng(0)
    found = chance.standard_normal((prompts, clients, DIMENSIONS), dtype=np.float32)
    middle = 1.5 * chance.standard_normal((prompts, 1, DIMENSIONS), dtype=np.float32)
    found[:, clients // 5 :] += middle
    return found / np.linalg.norm(found, axis=2, keepdims=True)


def sums_of_distances(given: np.ndarray, points: np.ndarray) -> np.ndarray:
    """What the geometric median makes least, for each prompt."""
    return np.array(
        [np.linalg.norm(rows.astype(float) - point, axis=1).sum() for rows, point in zip(given, points, strict=True)]
    )


def least_sums(given: np.ndarray) -> np.ndarray:
    """The least sums of distances, by 300 plain steps in float64."""
    least = []
    for rows in given.astype(float):
        point = rows.mean(axis=0)
        for _ in range(300):
            pull = 1 / np.maximum(np.linalg.norm(rows - point, axis=1), 1e-12)
            point = pull @ rows / pull.sum()
        least.append(np.linalg.norm(rows - point, axis=1).sum())
    return np.array(least)


def byzfl_rules() -> ModuleType | None:
    """Its aggregators, without the part of its package that wants torchvision."""
    found = find_spec("byzfl")
    if found is None or find_spec("torch") is None:
        return None
    package = ModuleType("byzfl")
    package.__path__ = list(found.submodule_search_locations or ())
    sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators.aggregators")


def flower_krum(faults: int) -> Callable[[np.ndarray], object] | None:
    """Flower's Krum on one prompt."""
    if find_spec("flwr") is None:
        return None
    aggregate = importlib.import_module("flwr.server.strategy.aggregate")
    return lambda rows: aggregate.aggregate_krum([([row], 1) for row in rows], faults, 0)


def steps_needed(byzfl: ModuleType, given: np.ndarray, least: np.ndarray) -> int:
    """How many steps byzfl's geometric median needs for the quality."""
    for steps in range(1, 100):
        rule = byzfl.GeometricMedian(nu=1e-6, T=steps)
        if (sums_of_distances(given, np.stack([rule(rows) for rows in given])) <= (1 + QUALITY) * least).all():
            return steps
    raise SystemExit("byzfl's geometric median does not settle")


def ours(given: np.ndarray, faults: int, *, compiled: bool) -> dict[str, Callable[[], object]]:
    """Our calls."""
    return {
        "trimmed mean": partial(rules.trimmed_mean, given, faults=faults, compiled=compiled),
        "geometric median": partial(rules.geometric_median, given, compiled=compiled),
        "krum": partial(rules.krum, given, faults=faults, compiled=compiled),
        "multi-krum": partial(rules.multi_krum, given, faults=faults, compiled=compiled),
    }


def theirs(byzfl: ModuleType, given: np.ndarray, faults: int, steps: int) -> Calls:
    """byzfl's calls by form: numpy and torch, one prompt a call, or all at once where a rule allows it."""
    torch = importlib.import_module("torch")

    torch.set_num_threads(1)
    tensor = torch.from_numpy(given)
    flat, flat_tensor = (np.ascontiguousarray(given.swapaxes(0, 1)).reshape(given.shape[1], -1) for _ in range(2))
    made = {
        "trimmed mean": byzfl.TrMean(f=faults),
        "geometric median": byzfl.GeometricMedian(nu=1e-6, T=steps),
        "krum": byzfl.Krum(f=faults),
        "multi-krum": byzfl.MultiKrum(f=faults),
    }
    calls: Calls = {}
    for name, rule in made.items():
        calls[name] = {
            "numpy, by prompt": partial(lambda rule: [rule(rows) for rows in given], rule),
            "torch, by prompt": partial(lambda rule: [rule(rows) for rows in tensor], rule),
        }
    calls["trimmed mean"]["numpy, all at once"] = partial(made["trimmed mean"], flat)
    calls["trimmed mean"]["torch, all at once"] = partial(made["trimmed mean"], torch.from_numpy(flat_tensor))
    return calls


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(how: str, runs: int, byzfl: ModuleType | None) -> dict[str, object]:
    """One size: everything in turns, so that a slow minute of the machine meets all of it."""
    prompts, clients, faults = SIZES[how]
    given = vectors(prompts, clients)
    part = given[:: max(prompts // 256, 1)]
    least = least_sums(part)
    mine = ours(given, faults, compiled=how == "compiled")
    found = ours(part, faults, compiled=how == "compiled")["geometric median"]()
    calls = {(name, "ours"): call for name, call in mine.items()}
    target = np.empty_like(given)
    calls["copy", "numpy"] = partial(np.copyto, target, given)
    steps = None
    if byzfl is not None:
        steps = steps_needed(byzfl, part, least)
        for name, forms in theirs(byzfl, given, faults, steps).items():
            calls |= {(name, form): call for form, call in forms.items()}
    krum = flower_krum(faults)
    if krum is not None and how == "numpy":
        calls["krum", "Flower"] = lambda: [krum(rows) for rows in given]
    for call in mine.values():
        call()
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(runs):
        for key, call in calls.items():
            seen.setdefault(key, []).append(timed(call))
    best = {key: tuple(min(run[clock] for run in times) for clock in (0, 1)) for key, times in seen.items()}
    return {
        "prompts": prompts,
        "clients": clients,
        "dimensions": DIMENSIONS,
        "liars": faults,
        "megabytes": round(given.nbytes / 1e6),
        "copied_gigabytes_per_second": round(2 * given.nbytes / best["copy", "numpy"][0] / 1e9, 2),
        "worst_excess_of_the_sum_of_distances": float((sums_of_distances(part, found) / least - 1).max()),
        "steps_of_byzfl": steps,
        "rules": {name: compared(name, best, seen, given.nbytes) for name in mine},
    }


def compared(name: str, best: dict, seen: dict, size: int) -> dict[str, object]:
    """One rule: milliseconds of each form, how much they vary, and the ratios to the better forms."""
    forms = {form: times for (rule, form), times in best.items() if rule == name}
    others = {form: times for form, times in forms.items() if form not in {"ours", "Flower"}}
    found: dict[str, object] = {
        form: {
            "wall_ms": round(1e3 * wall, 2),
            "cpu_ms": round(1e3 * cpu, 2),
            "slowest_run_wall_ms": round(1e3 * max(run[0] for run in seen[name, form]), 2),
        }
        for form, (wall, cpu) in forms.items()
    }
    found["read_gigabytes_per_second"] = round(size / forms["ours"][0] / 1e9, 2)
    for label, against in (("byzfl", others), ("Flower", {k: v for k, v in forms.items() if k == "Flower"})):
        if against:
            for clock, unit in ((0, "wall"), (1, "cpu")):
                least = min(times[clock] for times in against.values())
                found[f"ratio_to_{label}_{unit}"] = round(least / forms["ours"][clock], 1)
    return found


def streamed_memory() -> dict[str, object]:
    """Peak memory over what the process held before, for prompts of 200 clients that come in blocks."""
    chance = np.random.default_rng(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    coming = (chance.standard_normal((BLOCK, 200, DIMENSIONS), dtype=np.float32) for _ in range(STREAMED // BLOCK))
    seconds, rows = time.process_time(), 0
    for found in map(rules.geometric_median, coming):
        rows += len(found)
    return {
        "prompts": rows,
        "clients": 200,
        "megabytes_of_input": round(rows * 200 * DIMENSIONS * 4 / 1e6),
        "peak_above_start_megabytes": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cpu_seconds": round(time.process_time() - seconds, 1),
    }


def installed(name: str) -> str:
    """Its version, or that it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=[*SIZES])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    memory = streamed_memory()  # first: the peak of a process never falls
    before = os.getloadavg()[0]
    byzfl = byzfl_rules()
    sizes = {how: measure(how, arguments.runs, byzfl) for how in SIZES if arguments.only in {None, how}}
    found = {
        "runs": arguments.runs,
        "machine": {
            "cpus": os.cpu_count(),
            "architecture": platform.machine(),
            "load_before": round(before, 1),
            "load_after": round(os.getloadavg()[0], 1),
        },
        "versions": {name: installed(name) for name in ("numpy", "numba", "byzfl", "flwr", "torch")},
        "streamed": memory,
        "sizes": sizes,
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"streamed {memory}\nload {found['machine']}")
    for how, size in sizes.items():
        print(f"{how}: copy {size['copied_gigabytes_per_second']} GB/s")
        for name, row in size["rules"].items():
            print(f"  {name}: {row}")


if __name__ == "__main__":
    main()
