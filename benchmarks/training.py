"""What privacy adds to one training step of the demo's models, beside plain Opacus hooks and no privacy at all.

    python benchmarks/training.py [--entities 128] [--runs 5] [--family smollm2-135m] [--json]

All three take the same records of one site of the hospital example through the same split model with the demo's
settings; they differ in what is done with gradients. ``plain`` lets autograd sum them. ``hooks`` keeps each question's
gradient by Opacus' hooks, then sums, clips and adds per entity. ``ours`` is `semfed_secure.llm.clipping`, noise
included. The three run in turns in one process on one thread; figures are medians of CPU time. A family whose model is
not prepared is skipped and named.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from opacus.grad_sample import GradSampleHooks

from semfed_secure.demo.data import FederationData
from semfed_secure.demo.examples import HOSPITAL, build_example
from semfed_secure.demo.scales import SETTINGS
from semfed_secure.demo.weights import CATALOGUE, cache_directory
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.clipping import clipped_sum
from semfed_secure.llm.lessons import closed_lesson
from semfed_secure.llm.loading import load_causal_model
from semfed_secure.llm.questions import Wording
from semfed_secure.llm.reading import StateReader
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.llm.split import SplitModel
from semfed_secure.privacy.grid import GridNoise, values_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CLIP, NOISE = 1.0, 1.0


class Bench:
    """One family's model and the lessons of one batch."""

    def __init__(self, family: str, directory: Path, data: FederationData, entities: int) -> None:
        """Load the model and read the first ``entities`` of the first site."""
        settings = LocalSettings.model_validate({"threads": 1, **SETTINGS[family]})
        loaded = load_causal_model(directory)
        self.split = SplitModel(loaded.model, layers=settings.layers)
        self.adapter = LoraAdapter(loaded.model, settings)
        for parameter in self.adapter.parameters:  # a fresh adapter has a factor of zeros, and half of its gradient
            torch.nn.init.normal_(parameter, 0, 0.01)
        rows = next(iter(data.records.values()))
        names = list(dict.fromkeys(row.entity_id for row in rows))[:entities]
        self.owners = {name: place for place, name in enumerate(names)}
        asked = [
            (data.question(row, "votes"), data.answer(row, "votes"), self.owners[row.entity_id])
            for row in rows
            if row.entity_id in self.owners
        ]
        self.questions = len(asked)
        wording = Wording(loaded.tokenizer, most=settings.max_tokens)
        reader = StateReader(self.split, self.adapter, digest=loaded.digest, batch=settings.batch, share=None)
        self.lessons = closed_lesson(wording, asked, data.candidates, reader.private)
        self.noise = GridNoise(NOISE)

    def plain(self) -> Tensor:
        """A step without privacy."""
        for lesson in self.lessons:
            for piece in lesson.pieces(self.split, torch.arange(len(lesson))):
                torch.autograd.backward(piece.losses(self.split).sum())
        return self._taken("grad")

    def hooks(self) -> Tensor:
        """Opacus' per-question gradients, summed and clipped per entity."""
        own = torch.zeros(len(self.owners), sum(parameter.numel() for parameter in self.adapter.parameters))
        recording = GradSampleHooks(self.adapter.model, loss_reduction="sum", strict=False)
        for module in self.adapter.model.modules():
            module.training = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
                for lesson in self.lessons:
                    for piece in lesson.pieces(self.split, torch.arange(len(lesson))):
                        torch.autograd.backward(piece.losses(self.split).sum())
                        own.index_add_(0, piece.owners, self._taken("grad_sample"))
        finally:
            recording.cleanup()
            self.adapter.model.eval()
        total = (CLIP / own.norm(dim=1).clamp(min=CLIP)) @ own
        return total + NOISE * CLIP * torch.randn_like(total)

    def ours(self) -> Tensor:
        """Clipped sum and noise as in training."""
        total = clipped_sum(self.split, self.adapter.maps, self.lessons, torch.arange(len(self.owners)), CLIP)
        return torch.from_numpy(values_of(self.noise.add_to(total), CLIP))

    def _taken(self, name: str) -> Tensor:
        """Gradients as autograd or Opacus left them, one row for each question or one vector."""
        parts = [getattr(parameter, name) for parameter in self.adapter.parameters]
        found = torch.cat([part.flatten(0 if name == "grad" else 1) for part in parts], -1)
        for parameter in self.adapter.parameters:
            parameter.grad = parameter.grad_sample = None  # type: ignore[attr-defined] # Opacus keeps it there
        return found


def measure(bench: Bench, runs: int) -> dict[str, Any]:
    """Medians of CPU seconds, in turns, after one round to warm up."""
    steps: dict[str, Callable[[], Tensor]] = {"plain": bench.plain, "hooks": bench.hooks, "ours": bench.ours}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(runs + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            taken[name].append(time.process_time() - start)
    seconds = {name: statistics.median(times[1:]) for name, times in taken.items()}
    return {
        "entities": len(bench.owners),
        "questions": bench.questions,
        "parameters": sum(parameter.numel() for parameter in bench.adapter.parameters),
        "cpu_seconds": {name: round(value, 4) for name, value in seconds.items()},
        "all_cpu_seconds": {name: [round(value, 4) for value in times[1:]] for name, times in taken.items()},
        "over_plain": {name: round(seconds[name] / seconds["plain"], 3) for name in ("hooks", "ours")},
    }


def main() -> None:
    """Measure each family whose model is prepared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--family", action="append", choices=sorted(SETTINGS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        build_example(HOSPITAL, Path(work), seed=1, small=False)
        data = FederationData(Path(work))
        for family in arguments.family or sorted(SETTINGS):
            directory = cache_directory() / "models" / f"{family}-{CATALOGUE[family].payload_sha256[:12]}"
            if directory.is_dir():
                found[family] = measure(Bench(family, directory, data, arguments.entities), arguments.runs)
            else:
                found[family] = {"skipped": "the model is not prepared: run `semfed demo --prepare-only`"}
    if arguments.json:
        names = ("torch", "transformers", "peft", "opacus")
        head = {"machine": platform.machine(), "runs": arguments.runs, **{name: version(name) for name in names}}
        sys.stdout.write(json.dumps({**head, "families": found}, indent=2) + "\n")
    else:
        for family, row in found.items():
            sys.stdout.write(f"{family}: {row.get('over_plain', row)}\n")


if __name__ == "__main__":
    main()
