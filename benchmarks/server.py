"""What a round of texts costs its server, end to end: admit, embed, consensus, influence, publish.

    python benchmarks/server.py path/to/all-minilm-l6-v2 [--clients 50] [--prompts 512] [--json]

Everybody answers with titles and inclusion terms of ICD-10-CM: of a code that the prompt is about, or, one time in
five, of another one; one answer in twenty is an abstention. Once as models answer, many alike; once with every text
changed by a few words, so that no two answers to a prompt are equal. Commitments and bundles are made by production
code and posted to a server with keys, database and log on disk, without HTTP; the embedder is a real one. Figures are
CPU seconds of the server's one thread: what clients do is not counted, and neither is waiting for the disk. Each round
runs in a process of its own, whose peak of memory includes the embedder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import simple_icd_10_cm as icd
from bundles import text_bundle

from semfed_secure.clock import SystemClock
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.ids import MemberId, PromptId, RoundId
from semfed_secure.llm.embedding import SentenceEmbedder, load_embedder
from semfed_secure.testing import LocalFederation
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import encode_contribution
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

ROUND = "texts"
SCENES = {"alike": "as models answer, many alike", "distinct": "no two answers to a prompt equal"}
WARDS = ("seen", "noted", "found", "known", "met", "held", "read", "heard")
PLACES = ("here", "there", "early", "late", "often", "again", "today")


class CpuClock(SystemClock):
    """A clock that only the processor's work moves on."""

    def __init__(self) -> None:
        self._start = datetime.now(UTC)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.process_time())


class Counting:
    """The embedder, with the seconds that it took and the texts that it saw."""

    def __init__(self, model: SentenceEmbedder) -> None:
        self.model, self.seconds, self.texts = model, 0.0, 0
        self.name, self.weights_digest, self.dimension = model.name, model.weights_digest, model.dimension

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        start = time.process_time()
        vectors = self.model.embed(texts)
        self.seconds += time.process_time() - start
        self.texts += len(texts)
        return vectors


def answers(scene: str, clients: int, prompts: int) -> list[tuple[str | None, ...]]:
    """What each client says."""
    chance = random.Random(1)
    codes = [code for code in icd.get_all_codes() if not icd.is_chapter(code) and icd.get_inclusion_term(code)]
    codes = chance.sample(codes, prompts)

    def answer(code: str, client: int) -> str | None:
        about = chance.choices((code, chance.choice(codes), None), (75, 20, 5))[0]
        if about is None:
            return None
        text = icd.get_description(about) if chance.random() < 0.5 else chance.choice(icd.get_inclusion_term(about))
        words = f", {WARDS[client % 8]} {PLACES[client // 8 % 7]}" if scene == "distinct" else ""
        return f"{text}{words}"

    return [tuple(answer(code, client) for code in codes) for client in range(clients)]


def measure(source: str, scene: str, clients: int, prompts: int) -> dict[str, object]:
    """Hold one round."""
    rows = answers(scene, clients, prompts)
    asked = PromptSet(ROUND, tuple(Prompt(PromptId(f"p{n}"), f"What is case {n}?") for n in range(prompts)))
    model = Counting(load_embedder(source))
    with (
        tempfile.TemporaryDirectory() as directory,
        LocalFederation(
            Path(directory) / "federation",
            members=[f"site-{number}" for number in range(clients)],
            prompt_sets=[asked],
            embedder=model,
            close_when_complete=False,
            clock=CpuClock(),
        ) as federation,
    ):
        manifest = federation.open_round(ROUND, asked, kind=OutputKind.TEXT, max_new_tokens=64)
        bundles = [
            text_bundle(member, load_member_keys(federation.site(member) / "keys", PASSPHRASE).signing, manifest, row)
            for member, row in zip(map(MemberId, federation.members), rows, strict=True)
        ]
        transport, spent = federation.transport(), {}
        for phase, bodies in {
            "commitments": [encode_contribution(replace(each, sealed=())) for each in bundles],
            "admit": [encode_contribution(each) for each in bundles],
        }.items():
            start = time.process_time()
            for body in bodies:
                transport.post(RoundId(ROUND), body)
            spent[phase] = time.process_time() - start
            start = time.process_time()
            state = federation.close_round(ROUND)
        forming = time.process_time() - start
        assert state == "published", state
        report = federation.coordinator.status(RoundId(ROUND))["report"]
    (formed,) = report["groups"]
    assert len(formed["clients"]) == clients
    took = report["seconds"]
    spent["embed"] = model.seconds
    spent["resemblance"] = took["embed"] - model.seconds
    spent["consensus"], spent["influence"] = took["consensus"], took["influence"]
    spent["publish"] = forming - sum(took.values())
    given = [text for row in rows for text in row if text is not None]
    return {
        "what": SCENES[scene],
        "texts": len(given),
        "distinct_texts": len(set(given)),
        "embedded_texts": model.texts,
        "agreed": formed["agreed"],
        "contested": formed["contested"],
        "cpu_seconds": {name: round(value, 2) for name, value in spent.items()},
        "cpu_seconds_in_all": round(sum(spent.values()), 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure each scene in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", help="directory of the embedder")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--scene", choices=[*SCENES], help="this one only")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    if arguments.scene is not None:
        print(json.dumps(measure(arguments.embedder, arguments.scene, arguments.clients, arguments.prompts)))
        return
    scenes = {}
    for scene in SCENES:
        command = [sys.executable, __file__, *sys.argv[1:], "--scene", scene]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        scenes[scene] = json.loads(run.stdout)
    found = {
        "schema": 1,
        "command": f"python benchmarks/server.py {Path(arguments.embedder).name} --json",
        "clients": arguments.clients,
        "prompts": arguments.prompts,
        "embedder": Path(arguments.embedder).name,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "rounds": scenes,
    }
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for row in scenes.values():
        print(f"{row['what']}: {row}")


if __name__ == "__main__":
    main()
