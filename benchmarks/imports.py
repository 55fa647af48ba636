"""How long the parts start: a fresh interpreter each time, the interpreter's own start taken off.

``python benchmarks/imports.py --json`` prints medians in milliseconds; the bar for ``import semfed_secure`` is 300.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

STATEMENTS = {
    "nothing": "pass",
    "import semfed_secure": "import semfed_secure",
    "from semfed_secure import Client": "from semfed_secure import Client",
    "semfed audit verify (imports)": "import semfed_secure.cli.audit",
}


def milliseconds(statement: str, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {name: milliseconds(statement, arguments.runs) for name, statement in STATEMENTS.items()}
    own = {name: round(found[name] - found["nothing"], 1) for name in STATEMENTS if name != "nothing"}
    if arguments.json:
        print(json.dumps({"schema": 1, "runs": arguments.runs, "milliseconds": own}))
    else:
        print("\n".join(f"{name:40} {value:8.1f} ms" for name, value in own.items()))


if __name__ == "__main__":
    main()
