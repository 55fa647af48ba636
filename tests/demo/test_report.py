"""The table and the picture say what the report says, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from semfed_secure.demo.picture import draw
from semfed_secure.demo.tables import mean_scores, summary


@pytest.fixture
def report():
    """The sample report beside this file."""
    path = Path(__file__).with_name("sample_report.py")
    spec = importlib.util.spec_from_file_location("sample_report", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.sample_report()


def test_the_mean_is_over_measured_sites_only(report) -> None:
    """An attacker that was not measured does not dilute it."""
    assert mean_scores(report, "votes")["missing"]["consensus"] == pytest.approx(0.50)


def test_the_summary_shows_every_site_refusal_budget_and_verdict(report) -> None:
    """What the newcomer is promised on the screen."""
    text = summary(report)
    for shown in ("st-mary", "rolled back", "westbrook SF311", "7.98", "verified", "50.0 times as much", "train 60 s"):
        assert shown in text


def test_a_broken_log_is_shouted(report) -> None:
    """A log that does not verify never looks like one that does."""
    report["audit"][0]["verified"] = False
    assert "BROKEN" in summary(report)
    assert "verified" not in summary(report)


def test_the_picture_is_written_as_png_and_svg(report, tmp_path) -> None:
    """Both forms, with the main figure in the headline."""
    png, svg = draw(report, tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()
    assert svg.stat().st_size > 1000


@pytest.fixture
def black_boxes(report):
    """The report of sites that train nothing, one of which lacks nothing."""
    first, second, _ = report["sites"]
    for site in (first, second):
        scores = {"base": 0.5, "local": None, "consensus": 0.75}
        site |= {"kept": None, "exact_match": {"votes": {"known": scores, "missing": dict(scores)}}}
    second["exact_match"]["votes"]["missing"] = dict.fromkeys(("base", "local", "consensus"))
    report["bytes"]["lora_exchange"] = None
    return report


def test_what_was_not_measured_is_neither_zero_nor_in_the_mean(black_boxes) -> None:
    """A stage that there was not has no column; a site that lacks nothing has a dash, and the mean is of the others."""
    assert mean_scores(black_boxes, "votes")["missing"] == {"base": 0.5, "local": None, "consensus": 0.75}
    text = summary(black_boxes)
    assert "missing: base" in text
    for claim in ("local", "kept", "rolled back", "times as much", " 0.0 %"):
        assert claim not in text


def test_the_picture_of_black_boxes_has_two_bars_a_site(black_boxes, tmp_path) -> None:
    """Nothing stands for the training that was not."""
    _, svg = draw(black_boxes, tmp_path)
    text = svg.read_text()
    assert "before the rounds" in text
    assert "trained alone" not in text
    assert "goes from 50.0 % to 75.0 %" in text


def test_a_federation_that_lacks_nothing_is_told_by_what_it_knows(black_boxes, tmp_path) -> None:
    """The headline never gives a figure that was not measured."""
    first = black_boxes["sites"][0]["exact_match"]["votes"]
    first["missing"] = dict.fromkeys(first["missing"])
    text = draw(black_boxes, tmp_path)[1].read_text()
    assert "on what a site knows, exact match goes from 50.0 % to 75.0 %" in text
