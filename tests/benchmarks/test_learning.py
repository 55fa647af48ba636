"""The learning experiment: a stop changes nothing, and it trains and chooses as the product does."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from xml.etree import ElementTree as ET

import learning_report
import numpy as np
import pytest
from learning_analysis import auroc, calibration, judge, lead, mean_hits, overwritten
from learning_arms import ANCHORS, chosen
from learning_chart import bars_chart
from learning_experiments import Experiment, NotYetError, conduct, reading
from learning_results import gather, group, seconds
from learning_tasks import FAST as SIZES
from learning_tasks import INSTITUTIONS, NOISE, divide, load_task, noisy
from learning_units import FAST, Lab, Site, passes

ROOT = Path(__file__).parents[2]
ARMS = ("ours + check", "without", "own", "fedavg", "pooled")
EXPERIMENT = Experiment("merchants", 1, "same", 3, (0,), "noise", ARMS, rounds=2)


@pytest.fixture(scope="module")
def task():
    """Every second of the bank's merchants."""
    whole = load_task("merchants", None, SIZES)
    return replace(whole, questions=whole.questions[::2], gold=whole.gold[::2])


@pytest.fixture(scope="module")
def learners(task, tmp_path_factory):
    """Learners of a random model of a few kilobytes, by family."""
    from learning_models import FAMILIES, Learner

    from tests.demo.tiny_model import write_tiny_model

    root = tmp_path_factory.mktemp("learning")
    source = write_tiny_model(root / "model", [*task.questions[:50], *task.labels])
    (root / "states").mkdir(mode=0o700)
    made = {}

    def learner(family):
        if family not in made:
            settings = FAMILIES[family].settings.model_copy(update={"layers": 2})
            tiny = replace(FAMILIES[family], settings=settings, layers=None)
            made[family] = Learner(tiny, source, task, states=root / "states")
        return made[family]

    return learner


@pytest.fixture(scope="module")
def work(task, learners, tmp_path_factory) -> Path:
    """What a run without a stop leaves."""
    directory = tmp_path_factory.mktemp("run")
    conduct(Lab(task, 1, directory, learners, FAST), EXPERIMENT)
    return directory


def test_a_difference_between_seeds_widens_the_interval() -> None:
    """Items alone would say five points exactly; seeds that say zero and ten make it zero to ten."""
    same, apart = np.ones((2, 40)), np.stack([np.ones(40), np.full(40, 0.9)])
    assert lead([same, same]) == [0.0, 0.0, 0.0]
    assert lead([same, apart]) == [5.0, 0.0, 10.0]


def test_the_greatest_rival_is_chosen_in_every_seed() -> None:
    """A gain over base in one seed and over local in the other is no gain over both."""
    after, high, low = np.full(30, 0.5), np.full(30, 0.6), np.zeros(30)
    assert lead([np.stack([after, high, low]), np.stack([after, low, high])])[0] == -10.0


def test_pairs_count_and_not_levels() -> None:
    """Stages that are right on the same items differ by nothing, however much the items vary."""
    hits = np.random.default_rng(1).random(200) < 0.5
    assert lead([np.stack([hits, hits]).astype(float)]) == [0.0, 0.0, 0.0]
    found = lead([np.stack([hits, ~hits]).astype(float)])
    assert found[1] < found[0] < found[2]


def test_a_mean_over_sites_is_the_mean_of_their_own_shares() -> None:
    """A site that knows few of the items counts as much as one that knows all."""
    hits = np.array([[1, 0, 0, 0], [1, 1, 0, 0]], bool)
    known = np.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
    assert mean_hits(hits, known).mean() == pytest.approx((1.0 + 0.5) / 2)


def test_overwritten_are_right_answers_that_an_agreed_label_contradicts() -> None:
    """An abstention contradicts nobody, and a wrong answer cannot be overwritten."""
    gold, agreed = np.array([0, 1, 2, 3]), np.array([0, 2, -1, 1])
    assert overwritten(np.array([[0, 1, 2, 3]]), gold, agreed) == 0.5
    assert overwritten(np.array([[1, 0, 0, 0]]), gold, agreed) == 0.0


def test_support_is_held_against_how_often_it_was_right() -> None:
    """Support 0.8 that is right 3 times in 4 is 0.05 off; support that orders perfectly has an area of one."""
    found = calibration(np.full(4, 800_000), np.array([1, 1, 1, 0], bool))
    assert found["expected_error"] == pytest.approx(0.05)
    assert found["auroc"] == 0.5
    assert auroc(np.array([0.8, 1.0]), np.array([0.2])) == 1.0
    assert auroc(np.array([0.8]), np.array([])) is None


def test_a_bar_is_met_by_the_lower_end() -> None:
    """A mean that passes does not."""
    assert judge([0, -0.9, 1], [0, -1.0, 1], [1, 0.1, 2]) == {"non_inferior": True, "regret": True, "gain": True}
    assert judge([0, -1.1, 1], [0, -1.1, 1], [1, 0.0, 2]) == {"non_inferior": False, "regret": False, "gain": False}


