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
