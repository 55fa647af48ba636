"""Does consensus hold when a participant is much weaker than the others? Real models learn, agree, and are measured.

    SEMFED_CACHE=cache python benchmarks/learning.py --work learning-run
    SEMFED_CACHE=cache python benchmarks/learning.py --work learning-run --report --json

The first command works through the plan (docs/explanation/learning-plan.md) in its order; every unit of work is a file
under ``--work``, so that it may be killed and goes on where it was. The second reads what is there, at any time, and
writes benchmarks/results/learning.json, the pictures and the tables of docs/explanation/learning.md. ``--fast`` is a
small run of everything for the tests of this project: its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import learning_report
from learning_arms import ANCHORS, MARGIN, SUPPORT
from learning_experiments import Experiment, NotYetError, conduct, fast_order, order
from learning_results import gather, group, later, seconds
from learning_tasks import FAST as FAST_SIZES
from learning_tasks import SIZES, divide, load_task
from learning_units import FAST, FULL, Lab
from learning_wire import round_bytes

from semfed_secure import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from learning_models import Learner
    from learning_open import Writer
    from learning_results import Key, Seeds
    from learning_tasks import Task

ROOT = Path(__file__).parents[1]
SEEDS = 10
PACKAGES = ("torch", "transformers", "peft", "numpy", "simple-icd-10-cm", "iso18245")


class Models:
    """The models of this process, each loaded when it is first needed."""

    def __init__(self, work: Path, device: str, *, fast: bool) -> None:
        self._work, self._device, self._fast = work, device, fast

    @cache  # noqa: B019 - as long as the process
    def learner(self, task: Task, family: str) -> Learner:
        """The model ``family`` for one task."""
        from learning_models import FAMILIES, FAST_FAMILIES, Learner  # noqa: PLC0415 - heavy

        from semfed_secure.demo.weights import prepare  # noqa: PLC0415 - heavy

        chosen = (FAST_FAMILIES if self._fast else FAMILIES)[family]
        sources = prepare((chosen.source,), report=_say)
        states = self._work / "states"
        states.mkdir(mode=0o700, exist_ok=True)
        return Learner(chosen, sources[chosen.source], task, states=states, device=self._device)


def run(experiments: Sequence[Experiment], tasks: dict[str, Task], work: Path, models: Models, *, fast: bool) -> None:
    """Do everything that is not done yet, in this order."""
    start = time.monotonic()
    for experiment in experiments:
        task = tasks[experiment.task]
        lab = Lab(
            task,
            experiment.seed,
            work,
            lambda family, task=task: models.learner(task, family),
            steps=FAST if fast else FULL,
        )
        conduct(lab, experiment)
        _say(f"{time.monotonic() - start:7.0f} s {experiment}")


def open_ended(work: Path, shared: Path, writer: Callable[[], Writer]) -> list[dict[str, Any]]:
    """The open-ended part; what ``writer`` does not do any more is left out."""
    from learning_open import SEEDS as SEEDS_OPEN  # noqa: PLC0415 - heavy
    from learning_open import WAYS, OpenLab, conduct_open, drawn_by, summary  # noqa: PLC0415

    from semfed_secure.demo.weights import prepare  # noqa: PLC0415
    from semfed_secure.llm.embedding import load_embedder  # noqa: PLC0415

    embedder = load_embedder(str(prepare(("all-minilm-l6-v2",), report=_say)["all-minilm-l6-v2"]))
    found = {}
    for seed, way in product(SEEDS_OPEN, WAYS):
        with suppress(NotYetError):
            found[way, seed] = conduct_open(OpenLab(shared, seed, way, work, writer), embedder)
            _say(f"medical, seed {seed}, {way}")
    return summary(found, {seed: drawn_by(shared, seed) for seed in SEEDS_OPEN}, embedder)


@cache
def _smollm() -> Writer:
    from learning_open import Writer  # noqa: PLC0415 - heavy

    from semfed_secure.demo.weights import prepare  # noqa: PLC0415

    return Writer(prepare(("smollm2-135m",), report=_say)["smollm2-135m"])


def _nobody() -> NoReturn:
    raise NotYetError


def document(experiments: Sequence[Experiment], tasks: dict[str, Task], work: Path, *, fast: bool) -> dict[str, Any]:
    """Everything that is finished."""
    found = gather(experiments, tasks, work)
    first = next(iter(tasks.values()))
    carried = round_bytes(first, divide(first, 1).asked[0])
    sizes = {f"a site's round of votes, {name}": size for name, size in carried.items()}
    sizes["a site's round of votes, everything"] = sum(carried.values())
    for family in ("smollm", "gemma"):
        for adapter in sorted(work.glob(f"*/seed-*/?-{family}-strong.safetensors"))[:1]:
            sizes[f"adapter of {family}, one way"] = adapter.stat().st_size
    return {
        "schema": 1,
        "command": f"python benchmarks/learning.py {'--fast' if fast else '--shared shared/data'}",
        "versions": {"semfed-secure": __version__, "python": sys.version.partition(" ")[0]}
        | {name: version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "settings": {
            "anchors": ANCHORS,
            "min_support_ppm": SUPPORT,
            "min_margin_ppm": MARGIN,
            "steps": {name: getattr(FAST if fast else FULL, name) for name in FULL.__slots__},
            "sizes": {
                name: {part: getattr(task.sizes, part) for part in SIZES[name].__slots__}
                for name, task in tasks.items()
            },
        },
        "bytes": sizes,
        "seconds": seconds(work),
        "groups": _finished(found),
        "confirming": _finished({key: later(arms) for key, arms in found.items()}),
    }


def _finished(found: Mapping[Key, Mapping[str, Seeds]]) -> list[dict[str, Any]]:
    return [one for one in (group(key, arms) for key, arms in found.items()) if one is not None]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("learning-run"), help="where units of work are kept")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--shared", type=Path, help="a directory with `bank/` and `hospital/`, for intents and open answers"
    )
    parser.add_argument("--device", default="cpu", help="where tensors lie, as PyTorch names it")
    parser.add_argument("--report", action="store_true", help="do nothing; write what was found so far")
    parser.add_argument("--fast", action="store_true", help="a small run of cut models, whose figures say nothing")
    parser.add_argument("--json", action="store_true", help="print the results")
    arguments = parser.parse_args()
    os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"})
    work, fast = arguments.work.resolve(), arguments.fast
    if fast and arguments.report:
        parser.error("figures of --fast are not reported")
    work.mkdir(parents=True, exist_ok=True)
    planned = list(fast_order() if fast else order(arguments.seeds))
    experiments = [one for one in planned if one.task != "intents" or arguments.shared]
    names = dict.fromkeys(one.task for one in experiments)
    tasks = {name: load_task(name, arguments.shared, FAST_SIZES if fast else None) for name in names}
    if not arguments.report:
        run(experiments, tasks, work, Models(work, arguments.device, fast=fast), fast=fast)
    found = document(experiments, tasks, work, fast=fast)
    if arguments.shared and not fast:
        found["medical"] = open_ended(work, arguments.shared, _nobody if arguments.report else _smollm)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
    if arguments.report:
        learning_report.write(found, ROOT)


if __name__ == "__main__":
    main()
