"""The audit by attack: what keeps its promise passes, what breaks it is refuted, and production is left alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from semfed_secure.audit.events import EventType
from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.cli import main
from semfed_secure.client import attack_audit
from semfed_secure.client.attack_audit import audit, audit_site, require_passed
from semfed_secure.client.attack_canaries import CODES, answers_of, make_canaries, worst_case_prompts
from semfed_secure.client.attack_run import Asked, Variant, attack, broken_variants, evidence, plan_of
from semfed_secure.client.attack_verdict import Claim, needed_matches
from semfed_secure.client.ballots import NearestPrompts
from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.errors import ConfigurationError, ExitCode, IntegrityError, PolicyDenied
from semfed_secure.ids import PromptId, hex_digest, sha256
from semfed_secure.llm.model import Record, TrainingPlan
from semfed_secure.privacy.accountant import noise_multiplier_for
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.client.linear_model import LinearModel
from tests.client.world import charges

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.world import World

LABELS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa")
WORDS = [f"{a}{b}{c}" for a in ("mar", "tol", "ren", "sig", "pul") for b in "aeiou" for c in ("ka", "lo", "mi")]
TEXTS = tuple(f"Case: {first} with {second}" for first, second in pairwise(WORDS))
PROMPTS = PromptSet("cases", tuple(Prompt(PromptId(f"p{n}"), text) for n, text in enumerate(TEXTS)), LABELS)
OWN = tuple(Record(f"patient-{n}", TEXTS[n % len(TEXTS)], LABELS[n % 10]) for n in range(60))
DELTA, STEPS, EACH = 1e-6, 4, 4


def plan(epsilon: float) -> TrainingPlan:
    """The least noise for ``epsilon`` when every entity is in every step."""
    noise = noise_multiplier_for(epsilon, DELTA, 1.0, STEPS)
    return TrainingPlan(Mechanism.DP_SGD, noise, 1.0, STEPS, 1.0, 100.0)


def canaries(count: int = 40, *, each: int = EACH, prompts: PromptSet = PROMPTS):
    """New ones."""
    return make_canaries(prompts, count=count, records_each=each, stream=ChaChaStream.from_system())


def audited(model: LinearModel, epsilon: float, *, count: int = 100) -> dict:
    """A whole audit of ``model`` under a plan and claim of ``epsilon``."""
    return audit(
        model,
        plan=plan(epsilon),
        claim=Claim(epsilon, DELTA),
        records=OWN,
        prompts=PROMPTS,
        canaries=count,
        records_each=EACH,
        broken=(Variant.NO_NOISE, Variant.NO_CLIPPING),
        progress=lambda line: None,
    )


def by_name(report: dict) -> dict[str, dict]:
    """The variants of a report."""
    return {row["variant"]: row for row in report["variants"]}


def test_canaries_are_random_and_hold_nothing_of_a_record():
    """Fair coins, uniform answers, questions of the prompts' words that nobody else asks."""
    made = canaries(400)
    assert 150 < sum(canary.member for canary in made) < 250
    questions = [question for canary in made for question in canary.questions]
    assert len(set(questions)) == len(questions) == 400 * EACH
    assert not {record.prompt for record in OWN} & set(questions)
    known = set(" ".join(TEXTS).casefold().replace(":", "").split())
    assert {word for question in questions for word in question.split()} <= known
    counts = Counter(answer for canary in made for answer in canary.answers)
    assert set(counts) == set(LABELS)
    assert max(counts.values()) < 1.5 * min(counts.values())
    assert {record.entity_id for record in made[0].records()} == {made[0].entity_id}
    assert made[0].questions[0] not in repr(made[0])


def test_prompts_of_too_few_words_make_no_canaries():
    """SF104, instead of canaries that are all alike."""
    few = PromptSet("few", (Prompt(PromptId("p"), "one phrase only"),), LABELS)
    with pytest.raises(ConfigurationError, match="SF104"):
        canaries(prompts=few)


def test_where_any_text_is_an_answer_canaries_answer_with_codes():
    """An open prompt set has no candidates to hide a secret among."""
    opened = replace(PROMPTS, candidates=())
    assert answers_of(opened) == CODES
    assert set(canaries(prompts=opened)[0].answers) <= set(CODES)


def test_worst_case_prompts_are_the_canaries_own_questions():
    """As a server would ask that knows them, with the candidates of the round."""
    made = canaries(3)
    asked = worst_case_prompts(made, PROMPTS)
    assert [prompt.text for prompt in asked.prompts] == [q for canary in made for q in canary.questions]
    assert asked.candidates == LABELS


