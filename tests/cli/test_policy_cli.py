"""`semfed policy`: what each command prints, and the exit status that scripts rely on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from semfed_secure.cli import main
from semfed_secure.policy.packs import packs_root

HOSPITAL = packs_root() / "healthcare" / "examples" / "hospital.yaml"
CASES = Path(__file__).parents[1] / "policy" / "assets" / "cases"
NOW = "2026-12-01T12:00:00Z"
QUESTION = """
facts:
  action: open_dataset
  dataset:
    id: cardiology-2026
    population: st-mary-patients
    classification: phi
    entities: 900
    max_records_per_entity: 5
"""


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """A question that the example hospital permits."""
    path = tmp_path / "question.yaml"
    path.write_text(QUESTION)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and standard output of one command."""
    status = main(["policy", *map(str, arguments)])
    return status, capsys.readouterr().out


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Exit status and the one JSON document of one command."""
    status, out = run(capsys, *arguments, "--json")
    return status, json.loads(out)


def test_lint_says_id_digest_and_remarks(capsys: pytest.CaptureFixture[str]) -> None:
    """A valid policy is named with its digest; remarks do not fail the command."""
    status, document = run_json(capsys, "lint", HOSPITAL)
    (found,) = document["policies"]
    assert (status, found["id"], found["digest"][:7]) == (0, "st-mary-cardiology", "sha256:")
    status, out = run(capsys, "lint", HOSPITAL, CASES / "good.yaml")
    assert (status, out.count("is valid")) == (0, 2)


def test_lint_refuses_what_is_not_valid(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A loosening child ends with exit 2 and the field."""
    child = tmp_path / "child.yaml"
    child.write_text(HOSPITAL.read_text().replace("min_entities: 500", "min_entities: 5"))
    status, document = run_json(capsys, "lint", child)
    assert (status, document["error"]["code"]) == (2, "SF112")
    assert document["error"]["fields"]["field"] == "limits.data.min_entities"


def test_test_passes_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Good cases end with 0; a wrong reason and an untested limit with 2, and are named."""
    assert run_json(capsys, "test", CASES / "good.yaml")[0] == 0
    status, out = run(capsys, "test", CASES / "good.yaml", CASES / "wrong-reason.yaml", CASES / "untested-limit.yaml")
    assert (status, "too few people" in out, "limits.data.min_entities" in out) == (2, True, True)


def test_explain_reads_packs_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    """A pack is explained by its reference, a policy by its path."""
    status, out = run(capsys, "explain", "pack:healthcare/hipaa")
    assert (status, "permits nothing" in out) == (0, True)
    status, document = run_json(capsys, "explain", HOSPITAL)
    assert (status, document["policy"]["id"], "Sam Rivera" in document["text"]) == (0, "st-mary-cardiology", True)


def test_decide_ends_with_the_outcome(capsys: pytest.CaptureFixture[str], question: Path) -> None:
    """Permit is 0 and deny is 10, with the reasons."""
    status, document = run_json(capsys, "decide", HOSPITAL, question, "--now", NOW)
    assert (status, document["outcome"], document["reasons"]) == (0, "permit", [])
    question.write_text(QUESTION.replace("900", "9"))
    status, out = run(capsys, "decide", HOSPITAL, question, "--now", NOW)
    assert (status, "DATA-005" in out) == (10, True)


def test_decide_waits_for_approval(capsys: pytest.CaptureFixture[str], question: Path, tmp_path: Path) -> None:
    """Exit 14 where nothing but an approval is missing."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(HOSPITAL.read_text().replace("limits:\n", "limits:\n  approvals: {open_dataset: {steward: 1}}\n"))
    status, document = run_json(capsys, "decide", policy, question, "--now", NOW)
    assert (status, document["outcome"]) == (14, "needs_approval")


@pytest.mark.parametrize("now", ["yesterday", "2026-12-01T12:00:00"])
def test_decide_wants_a_time_with_a_zone(capsys: pytest.CaptureFixture[str], question: Path, now: str) -> None:
    """A time that is no time, or has no zone, is a usage error."""
    status, document = run_json(capsys, "decide", HOSPITAL, question, "--now", now)
    assert (status, document["error"]["code"]) == (2, "SF105")


def test_decide_uses_the_clock(capsys: pytest.CaptureFixture[str], question: Path, tmp_path: Path) -> None:
    """Without --now the present decides: a policy that ended in 2020 denies."""
    policy = tmp_path / "policy.yaml"
    text = HOSPITAL.read_text().replace('"2026-11-01T00:00:00Z"', '"2019-11-01T00:00:00Z"')
    policy.write_text(text.replace('"2027-11-01T00:00:00Z"', '"2020-11-01T00:00:00Z"'))
    status, document = run_json(capsys, "decide", policy, question)
    assert (status, [reason["code"] for reason in document["reasons"]]) == (10, ["POL-002"])


def test_schema_prints_the_checked_in_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Both forms print the file in `policies/`, the text form byte for byte."""
    status, out = run(capsys, "schema")
    assert (status, out) == (0, (packs_root() / "schema.json").read_text())
    assert run_json(capsys, "schema")[1] == json.loads(out)


@pytest.mark.parametrize("command", ["lint", "test", "explain"])
def test_a_missing_file_is_a_coded_error(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    """A path that leads nowhere ends with SF102 and exit 2, without a traceback."""
    status, document = run_json(capsys, command, tmp_path / "missing.yaml")
    assert (status, document["error"]["code"]) == (2, "SF102")


def test_toml_policies_have_cases_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A policy in TOML is tested by the YAML cases beside it."""
    shutil.copy(CASES / "good.cases.yaml", tmp_path / "good.cases.yaml")
    lines = [
        'format = "semfed/policy/1"',
        'id = "sample"',
        'version = "1.0.0"',
        'title = "A sample"',
        'default = "deny"',
    ]
    lines += ['domain = "health"', 'owner = "office"', "[limits.data]", "min_entities = 100"]
    (tmp_path / "good.toml").write_text("\n".join(lines))
    assert run_json(capsys, "test", tmp_path / "good.toml")[1]["passed"] is True
