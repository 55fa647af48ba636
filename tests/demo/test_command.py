"""What `semfed demo` refuses before it starts anything, and how the data decides what is run."""

from __future__ import annotations

import json

import pytest

from semfed_secure.cli import main
from semfed_secure.demo.data import Description
from semfed_secure.demo.examples import EXAMPLES, build_example
from semfed_secure.demo.plan import suit
from semfed_secure.demo.scales import FAST, FULL
from semfed_secure.errors import ExitCode

SITES = [{"id": name} for name in ("one", "two", "three")]
NAMES = {"federation": "f", "domain": "d", "jurisdiction": "US", "dataset": "s", "classification": "c"} | {
    "sites": SITES,
    "population_bound": 9,
}
BOTH = {"templates": {"votes": "{text}", "text": "{text}"}, "answers": {"votes": "label", "text": "title"}}
VOTES = {"templates": {"votes": "{text}"}, "answers": {"votes": "label"}}


def described(**parts) -> Description:
    """A description with these parts."""
    return Description.model_validate_json(json.dumps(NAMES | parts))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--example", "dentist"], "--example takes hospital or bank, not `dentist`"),
        (["--example", "bank", "--data", "here"], "--example or --data is taken, not both"),
        (["--without", "kind"], "--without takes malicious, broken, late, not `kind`"),
    ],
)
def test_options_that_make_no_run_are_refused_by_name(options, message, tmp_path, monkeypatch, capsys) -> None:
    """SF105 and exit 2; no directory was made or emptied."""
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *options]) == ExitCode.USAGE
    assert message in capsys.readouterr().err.replace("semfed: [SF105] ", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [FULL, FAST], ids=lambda scale: scale.name)
def test_data_with_both_templates_is_run_as_the_scale_says(scale) -> None:
    """The hospital example names no rounds: it has those of the scale, and its models."""
    assert suit(scale, described(**BOTH)) == scale


def test_data_without_open_questions_has_rounds_of_votes_only() -> None:
    """A user's data need not have titles."""
    assert [plan.kind for plan in suit(FULL, described(**VOTES)).rounds] == ["votes"]


def test_named_rounds_and_black_boxes_take_the_place_of_the_demos_own() -> None:
    """As many rounds as are named; the model that answers is the data's."""
    box = {"model": "look-up", "mechanism": "record_histogram", "epsilon": "4", "delta": "1e-6"}
    suited = suit(FAST, described(**VOTES, rounds=["votes", "votes"], black_box=box))
    assert [(plan.id, plan.kind) for plan in suited.rounds] == [("round-1", "votes"), ("round-2", "votes")]
    assert suited.families == ("look-up",)
    assert suited.kinds == ("votes",)


def test_data_is_never_removed_for_a_run(tmp_path, monkeypatch, capsys) -> None:
    """Neither by a run that lies around it, nor an earlier run by data that cannot be read."""
    monkeypatch.chdir(tmp_path)
    build_example(EXAMPLES["hospital"], tmp_path / "demo-run" / "data", seed=1, small=True)
    (tmp_path / "demo-run" / ".semfed-demo").touch()
    for data, message in (("demo-run/data", "SF105"), ("nowhere", "SF102")):
        assert main(["demo", "--data", data]) == ExitCode.USAGE
        assert message in capsys.readouterr().err
        assert (tmp_path / "demo-run" / "data" / "federation.json").exists()
    (tmp_path / "file").touch()
    assert main(["demo", "--data", "demo-run/data", "--run", "file"]) == ExitCode.USAGE
    assert "SF105" in capsys.readouterr().err
