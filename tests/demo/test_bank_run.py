"""Banks with black boxes go the whole way of `semfed demo`: only the data and the policy are others."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from semfed_secure.client.config import load_site_config
from semfed_secure.demo.data import FederationData
from semfed_secure.demo.examples import BANK, build_example
from semfed_secure.demo.picture import draw
from semfed_secure.demo.plan import SiteRole, suit
from semfed_secure.demo.progress import PlainProgress
from semfed_secure.demo.runner import lay_out, run_federation
from semfed_secure.demo.scales import FAST
from semfed_secure.demo.tables import summary
from semfed_secure.demo.workspace import Models
from semfed_secure.units import Mechanism
from tests.demo.test_bank_data import load

HONEST = {"first-harbor", "prairie-trust", "union-savings"}
OWN_ENDPOINT, LIAR, BROKEN, LATE = "first-harbor", "northern-mutual", "old-mill", "seaboard"


@pytest.fixture(scope="module")
def bank_data(tmp_path_factory) -> FederationData:
    """The small example, with one bank that brings its own endpoint, which takes up no labels."""
    directory = tmp_path_factory.mktemp("data") / "bank"
    build_example(BANK, directory, seed=1, small=True)
    records = directory / "own-endpoint.jsonl"
    data = FederationData(directory)
    rows = [{"prompt": data.question(row, "votes"), "completion": row.label} for row in data.records[OWN_ENDPOINT]]
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with load("scorer").Endpoint(0, records=records) as own:
        thread = threading.Thread(target=own.serve_forever)
        thread.start()
        file = directory / "federation.json"
        description = json.loads(file.read_text())
        description["sites"][0]["endpoint"] = f"http://127.0.0.1:{own.server_port}/v1"
        file.write_text(json.dumps(description))
        yield FederationData(directory)
        own.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def finished(bank_data, tmp_path_factory):
    """One run with everybody in it: its workspace and its report."""
    root = tmp_path_factory.mktemp("demo")
    scale = replace(suit(FAST, bank_data.description), measured={"votes": 80})
    workspace = lay_out(root / "run", bank_data, scale, Models({}, None))
    with PlainProgress() as progress:
        return workspace, run_federation(workspace, progress)


def test_every_round_admits_the_honest_and_the_liar_and_refuses_the_others(finished) -> None:
    """Two rounds of votes, as the data says; each refusal with the code of the step that it fails."""
    _, report = finished
    assert [(row["id"], row["kind"]) for row in report["rounds"]] == [("round-1", "votes"), ("round-2", "votes")]
    for row in report["rounds"]:
        assert set(row["admitted"]) == HONEST | {LIAR}
        assert {refusal["site"]: refusal["code"] for refusal in row["refused"]} == {BROKEN: "SF311", LATE: "SF304"}
        assert row["agreed"] + row["contested"] + row["too_few"] == row["prompts"] == 60
        assert row["agreed"] > 20
        assert isinstance(row["attacker_label_agreed"], int)


def test_both_releases_of_every_bank_are_in_its_ledger_and_fit_its_budget(finished) -> None:
    """Two charges compose to more than one of them and less than their sum; sites whose bundle was refused pay too."""
    _, report = finished
    assert {site["role"] for site in report["sites"]} == {str(role) for role in SiteRole}
    for site in report["sites"]:
        assert 2.7 < float(site["epsilon_spent"]) < 4 < float(site["epsilon_budget"]) == 8


def test_a_black_box_is_measured_as_it_was_and_after_the_rounds_but_never_as_trained(finished) -> None:
    """Nothing was trained and no adapter was kept; where labels were taken up, what a bank lacks is named better."""
    _, report = finished
    gains = {}
    for site in report["sites"]:
        assert site["kept"] is None
        if site["role"] != SiteRole.HONEST:
            assert site["exact_match"] == {}
            continue
        assert site["model"] == "merchant-lookup"
        assert set(site["exact_match"]) == {"votes"}
        for shares in site["exact_match"]["votes"].values():
            assert set(shares) == {"base", "local", "consensus"}
            assert shares["local"] is None
        missing = site["exact_match"]["votes"]["missing"]
        gains[site["id"]] = missing["consensus"] - missing["base"]
    assert gains.pop(OWN_ENDPOINT) == 0
    assert sum(gains.values()) > 0
    assert report["seconds"]["train"] == 0
    assert report["bytes"]["lora_exchange"] is None


def test_a_site_is_served_only_where_it_brings_no_endpoint(finished) -> None:
    """Each honest bank has a model process of its own over its own records; the others have none."""
    workspace, _ = finished
    served = {path.stem for path in (workspace.root / "logs").glob("*-model.log")}
    assert served == {f"{name}-model" for name in HONEST - {OWN_ENDPOINT}}
    for site in workspace.sites:
        config = load_site_config(workspace.site_file(site))
        assert config.model.source == workspace.endpoint(site)
        assert config.privacy.mechanism is Mechanism.RECORD_HISTOGRAM
    assert workspace.endpoint(workspace.sites[0]) == workspace.data.description.sites[0].endpoint


def test_every_log_verifies_and_no_record_leaves_its_bank(finished) -> None:
    """Every log of the run; not one customer stands in the server's database or in anything that was printed."""
    workspace, report = finished
    assert len(report["audit"]) == 1 + len(workspace.sites)
    assert all(row["verified"] for row in report["audit"])
    assert report["reconciled"]["agree"], report["reconciled"]
    server = (workspace.server_file.parent / "state" / "server.sqlite").read_bytes()
    printed = b"".join(path.read_bytes() for path in (workspace.root / "logs").iterdir())
    for rows in workspace.data.records.values():
        assert not any(row.entity_id.encode() in server + printed for row in rows)


def test_tables_and_picture_show_no_stage_that_there_was_not(finished, tmp_path) -> None:
    """They are made from the same report as the hospitals'; nothing claims a training."""
    _, report = finished
    text = summary(report)
    assert "missing: consensus" in text
    for absent in ("local", "kept", "rolled back", "LoRA"):
        assert absent not in text
    assert "no adapters to exchange" in text
    drawing = draw(report, tmp_path)[1].read_text()
    assert "before the rounds" in drawing
    assert "trained alone" not in drawing