@pytest.mark.parametrize("variant", list(Variant))
def test_a_variant_breaks_the_promise_that_it_names_and_no_other(variant):
    """The model is told the plan of the variant, and sees records as entities only where that is what is broken."""
    told: list[TrainingPlan] = []

    class Listening(LinearModel):
        def fit_private(self, records, *, plan, **rest):
            told.append(plan)
            super().fit_private(records, plan=plan, **rest)

    model, made, given = Listening(), canaries(20), plan(1.0)
    attack(model, variant, plan=given, records=OWN, canaries=made, prompts=PROMPTS)
    (trained,), (used,) = model.trained, told
    inside = [canary for canary in made if canary.member]
    assert len(trained) == len(OWN) + EACH * len(inside)
    entities = {record.entity_id for record in trained}
    split = variant is Variant.RECORD_INSTEAD_OF_ENTITY
    assert len(entities) == (len(trained) if split else len(OWN) + len(inside))
    noise = used.noise_multiplier * used.clip_norm
    assert noise == pytest.approx(0.0 if variant is Variant.NO_NOISE else given.noise_multiplier * given.clip_norm)
    assert (used.clip_norm > given.clip_norm) == (variant is Variant.NO_CLIPPING)
    assert (used.steps, used.sample_rate) == (given.steps, given.sample_rate)
    assert used == plan_of(variant, given)
    assert not model.weights.any(), "the trained weights were left in use"


def test_with_one_record_each_a_record_is_the_entity():
    """Then that variant breaks nothing, and is not among them."""
    assert broken_variants(records_each=1) == (Variant.NO_NOISE, Variant.NO_CLIPPING)
    assert {Variant.PRODUCTION, *broken_variants(records_each=2)} == set(Variant)


def test_training_that_keeps_its_promise_passes_and_broken_training_is_rejected():
    """At epsilon 1: lower bound below the claim, and each broken variant is told from it with power 0.9."""
    report = audited(LinearModel(), 1.0)
    rows = by_name(report)
    assert report["outcome"] == "passed"
    assert rows["production"]["epsilon_lower"] <= 1.0
    assert rows["production"]["power"] < 0.5
    for broken in ("no_noise", "no_clipping"):
        assert rows[broken]["power"] >= 0.9, broken
        assert rows[broken]["epsilon_lower"] > 1.0
    worst = next(row for row in rows["no_noise"]["findings"] if row["prompts"] == str(Asked.WORST_CASE))
    assert worst["tpr_at_fpr_1_percent"]["low"] > 0.5
    assert require_passed(report) is report


@pytest.mark.parametrize("breaking", ["noise", "clipping"])
def test_training_that_breaks_its_promise_is_refuted(breaking):
    """A model that adds no noise, or that clips nothing, is found out as production: SF541."""
    report = audited(LinearModel(breaking), 1.0, count=100)
    assert report["outcome"] == "refuted"
    with pytest.raises(IntegrityError, match="SF541"):
        require_passed(report)


def test_an_audit_that_could_not_have_found_anything_is_not_a_pass():
    """Twenty canaries show nothing about epsilon 8: SF143, whatever production does."""
    report = audited(LinearModel(), 500.0, count=20)
    assert report["outcome"] == "inconclusive"
    with pytest.raises(ConfigurationError, match="SF143"):
        require_passed(report)


def test_a_secret_needs_as_many_matches_as_chance_will_not_give():
    """More for a weaker claim, never more than there are, and rare enough under the claim where that is possible."""
    strict, weak = (needed_matches(Claim(e, DELTA), records_each=8, answers=10) for e in (1.0, 8.0))
    assert 1 <= strict < weak <= 8
    assert needed_matches(Claim(8.0, DELTA), records_each=1, answers=10) == 1


def test_matches_on_rare_answers_count_more_and_silence_counts_nothing():
    """An answer that everybody gets tells little about anybody."""
    made = [replace(canary, answers=("alpha", "beta")) for canary in canaries(3, each=2)]
    said = [["alpha", "beta"], ["alpha", None], ["alpha", "gamma"]]
    found = evidence(Asked.WORST_CASE, OutputKind.VOTES, made, said, answers=LABELS)
    assert found.matches.tolist() == [[True, True], [True, False], [True, False]]
    assert found.scores[0] > found.scores[1] == found.scores[2] > 0


def test_production_prompts_are_looked_at_next_to_the_canary():
    """The answer on the public prompt nearest to a canary's question is what counts for it."""
    made = canaries(60)
    near = NearestPrompts(PROMPTS)
    assert any(near.of(question) for canary in made for question in canary.questions)
    found = attack(LinearModel(), Variant.NO_NOISE, plan=plan(1.0), records=OWN, canaries=made, prompts=PROMPTS)
    assert [(each.asked, each.kind) for each in found] == [
        (asked, kind) for kind in (OutputKind.VOTES, OutputKind.TEXT) for asked in Asked
    ]


