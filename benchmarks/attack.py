"""Attack the demo's private training as ``semfed audit-privacy`` does, on the real small model.

``python benchmarks/attack.py --epsilon 8 --json`` builds the hospital data in its small size, takes the records of one
site and the demo's fast settings, makes up canaries of as many records as an entity may have, and trains and attacks
the production plan and broken variants of it. Keys, policy and log are left out: the command adds only these. It
prints the report; ``--svg FILE`` also draws it. Noise, coins and canaries are drawn from the system, so another run
gives other figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path

from semfed_secure import __version__
from semfed_secure.client.attack_audit import audit
from semfed_secure.client.attack_chart import chart
from semfed_secure.client.attack_report import summary
from semfed_secure.client.attack_run import Variant
from semfed_secure.client.attack_verdict import Claim
from semfed_secure.demo.data import FederationData
from semfed_secure.demo.examples import HOSPITAL, build_example
from semfed_secure.demo.scales import FAST, SMOLLM
from semfed_secure.demo.weights import prepare
from semfed_secure.demo.workspace import OFFLINE
from semfed_secure.ids import PromptId
from semfed_secure.llm.local import LocalModel
from semfed_secure.llm.model import Record, TrainingPlan
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.privacy.accountant import noise_multiplier_for
from semfed_secure.units import Mechanism
from semfed_secure.wire.prompts import Prompt, PromptSet

KIND, SITE = "votes", "st-mary"
BROKEN = [variant for variant in Variant if variant is not Variant.PRODUCTION]
PACKAGES = ("torch", "transformers", "peft", "opacus", "dp-accounting", "numpy", "simple-icd-10-cm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epsilon", default="8")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--canaries", type=int, default=40)
    parser.add_argument("--records-each", type=int, default=8)
    parser.add_argument("--records", type=int, default=60)
    parser.add_argument("--prompts", type=int, default=30)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--broken", nargs="+", type=Variant, default=BROKEN)
    parser.add_argument("--work", type=Path, default=Path("attack-run"))
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    start, cpu = time.monotonic(), time.process_time()
    os.environ.update(OFFLINE)
    data = data_in(arguments.work / "data")
    models = prepare([SMOLLM], report=lambda line: print(line, file=sys.stderr))
    delta, steps = FAST.training.delta, arguments.steps
    plan = TrainingPlan(
        mechanism=Mechanism.DP_SGD,
        noise_multiplier=noise_multiplier_for(arguments.epsilon, delta, FAST.training.sample_rate, steps),
        sample_rate=FAST.training.sample_rate,
        steps=steps,
        clip_norm=FAST.training.clip_norm,
        expected_entities=FAST.training.sample_rate * data.description.population_bound,
    )
    settings = {"threads": 1, "rank": 8, **FAST.settings[SMOLLM], "layers": arguments.layers}
    own = data.records[SITE][: arguments.records]
    asked = tuple(Prompt(PromptId(row.id), data.question(row, KIND)) for row in data.prompts[: arguments.prompts])
    report = audit(
        LocalModel(models[SMOLLM], LocalSettings.model_validate(settings)),
        plan=plan,
        claim=Claim(float(arguments.epsilon), float(delta)),
        records=[Record(row.entity_id, data.question(row, KIND), data.answer(row, KIND)) for row in own],
        prompts=PromptSet("demo", asked, data.candidates),
        canaries=arguments.canaries,
        records_each=arguments.records_each,
        broken=arguments.broken,
        progress=lambda line: print(f"{time.monotonic() - start:.0f} s: {line}", file=sys.stderr),
    )
    report["settings"] |= {"model": SMOLLM, "records": len(own), **settings}
    report["made_by"] = {
        "command": " ".join(["python", "benchmarks/attack.py", *sys.argv[1:]]),
        "versions": {"semfed-secure": __version__} | {name: version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "cpu_seconds": round(time.process_time() - cpu),
    }
    if arguments.svg is not None:
        arguments.svg.write_text(chart(report), encoding="utf-8")
    print(json.dumps(report, indent=1, ensure_ascii=False) if arguments.json else summary(report))


def data_in(directory: Path) -> FederationData:
    """The hospital example, built once."""
    if not directory.exists():
        build_example(HOSPITAL, directory, seed=1, small=True)
    return FederationData(directory)


if __name__ == "__main__":
    main()
