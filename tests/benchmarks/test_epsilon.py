"""The curve over ε: what is measured is what the demo does, a kill loses one fit, and the page says what was found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import epsilon_picture
import numpy as np
import pytest
from bootstrap import gain
from epsilon import PARTS, STAGES, same_run
from epsilon_sites import MAX_SCORE_DROP, NONE, Bench, once, rule_of

from semfed_secure.demo.examples import HOSPITAL, build_example
from semfed_secure.demo.scales import FAST, FULL
from semfed_secure.privacy.accountant import dp_sgd_rdp, epsilon_of
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import ConsensusRule
from tests.demo.tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]
SCALE = replace(
    FAST,
    families=("tiny",),
    training=replace(FAST.training, steps=2, sample_rate=0.5),
    asked={"votes": 40},
    measured={"votes": 20},
    settings={"tiny": {"layers": 2}},
    terms={"votes": ("--min-support", "0.1", "--min-margin", "0")},
)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A directory with the small hospital data."""
    root = tmp_path_factory.mktemp("epsilon")
    build_example(HOSPITAL, root / "data", seed=1, small=True)
    return root


@pytest.fixture(scope="module")
def bench(work) -> Bench:
    """Three honest sites with a model of a few kilobytes."""
    heldout = [json.loads(line)["text"] for line in (work / "data" / "heldout.jsonl").read_text().splitlines()]
    return Bench(work, SCALE, {"tiny": write_tiny_model(work / "model", heldout)}, steps=2)


@pytest.fixture(scope="module")
def fits(bench):
    """Every site trained at one ε."""
    return {name: bench.fit("3", name) for name in bench.honest}


def test_a_fit_is_done_once(bench, fits, work) -> None:
    """After a kill nothing that was finished is fitted again: no model is needed to read it."""
    again = Bench(work, SCALE, {}, steps=2)
    assert {name: again.fit("3", name) for name in again.honest} == fits
    with pytest.raises(KeyError):
        again.fit("1", next(iter(again.honest)))


def test_a_fit_that_was_killed_is_done_again(tmp_path) -> None:
    """A result appears whole or not at all."""
    path = tmp_path / "fit.json"
    with pytest.raises(ZeroDivisionError):
        once(path, lambda: {"right": 1 / 0})
    assert once(path, lambda: {"right": 1})["right"] == once(path, lambda: {"right": 2})["right"] == 1


@pytest.mark.parametrize("epsilon", ["8", "1"])
def test_a_plan_costs_at_most_its_epsilon(bench, epsilon) -> None:
    """The accountant's own figure, for more steps than the demo takes."""
    plan = bench.plan(epsilon)
    assert plan.mechanism is Mechanism.DP_SGD
    cost = epsilon_of(dp_sgd_rdp(plan.noise_multiplier, plan.sample_rate, plan.steps), "1e-6")
    assert float(epsilon) * 0.99 < cost <= float(epsilon)


def test_none_is_the_same_clipping_without_noise(bench) -> None:
    """Only the noise differs."""
    none, some = bench.plan(NONE), bench.plan("8")
    assert (none.mechanism, none.noise_multiplier) == (Mechanism.UNSAFE_NO_NOISE, 0)
    assert (none.clip_norm, none.steps, none.expected_entities) == (some.clip_norm, some.steps, some.expected_entities)


def test_the_terms_are_those_of_the_demo() -> None:
    """Weights by gold prompts, a third of the weight, a lead of a tenth, three clients."""
    rule = ConsensusRule("weighted_plurality", 3, 340_000, 100_000, 0, 0, "anchored")
    assert rule_of(FULL) == rule


def test_the_liar_votes_and_the_labels_are_those_that_agree(bench, fits) -> None:
    """Four members; a label for every agreed prompt and for no other."""
    labels, report = bench.consensus(fits)
    assert {row.member for row in report.clients} == {*bench.honest, bench.liar}
    assert len(labels) == report.agreed + report.contested + report.too_few == 40
    assert sum(label >= 0 for label in labels) == report.agreed > 0


def test_what_lowers_the_validation_score_is_not_kept(bench, fits, monkeypatch) -> None:
    """As in the product: the site goes on with what it had."""
    labels, _ = bench.consensus(fits)
    name = next(iter(fits))
    monkeypatch.setattr("epsilon_sites.MAX_SCORE_DROP", -2)
    refused = bench.learn("3", name, labels)
    assert (refused["kept"], refused["right"]) == (False, fits[name]["right"])
    assert MAX_SCORE_DROP > 0


def test_without_labels_nothing_is_learned(bench, fits) -> None:
    """A round without agreement changes nobody."""
    name = next(iter(fits))
    assert bench.learn("3", name, [-1] * 40)["right"] == fits[name]["right"]


def test_fits_of_other_settings_are_not_mixed(tmp_path) -> None:
    """The directory remembers what its fits were made with."""
    same_run(tmp_path / "run", {"steps": 20})
    same_run(tmp_path / "run", {"steps": 20})
    with pytest.raises(SystemExit, match="other settings"):
        same_run(tmp_path / "run", {"steps": 12})


def test_the_interval_is_that_of_drawing_phrases_again() -> None:
    """Beside the plain bootstrap, written out: same mean, same quantiles up to the draws."""
    rng = np.random.default_rng(5)
    sites = [rng.random((2, 300)) < [[0.7], [0.6]] for _ in range(3)]
    draws = np.zeros(4000)
    for first, other in sites:
        picks = rng.integers(0, 300, (len(draws), 300))
        draws += (first[picks].mean(axis=1) - other[picks].mean(axis=1)) / 3
    expected = 100 * np.array([np.mean([a.mean() - b.mean() for a, b in sites]), *np.quantile(draws, [0.025, 0.975])])
    assert gain(sites, rng) == pytest.approx(expected, abs=0.4)


def test_the_lead_is_over_the_best_rival() -> None:
    """A stage that only ties with the better of two leads by nothing; paired, so nothing is in doubt."""
    weak, strong = np.zeros(50, bool), np.arange(50) < 20
    assert gain([(strong, weak, strong)], np.random.default_rng(0)) == [0, 0, 0]
    lead, low, high = gain([(strong, weak)], np.random.default_rng(0))
    assert low < lead == 40 < high


def test_the_page_and_the_picture_show_what_was_measured(tmp_path) -> None:
    """Every figure of the table is in the published document, and the picture is drawn from it."""
    document = json.loads((ROOT / "benchmarks" / "results" / "epsilon.json").read_text())
    page = (ROOT / "docs" / "explanation" / "measured.md").read_text()
    assert document["command"] in page
    for point in document["curve"]:
        scores = [f"{point['mean'][part]['exact_match'][stage]:.1f}" for part in PARTS for stage in STAGES]
        counts = [str(point["round"][name]) for name in ("agreed", "agreed_right", "attacker_label_agreed")]
        assert f"| {point['epsilon']} | {' | '.join(scores + counts)} |" in page
    png, svg = epsilon_picture.draw(document, tmp_path)
    assert png.stat().st_size < 200_000
    assert "<svg" in svg.read_text()
    assert "](epsilon.svg)" in page