def test_nothing_public_is_private_and_nobody_holds_what_it_lacks(task) -> None:
    """Also: the same seed divides alike, another one does not."""
    split = divide(task, 1)
    public = np.concatenate([*split.asked, split.validation, split.heldout])
    assert len(set(public.tolist())) == len(public)
    for site in split.institutions:
        assert not set(site.records.tolist()) & set(public.tolist())
        assert not set(task.gold[site.records].tolist()) & set(site.missing)
    assert len(split.institutions) == INSTITUTIONS
    assert np.array_equal(divide(task, 1).heldout, split.heldout)
    assert not np.array_equal(divide(task, 2).heldout, split.heldout)


def test_wrong_labels_are_as_many_as_said_and_alike_only_where_said() -> None:
    """By chance they spread over the other labels; by a map each right label has one wrong one."""
    gold = np.repeat(np.arange(5), 2000)
    for map_seed, kinds in ((None, 4), (7, 1)):
        labels = noisy(gold, 5, np.random.default_rng(1), map_seed)
        assert (labels != gold).mean() == pytest.approx(NOISE, abs=0.02)
        assert len(set(labels[(gold == 2) & (labels != gold)].tolist())) == kinds


def test_the_arms_choose_as_they_are_called() -> None:
    """Four sites, the first of which is always wrong: who is left out, who is an oracle, who abstains."""
    gold = np.arange(ANCHORS + 60) % 4
    votes = np.stack([(gold + 1) % 4, gold, gold, np.where(np.arange(len(gold)) % 3, gold, (gold + 1) % 4)])
    labels, plain = chosen(votes, gold, labels=4, ids=np.arange(len(gold)), without=[0], rng=np.random.default_rng(1))
    tied = np.arange(len(gold)) % 3 == 0
    assert np.array_equal(labels["best"], gold)
    assert np.array_equal(labels["without"], gold)
    assert (labels["medoid"] >= 0).all()
    assert np.array_equal(labels["ours"] < 0, tied)
    assert set(plain.support_ppm[tied].tolist()) == {500_000}
    assert np.array_equal(labels["anchored"], gold)
    assert all(answer in column for answer, column in zip(labels["random"], votes.T, strict=True))


def test_whole_passes_come_nearest_to_the_steps() -> None:
    """Sixty records are two batches, and eighty steps are forty passes over them."""
    assert (passes(80, 60), passes(66, 1050), passes(1, 640)) == (40, 2, 1)


def test_it_chooses_as_the_product_does(task, learners, tmp_path) -> None:
    """Same model, adapter and questions: the same votes as `LocalModel`; and averaged adapters are their mean."""
    from safetensors.torch import load_file

    from semfed_secure.llm.local import LocalModel

    lab, site = Lab(task, 3, tmp_path, learners, FAST), Site(0, "smollm")
    lab.trained(site)
    name, _ = lab.learnt(site, *lab.records(site))
    _, _ = lab.averaged("smollm", [site.name, name], [1, 3])
    one, other = (load_file(lab.work / f"{which}.safetensors") for which in (site.name, name))
    mean = load_file(next(lab.work.glob("mean-*.safetensors")))
    assert all(np.allclose(mean[key], 0.25 * one[key] + 0.75 * other[key], atol=1e-6) for key in mean)
    assert any(not np.allclose(one[key], other[key]) for key in one)
    learner, rows = learners("smollm"), lab.split.heldout
    learner.use(lab.work / f"{site.name}.safetensors")
    learner.adapter.save(tmp_path / "adapter")
    votes = learner.votes(rows)
    model = LocalModel(learner.source, learner.family.settings)
    model.use_adapter(tmp_path / "adapter")
    assert np.array_equal(model.score([task.questions[row] for row in rows], task.labels).argmax(1), votes)


def test_a_stop_changes_nothing(task, learners, work, tmp_path) -> None:
    """Killed in the middle of its units again and again, a run ends with the same files but for their seconds."""
    calls = count(1)

    def dying(family):
        if next(calls) % 9 == 0:
            raise KeyboardInterrupt
        return learners(family)

    for _ in range(100):
        try:
            conduct(Lab(task, 1, tmp_path, dying, FAST), EXPERIMENT)
            break
        except KeyboardInterrupt:
            continue
    files = sorted(path.relative_to(work) for path in work.rglob("*.json"))
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json")) == files
    for path in files:
        first, second = (json.loads((root / path).read_text()) for root in (work, tmp_path))
        assert first | {"seconds": 0} == second | {"seconds": 0}
    for path in work.rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / path.relative_to(work)).read_bytes()