def test_a_site_is_audited_beside_its_production_state(world: World, tmp_path: Path):
    """No charge, no adapter, no release; a report in three forms, and its digest in the signed log."""
    with world.client(model=LinearModel(), max_records_per_entity=EACH) as client:
        site = client.site
        adapters = sorted(site.directory("adapters").rglob("*"))
        report = audit_site(
            site,
            records=iter(OWN),
            prompts=PROMPTS,
            canaries=60,
            out=tmp_path / "report",
            progress=lambda line: None,
            model=LinearModel("noise"),
        )
        assert sorted(site.directory("adapters").rglob("*")) == adapters
        assert not charges(client)
        with open_source(str(site.config.site.state)) as source:
            entries = [entry.event for entry in read_entries(source)]
    written = (tmp_path / "report" / "audit.json").read_bytes()
    assert json.loads(written) == json.loads(json.dumps(report))
    kinds = [event.type for event in entries]
    assert kinds[-1] is EventType.PRIVACY_AUDITED
    assert kinds.index(EventType.DATASET_OPENED) < kinds.index(EventType.PRIVACY_AUDITED)
    assert not {EventType.BUDGET_RESERVED, EventType.TRAINING_STARTED, EventType.BUNDLE_RELEASED} & set(kinds)
    last = entries[-1]
    assert last.outcome == "failed"
    assert last.codes == ("SF541",)
    assert last.details["report_digest"] == hex_digest(sha256(written))
    page = (tmp_path / "report" / "audit.md").read_text()
    assert "**Refuted**" in page
    assert re.search(r"\| no_noise \| worst-case prompts, votes \| \d", page)
    picture = ET.fromstring((tmp_path / "report" / "audit.svg").read_text())
    assert "claimed" in "".join(picture.itertext())


def test_without_the_policys_permit_no_record_is_touched(world: World, tmp_path: Path):
    """SF201, before the first record is asked for."""

    def unreadable():
        raise AssertionError("a record was read")
        yield

    sections = {"data": {"dataset": "another-data-set"}}
    with world.client(model=LinearModel(), sections=sections) as client, pytest.raises(PolicyDenied, match="SF201"):
        audit_site(
            client.site,
            records=unreadable(),
            prompts=PROMPTS,
            canaries=60,
            out=tmp_path / "report",
            progress=lambda line: None,
            model=LinearModel(),
        )
    assert not (tmp_path / "report").exists()


def test_only_training_with_noise_claims_something_to_attack(world: World, tmp_path: Path):
    """SF101 for a site that promises nothing, or whose records vote."""
    for mechanism in (Mechanism.UNSAFE_NO_NOISE, Mechanism.RECORD_HISTOGRAM):
        with (
            world.client(model=LinearModel(), mechanism=mechanism) as client,
            pytest.raises(ConfigurationError, match="SF101"),
        ):
            audit_site(
                client.site,
                records=OWN,
                prompts=PROMPTS,
                canaries=60,
                out=tmp_path,
                progress=lambda line: None,
                model=LinearModel(),
            )


def test_the_command_writes_the_report_and_ends_with_its_verdict(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One JSON document on stdout: the report of an audit that passed, the error of one that refutes (exit 12)."""
    site = world.federation.site_file("bay", world.settings(max_records_per_entity=EACH, epsilon="1"))
    rows = [{"entity_id": r.entity_id, "prompt": r.prompt, "completion": r.completion} for r in OWN]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"id": prompt.id, "prompt": prompt.text, "candidates": LABELS} for prompt in PROMPTS.prompts]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    for breaking, status in (("", ExitCode.OK), ("noise", ExitCode.INTEGRITY)):
        monkeypatch.setattr(attack_audit, "load_model", lambda site, breaking=breaking: LinearModel(breaking))
        out = tmp_path / f"report{breaking}"
        files = ["--records", str(tmp_path / "records.jsonl"), "--prompts", str(tmp_path / "prompts.jsonl")]
        done = main(["audit-privacy", "--config", str(site), *files, "--out", str(out), "--canaries", "100", "--json"])
        assert done == status, capsys.readouterr().err
        printed, written = json.loads(capsys.readouterr().out), json.loads((out / "audit.json").read_text())
        if status is ExitCode.OK:
            assert printed == written
            assert written["outcome"] == "passed"
        else:
            assert printed["error"]["code"] == "SF541"
            assert written["outcome"] == "refuted"
