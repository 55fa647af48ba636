"""A whole federation of processes, with a model of a few kilobytes: the same way that `semfed demo` goes."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from semfed_secure.demo.collect import ask
from semfed_secure.demo.data import FederationData
from semfed_secure.demo.examples import HOSPITAL, build_example
from semfed_secure.demo.plan import RoundPlan, Scale, SiteRole, Training
from semfed_secure.demo.progress import PlainProgress
from semfed_secure.demo.runner import lay_out, run_federation, write_report
from semfed_secure.demo.workspace import SERVER, Models
from semfed_secure.ids import hex_digest, sha256

TRAINING = Training(steps=2, sample_rate=0.5, clip_norm=0.5, epsilon="7.5", delta="1e-6")
SCALE = Scale(
    name="tiny",
    honest=3,
    families=("tiny",),
    writers=(),
    rounds=(RoundPlan("round-1", "votes"),),
    training=TRAINING,
    one_in={"votes": 1},
    asked={"votes": 60},
    measured={"votes": 20},
    settings={"tiny": {"layers": 2}},
    gold={"votes": 15},
    terms={},
    round_seconds=240,
)
HONEST = {"st-mary", "riverside", "hillcrest"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run with everybody in it: workspace, report, what it wrote."""
    spec = importlib.util.spec_from_file_location("tiny_model", Path(__file__).with_name("tiny_model.py"))
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    root = tmp_path_factory.mktemp("demo")
    build_example(HOSPITAL, root / "data", seed=1, small=True)
    data = FederationData(root / "data")
    model = tiny.write_tiny_model(root / "model", [row.text for row in data.heldout] + list(data.candidates))
    models = Models({"tiny": model}, root / "no-embedder")
    workspace = lay_out(root / "run", data, SCALE, models)
    with PlainProgress() as progress:
        report = run_federation(workspace, progress)
    return workspace, report, write_report(report, workspace, root / "report")


def test_the_honest_and_the_liar_are_admitted_the_broken_and_the_late_refused(finished) -> None:
    """Each with the code of the step that it fails."""
    _, report, _ = finished
    (only,) = report["rounds"]
    assert set(only["admitted"]) == HONEST | {"eastfield"}
    assert {row["site"]: row["code"] for row in only["refused"]} == {"westbrook": "SF311", "southport": "SF304"}
    assert only["agreed"] + only["contested"] + only["too_few"] == only["prompts"] == 60
    assert isinstance(only["attacker_label_agreed"], int)


def test_every_honest_site_spends_within_its_budget(finished) -> None:
    """What the ledger says, at most what the run was planned for, below what the policy grants."""
    _, report, _ = finished
    honest = [site for site in report["sites"] if site["role"] == SiteRole.HONEST]
    assert {site["id"] for site in honest} == HONEST
    for site in honest:
        assert 0 < float(site["epsilon_spent"]) <= 7.5 < float(site["epsilon_budget"])
        scores = site["exact_match"]["votes"]
        assert {stage for part in ("known", "missing") for stage in scores[part]} == {"base", "local", "consensus"}


def test_every_log_verifies(finished) -> None:
    """The server's and all six sites'."""
    workspace, report, _ = finished
    assert [row["log"] for row in report["audit"]] == [SERVER, *(site.id for site in workspace.sites)]
    assert all(row["verified"] and row["entries"] > 3 for row in report["audit"])
    assert report["reconciled"]["agree"], report["reconciled"]
    assert f"{len(report['audit'])} logs agree" in report["reconciled"]["verdict"]


def test_the_answers_cost_less_than_the_adapters_would_have(finished) -> None:
    """Bytes are measured, not assumed."""
    _, report, _ = finished
    assert report["bytes"]["up"] > 0
    assert report["bytes"]["down"] > 0
    assert report["bytes"]["lora_exchange"] > 0


def test_the_report_is_written_whole(finished) -> None:
    """JSON, picture, one page per log, and per site the card whose digest its log holds."""
    workspace, report, written = finished
    names = {path.name for path in written}
    assert {"report.json", "report.png", "report.svg"} <= names
    assert {f"audit-{site.id}.html" for site in workspace.sites} <= names
    document = next(path for path in written if path.name == "report.json")
    assert json.loads(document.read_text()) == report
    for site in workspace.sites:
        card = document.with_name(f"privacy-card-{site.id}.md")
        assert card in written
        digest = hex_digest(sha256(card.with_suffix(".json").read_bytes()))
        made = ask("audit", "list", str(workspace.site(site) / "state"), "--type", "report.created")["entries"]
        assert [entry["details"]["digest"] for entry in made] == [digest]


def test_no_process_of_the_run_is_left(finished) -> None:
    """Every process that names the run's directory has ended."""
    workspace, _, _ = finished
    mine = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(workspace.root).encode() in line:
                mine.append(line)
    assert not mine


def test_private_records_are_in_no_message_and_no_log(finished) -> None:
    """Not one phrase of a site's records stands in the server's database or in any log of the run."""
    workspace, _, _ = finished
    server = (workspace.server_file.parent / "state" / "server.sqlite").read_bytes()
    printed = b"".join(path.read_bytes() for path in (workspace.root / "logs").iterdir())
    for site in workspace.sites:
        for row in workspace.data.records[site.id]:
            # The shortest phrases are words that a log may use by chance.
            assert len(row.text) < 20 or row.text.encode() not in server + printed
            assert row.entity_id.encode() not in server + printed


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_reports_for_the_officer_name_the_refusals(finished) -> None:
    """The server's page says who was refused and why."""
    _, _, written = finished
    page = next(path for path in written if path.name == f"audit-{SERVER}.html").read_text()
    assert "SF311" in page
    assert "westbrook" in page