def test_what_is_not_done_is_not_reported(task, work, tmp_path) -> None:
    """A report reads what is there, arm by arm, and does no work."""
    found = gather([EXPERIMENT, replace(EXPERIMENT, seed=2)], {"merchants": task}, work)
    one = group(*next(iter(found.items())))
    assert one["arms"]["ours + check"]["seeds"] == [1]
    assert {"base", "local", "local only", *ARMS, "fedavg twice"} == set(one["arms"])
    assert [len(one["arms"][arm]["exact_match"]) for arm in ("own", "fedavg", "base")] == [2, 2, 1]
    assert one["arms"]["ours + check"]["bars"].keys() == {"non_inferior", "regret", "gain"}
    assert not list(tmp_path.iterdir())
    with pytest.raises(NotYetError):
        conduct(reading(task, 2, tmp_path), EXPERIMENT)
    assert {"local training smollm", "learning smollm", "answering smollm", "mean smollm"} <= set(seconds(work))


def test_the_page_has_a_mark_for_every_table() -> None:
    """What is between the marks is replaced, the rest stays; a table without a mark is an error."""
    page = "a\n<!-- table: one -->\nold\n<!-- end -->\nz"
    assert learning_report.filled(page, {"one": "new"}) == "a\n<!-- table: one -->\nnew\n<!-- end -->\nz"
    with pytest.raises(ValueError, match="two"):
        learning_report.filled(page, {"one": "", "two": ""})


def test_the_page_and_the_pictures_are_those_of_the_results_file() -> None:
    """Nobody edits a figure by hand."""
    document = json.loads((ROOT / "benchmarks/results/learning.json").read_text())
    page = (ROOT / "docs/explanation/learning.md").read_text()
    assert learning_report.filled(page, learning_report.tables(document)) == page
    for name, drawn in learning_report.pictures(document).items():
        assert (ROOT / "docs/explanation" / name).read_text() == drawn
        ET.fromstring(drawn)


def test_a_miss_is_drawn_as_one() -> None:
    """An interval that crosses its bar has the other colour."""
    arm = {"minus_without": [0.0, -2.0, 1.0], "regret_known": [0.0, -0.5, 0.5], "gain_all": None}
    drawn = bars_chart([{"way": "dp", "arms": {"ours": arm}}], ["ours"])
    assert drawn.count("#b23b2a") - drawn.count("#2b6ca3") == 3  # three bars' own lines beside


def test_open_answers_go_through_the_products_rule(monkeypatch, tmp_path) -> None:
    """Institutes train, write, agree by meaning and learn; a report reads the same and is stopped by what lacks."""
    import learning_open

    from tests.demo.tiny_model import write_tiny_model

    rows = [
        {"client": name, "question": f"What is {name} {n}?", "answer": f"{name} is the number {n}"}
        for name in "abcdef"
        for n in range(12)
    ]
    (tmp_path / "hospital").mkdir()
    for name in ("train", "test", "public_prompts"):
        lines = [json.dumps(row | {"prompt": row["question"]}) for row in rows]
        (tmp_path / "hospital" / f"{name}.jsonl").write_text("\n".join(lines))
    for name, value in {
        "CLIENTS": 3,
        "RECORDS": 8,
        "ASKED": 3,
        "TESTED": 1,
        "WRITTEN": 1,
        "TOKENS": 3,
        "STEPS": 1,
    }.items():
        monkeypatch.setattr(learning_open, name, value)
    writer = learning_open.Writer(write_tiny_model(tmp_path / "model", [row["answer"] for row in rows]), layers=2)

    class Letters:
        @staticmethod
        def embed(texts):
            counts = np.array([[text.count(chr(97 + n)) + 0.1 for n in range(26)] for text in texts], np.float32)
            return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    lab = learning_open.OpenLab(tmp_path, 1, "noise", tmp_path / "run", lambda: writer)
    found = learning_open.conduct_open(lab, Letters)
    again = learning_open.OpenLab(tmp_path, 1, "noise", tmp_path / "run", None)
    assert learning_open.conduct_open(again, Letters) == found
    said = learning_open.summary({("noise", 1): found}, {1: lab.split}, Letters)
    assert {row["arm"] for row in said} == {*learning_open.BEFORE, *learning_open.ARMS}
    assert all(row["strong"]["own_bits"] > 0 for row in said)
    believed, true = lab.records(0), lab.split.records[0]
    assert sum(one != other for one, other in zip(believed, true, strict=True)) == 3
    assert lab.records(1) == lab.split.records[1]


def test_the_middle_of_the_heaviest_group_is_released() -> None:
    """Three alike against two apart: agreed; five apart: nothing, while the medoid always says something."""
    from learning_open import agreed

    class Places:
        @staticmethod
        def embed(texts):
            return np.stack([np.eye(8, dtype=np.float32)[ord(text[0]) - ord("a")] for text in texts])

    texts = [["a", "a"], ["a", "b"], ["a", "c"], ["b", "d"], ["c", "e"]]
    released, medoids = agreed(texts, Places)
    assert released == ["a", None]
    assert medoids[0] == "a"
    assert medoids[1] in set("abcde")
