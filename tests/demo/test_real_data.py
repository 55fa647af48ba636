"""Real sets, one of medical questions and one of messages to banks, become federations by the documented script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from semfed_secure.demo.data import FederationData
from semfed_secure.demo.plan import settle, suit
from semfed_secure.demo.scales import FAST
from semfed_secure.policy.compose import load_policy

ROOT = Path(__file__).parents[2]
SETS = Path(os.environ.get("SEMFED_REAL_DATA", ROOT.parent / "shared" / "data"))
SCRIPT = ROOT / "examples" / "from_json_lines.py"

BOX = {
    "model": "look-up",
    "provenance": "public",
    "mechanism": "record_histogram",
    "epsilon": "7.9",
    "delta": "1e-6",
}
BANK = {
    "federation": "bank-messages",
    "domain": "finance",
    "jurisdiction": "GB",
    "dataset": "customer-messages",
    "classification": "npi",
    "population_bound": 5000,
    "templates": {"votes": "Message: {text}\nIntent:"},
    "answers": {"votes": "label"},
    "black_box": BOX,
}
MEDICAL = {
    "federation": "medical-questions",
    "domain": "healthcare",
    "jurisdiction": "US",
    "dataset": "medical-questions",
    "classification": "de-identified",
    "population_bound": 20000,
    "max_records_per_entity": 4,
    "templates": {"votes": "Question: {text}\nAsks about:"},
    "answers": {"votes": "label"},
}
# Folder, its fields, what is said about it, the example whose policy it takes over, and that example's data set.
CASES = {
    "bank": ("bank", ["--label", "intent"], BANK, "bank_merchants", "synthetic-card-payments"),
    "medical": (
        "hospital",
        ["--text", "question", "--label", "qtype", "--entity", "focus"],
        MEDICAL,
        "hospital_coding",
        "synthetic-icd10cm-phrases",
    ),
}


def convert(
    folder: Path, target: Path, fields: list[str], description: dict[str, object], policy: str
) -> subprocess.CompletedProcess[str]:
    """Run the script as the page shows it."""
    (target.parent / "description.json").write_text(json.dumps(description))
    (target.parent / "policy.yaml").write_text(policy)
    files = ["--private", folder / "train.jsonl", "--public", folder / "test.jsonl"]
    files += ["--description", target.parent / "description.json", "--policy", target.parent / "policy.yaml"]
    command = [sys.executable, SCRIPT, target, *files, "--site", "client", *fields]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=CASES)
def converted(request, tmp_path_factory) -> FederationData:
    """One set as a federation's data."""
    folder, fields, description, example, dataset = CASES[request.param]
    if not (SETS / folder / "train.jsonl").is_file():
        pytest.skip(f"the real data set `{folder}` is not here: SEMFED_REAL_DATA names the folder of the sets")
    policy = (ROOT / "examples" / example / "policy.yaml").read_text().replace(dataset, str(description["dataset"]))
    target = tmp_path_factory.mktemp(request.param) / "data"
    done = convert(SETS / folder, target, fields, description, policy)
    assert done.returncode == 0, done.stderr
    return FederationData(target)


def test_a_demo_can_be_run_on_it(converted) -> None:
    """The reader accepts it; it has sites enough, a round of votes, and a policy with a budget for its data set."""
    scale = suit(FAST, converted.description)
    assert [plan.kind for plan in scale.rounds] == ["votes"]
    assert len(settle(converted, scale)) == 6
    policy = load_policy(converted.policy)
    assert [budget.epsilon for budget in policy.budgets(converted.description.dataset)] == [8]


def test_sites_are_blind_to_what_they_lack_and_public_texts_are_nobodys(converted) -> None:
    """Nothing of a missing label at the site; no public text twice or in a record."""
    records = converted.records
    for site in converted.description.sites:
        assert {row.label for row in records[site.id]} == set(converted.candidates) - set(site.missing)
    assert any(site.missing for site in converted.description.sites[:3])
    public = [
        row.text.casefold() for rows in (converted.prompts, converted.validation, converted.heldout) for row in rows
    ]
    assert len(public) == len(set(public)) > 1000
    assert not set(public) & {row.text.casefold() for rows in records.values() for row in rows}


def test_a_row_without_a_field_is_named_by_its_line(tmp_path) -> None:
    """Neither converted nor shown."""
    (tmp_path / "train.jsonl").write_text('{"client": "a", "text": "secret"}\n')
    done = convert(tmp_path, tmp_path / "out", [], BANK, "")
    assert (done.returncode, done.stderr) == (1, "train.jsonl line 1: no field `label`\n")
