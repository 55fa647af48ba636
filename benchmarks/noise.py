"""How fast integer noise is drawn: our exact discrete Gaussian against OpenDP's, in the same run and in turns.

    python benchmarks/noise.py [--rounds 9] [--json]

Rates are medians of CPU time of one thread, tables built before. Both samplers are exact, both draw from a
cryptographic source (ours from ChaCha20, OpenDP's from the operating system), and neither takes a seed. OpenDP is given
a vector of zeros through its compiled interface, so its rate holds no loop of Python. Beside them stands the bare
keystream.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import opendp.prelude as dp

from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.privacy.discrete_gaussian import DiscreteGaussian, _inversion

if TYPE_CHECKING:
    from collections.abc import Callable

SIGMAS = (0.7, 4.0, 50.0, 200.0, 1000.0, 1048576.0, 1e7, 1e11)
OURS, THEIRS = 2_000_000, 4_000


def rate(draw: Callable[[int], object], count: int) -> float:
    """Samples a second of CPU time."""
    started = time.process_time()
    draw(count)
    return count / (time.process_time() - started)


def opendp_sampler(sigma: float) -> Callable[[int], object]:
    """OpenDP's discrete Gaussian mechanism on a vector of zeros."""
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    mechanism = dp.m.make_gaussian(*space, scale=sigma)
    return lambda count: mechanism(np.zeros(count, dtype=np.int64).tolist())


def measure(rounds: int) -> dict[str, object]:
    """All rates, in turns, so that a slow minute of the machine meets all of them."""
    dp.enable_features("contrib")
    started, built = {}, {}
    for sigma in SIGMAS:
        _inversion.cache_clear()
        started[sigma] = time.process_time()
        built[sigma] = DiscreteGaussian.from_system(sigma)
        started[sigma] = time.process_time() - started[sigma]
    theirs = {sigma: opendp_sampler(sigma) for sigma in SIGMAS}
    stream = ChaChaStream.from_system()
    seen: dict[object, list[float]] = {}
    for _ in range(rounds):
        for sigma in SIGMAS:
            seen.setdefault(("ours", sigma), []).append(rate(built[sigma].draw, OURS))
            seen.setdefault(("opendp", sigma), []).append(rate(theirs[sigma], THEIRS))
        seen.setdefault("words", []).append(rate(stream.words, OURS))
    middle = {key: statistics.median(rates) for key, rates in seen.items()}
    return {
        "unit": "million values per second of CPU time, one thread, medians",
        "rounds": rounds,
        "machine": {"cpus": os.cpu_count(), "architecture": platform.machine(), "load": round(os.getloadavg()[0], 1)},
        "versions": {name: version(name) for name in ("numpy", "cryptography", "opendp")},
        "discrete_gaussian": [
            {
                "sigma": sigma,
                "ours": round(middle["ours", sigma] / 1e6, 1),
                "ours_slowest_round": round(min(seen["ours", sigma]) / 1e6, 1),
                "opendp": round(middle["opendp", sigma] / 1e6, 4),
                "ratio": round(middle["ours", sigma] / middle["opendp", sigma]),
                "tables_built_in_ms": round(1e3 * started[sigma], 1),
            }
            for sigma in SIGMAS
        ],
        "keystream_words": round(middle["words"] / 1e6, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for row in found["discrete_gaussian"]:
        print(f"sigma {row['sigma']:>12g}: {row['ours']:6.1f} M/s, OpenDP {row['opendp']:.3f} M/s, {row['ratio']}x")
    print(f"keystream {found['keystream_words']} M words/s")


if __name__ == "__main__":
    main()
