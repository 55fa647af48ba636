"""What each site of `epsilon.py` does, and the consensus between; every result is kept as a file.

This reads every site's records and is therefore no part of a federation.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.client.answers import answers_right, best_candidates
from semfed_secure.client.config import ValidationSection
from semfed_secure.client.records import LabelledPrompt
from semfed_secure.consensus import RoundReport, Status, Votes, anchor_counts, evaluate, round_report
from semfed_secure.demo.data import FederationData, Row
from semfed_secure.demo.plan import Scale, SiteRole, settle
from semfed_secure.demo.workspace import foreign_answers
from semfed_secure.llm.local import LocalModel
from semfed_secure.llm.model import Record, TrainingPlan
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.privacy.accountant import noise_multiplier_for
from semfed_secure.server.config import RoundsSection
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import ConsensusRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

KIND, NONE = "votes", "none"
SHARES = {"--min-support": "min_support_ppm", "--min-margin": "min_margin_ppm"}  # options of ``semfed round open``
NONCE = bytes(32)  # of the round: decides ties only
MAX_SCORE_DROP = float(ValidationSection.model_fields["max_score_drop"].default)

Document = dict[str, Any]


class Bench:
    """The sites of one run, the same in every process."""

    def __init__(self, work: Path, scale: Scale, models: Mapping[str, Path], *, steps: int) -> None:
        self.work, self.scale, self.steps = work, scale, steps
        self.data = FederationData(work / "data")
        sites = settle(self.data, scale, without=(SiteRole.BROKEN, SiteRole.LATE))
        self.honest = {site.id: site for site in sites if site.role is SiteRole.HONEST}
        self.liar = next(site.id for site in sites if site.role is SiteRole.MALICIOUS)
        self.asked = self.data.prompts[: scale.asked[KIND]]
        self.prompts = [self.data.question(row, KIND) for row in self.asked]
        self.heldout = self.data.heldout[: scale.measured[KIND]]
        known = self.data.gold[: scale.gold[KIND]]
        self.gold = {place: self.data.candidates.index(row.label) for place, row in enumerate(known)}
        self._sources, self._loaded = models, dict[str, LocalModel]()

    def base(self, family: str) -> Document:
        """The untrained model on the held-out phrases."""

        def measure() -> Document:
            model = self._model(family)
            model.use_adapter(None)
            return {"right": self._right(model, self.heldout)}

        return once(self.work / f"base-{family}.json", measure)

    def fit(self, epsilon: str, name: str) -> Document:
        """Private training of one site: its adapter, its votes, what it gets right."""
        site, directory = self.honest[name], self._directory(epsilon, name)

        def train() -> Document:
            model, plan, data = self._model(site.family), self.plan(epsilon), self.data
            records = [
                Record(row.entity_id, data.question(row, KIND), data.answer(row, KIND)) for row in data.records[name]
            ]
            model.use_adapter(None)
            target = _emptied(directory / "trained")
            model.fit_private(records, candidates=data.candidates, plan=plan, directory=target, progress=_silently)
            return {
                "noise_multiplier": plan.noise_multiplier,
                "votes": best_candidates(model, self.prompts, [data.candidates] * len(self.prompts)),
                "validation": float(np.mean(self._right(model, data.validation))),
                "right": self._right(model, self.heldout),
            }

        return once(directory / "trained.json", train)

    def learn(self, epsilon: str, name: str, labels: Sequence[int]) -> Document:
        """One site learns the agreed labels (-1: none), and keeps that unless its validation score drops too far."""
        site, directory, before = self.honest[name], self._directory(epsilon, name), self.fit(epsilon, name)
        agreed = {
            prompt: self.data.candidates[vote] for prompt, vote in zip(self.prompts, labels, strict=True) if vote >= 0
        }

        def train() -> Document:
            if not agreed:
                return {"kept": None, "right": before["right"]}
            model, target = self._model(site.family), _emptied(directory / "learned")
            model.use_adapter(directory / "trained")
            texts, answers = list(agreed), list(agreed.values())
            model.fit_labels(texts, answers, candidates=self.data.candidates, directory=target, progress=_silently)
            score = float(np.mean(self._right(model, self.data.validation)))
            kept = score >= before["validation"] - MAX_SCORE_DROP
            return {"kept": kept, "right": self._right(model, self.heldout) if kept else before["right"]}

        digest = hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()
        return once(directory / f"learned-{digest[:12]}.json", train)

    def plan(self, epsilon: str) -> TrainingPlan:
        """The demo's training with other steps, at this ε; entities are counted by the public bound."""
        training, noise = self.scale.training, 0.0
        if epsilon != NONE:
            noise = noise_multiplier_for(epsilon, training.delta, training.sample_rate, self.steps)
        bound = self.data.description.population_bound
        return TrainingPlan(
            mechanism=Mechanism.UNSAFE_NO_NOISE if epsilon == NONE else Mechanism.DP_SGD,
            noise_multiplier=noise,
            sample_rate=training.sample_rate,
            steps=self.steps,
            clip_norm=training.clip_norm,
            expected_entities=training.sample_rate * bound,
        )

    def consensus(self, fits: Mapping[str, Document]) -> tuple[list[int], RoundReport]:
        """Agreed label per prompt, -1 for none, and the server's report; the liar votes beside the fitted sites."""
        lies = foreign_answers(self.data, KIND, SiteRole.MALICIOUS)
        ballots = {name: fit["votes"] for name, fit in fits.items()}
        ballots[self.liar] = [self.data.candidates.index(lies[row.id]) for row in self.asked]
        members, ids, rule = sorted(ballots), tuple(row.id for row in self.asked), rule_of(self.scale)
        answers = np.array([ballots[name] for name in members], np.int64)
        evidence = Votes(answers, np.full(len(ids), len(self.data.candidates), np.int64), ids, NONCE)
        outcomes, weights = evaluate(evidence, rule, anchors=anchor_counts(evidence, self.gold))
        report = round_report(evidence, outcomes, weights, rule=rule, members=members, prompt_ids=ids)
        return np.where(outcomes.status == Status.AGREED, outcomes.label, -1).tolist(), report

    def _directory(self, epsilon: str, name: str) -> Path:
        return self.work / "sites" / f"{name}-{epsilon}"

    def _model(self, family: str) -> LocalModel:
        if family not in self._loaded:
            process = {"threads": 1, "state_cache": str(self.work / "public-states")}
            settings = LocalSettings.model_validate({**process, **self.scale.settings[family]})
            self._loaded[family] = LocalModel(self._sources[family], settings)
        return self._loaded[family]

    def _right(self, model: LocalModel, rows: Sequence[Row]) -> list[bool]:
        data = self.data
        asked = [LabelledPrompt(data.question(r, KIND), data.answer(r, KIND), data.candidates) for r in rows]
        return answers_right(model, asked)


def rule_of(scale: Scale) -> ConsensusRule:
    """The terms of the demo's round of votes, completed by a server's defaults; weights are by gold prompts."""
    given = zip(scale.terms[KIND][::2], scale.terms[KIND][1::2], strict=True)
    terms = RoundsSection.model_validate({SHARES[option]: round(1_000_000 * float(value)) for option, value in given})
    return ConsensusRule(
        name="weighted_plurality",
        min_clients=terms.min_clients,
        min_support_ppm=terms.min_support_ppm,
        min_margin_ppm=terms.min_margin_ppm,
        similarity_ppm=0,
        trim_ppm=0,
        weights="anchored",
    )


def once(path: Path, make: Callable[[], Document]) -> Document:
    """What ``make`` says, with its seconds; the file appears whole or not at all, and is asked from then on."""
    if not path.exists():
        wall, cpu = time.monotonic(), time.process_time()
        made = make() | {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(made), encoding="utf-8")
        beside.replace(path)
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _emptied(directory: Path) -> Path:
    """``directory`` without what a killed run left in it."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _silently(done: int, total: int) -> None:
    """Progress is shown fit by fit."""
