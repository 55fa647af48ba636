"""Banks agree on merchants through the production way: another domain is data and policy, not code."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest
import yaml

from semfed_secure.audit.events import EventType
from semfed_secure.demo.data import FederationData
from semfed_secure.errors import ExitCode, RefusedError
from semfed_secure.ids import PromptId, hex_digest
from semfed_secure.llm.model import Record
from semfed_secure.policy.packs import PREFIX
from semfed_secure.testing.federation import LocalFederation, SiteSettings
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import PromptStatus
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.demo.test_bank_data import load

EPSILON, BUDGET = "3.9", Decimal(8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> FederationData:
    """A small federation of banks."""
    directory = tmp_path_factory.mktemp("data") / "bank"
    load("build").build(directory, seed=3, small=True)
    return FederationData(directory)


@pytest.fixture(scope="module")
def prompts(data) -> PromptSet:
    """What the banks are asked."""
    rows = tuple(Prompt(PromptId(row.id), data.question(row, "votes")) for row in data.prompts)
    return PromptSet("merchants", rows, data.candidates)


@pytest.fixture(scope="module")
def federation(data, prompts, tmp_path_factory):
    """Five banks and a server on this machine."""
    members = [site.id for site in data.description.sites[:5]]
    with LocalFederation(tmp_path_factory.mktemp("banks") / "run", members=members, prompt_sets=[prompts]) as banks:
        yield banks


@pytest.fixture(scope="module")
def settings(data, prompts, federation) -> SiteSettings:
    """The example's own policy, with the grants that belong to this federation."""
    policy = yaml.safe_load(data.policy.read_text())
    server = federation.context.keys.record
    policy["grants"] |= {
        "prompts": [hex_digest(prompts.digest)],
        "proposed_candidates": [],  # which the pack rules out
        "models": [{"family": "test"}],
        "peers": [
            {
                "server_id": server.member_id,
                "federation": server.federation,
                "signing_key_ids": [key.key_id for key in server.signing_keys],
                "jurisdiction": server.jurisdiction,
            }
        ],
    }
    assert policy["extends"] == [f"{PREFIX}finance/glba"]
    described = data.description
    section = {"dataset": described.dataset, "population": "customers", "classification": described.classification}
    return SiteSettings(
        mechanism=Mechanism.RECORD_HISTOGRAM,
        epsilon=EPSILON,
        max_records_per_entity=described.max_records_per_entity,
        policy=policy,
        sections={"data": section, "model": {"provenance": "public"}},
    )


def records(data: FederationData, site: str) -> list[Record]:
    """A bank's payments."""
    return [Record(row.entity_id, data.question(row, "votes"), row.label) for row in data.records[site]]


@pytest.fixture(scope="module")
def outcome(federation, data, prompts, settings):
    """One whole round: every bank's receipt, what it learned, and its open client."""
    federation.open_round("round-1", prompts, min_clients=3)
    scorer = load("scorer").MerchantScorer
    clients, receipts = {}, {}
    for member in federation.members:
        own = records(data, member)
        model = scorer([(record.prompt, record.completion) for record in own])
        clients[member] = federation.client(member, settings=settings, model=model)
        receipts[member] = clients[member].join("round-1").contribute(records=own)
    assert federation.close_round("round-1") == "published"
    consensus = {}
    for member, client in clients.items():
        joined = client.join("round-1")
        consensus[member] = joined.wait_for_consensus()
        joined.learn(consensus[member])
    yield clients, receipts, consensus
    for client in clients.values():
        client.close()


def test_every_bank_is_admitted_and_pays_what_it_declared(outcome, data) -> None:
    """One charge each, by the mechanism that the policy names, inside the budget; the audit log says so."""
    clients, receipts, _ = outcome
    assert {receipt.outcome for receipt in receipts.values()} == {"admitted"}
    for client in clients.values():
        state = client.site.ledger.snapshot("customers", delta=Decimal("1e-6"))
        assert state.charges == 1
        assert 0 < state.spent["lifetime"] <= Decimal(EPSILON)
        types = [entry.event.type for entry in client.site.audit.entries(0, 1000)]
        assert types.count(EventType.BUDGET_RESERVED) == types.count(EventType.BUDGET_COMMITTED) == 1


def test_the_banks_agree_on_the_right_category_more_often_than_not(outcome, data) -> None:
    """Most prompts are agreed on, and what is agreed is mostly right, though every vote was noised."""
    consensus = next(iter(outcome[2].values())).consensus
    gold = [row.label for row in data.gold]
    agreed = [
        (result.label, label)
        for result, label in zip(consensus.results[0], gold, strict=True)
        if result.status is PromptStatus.AGREED
    ]
    assert len(agreed) > 0.3 * len(gold)
    assert sum(one == other for one, other in agreed) > 0.6 * len(agreed)


def test_a_bank_learns_what_it_was_blind_to(outcome, data) -> None:
    """The accepted labels, added to its black box, name categories that it has no payment of."""
    clients, _, _ = outcome
    scorer = load("scorer").MerchantScorer
    before, after = [], []
    for site in data.description.sites[:5]:
        labels = clients[site.id].site.config.site.state / "labels" / "round-1.jsonl"
        learned = [(row["prompt"], row["label"]) for row in map(json.loads, labels.read_text().splitlines())]
        own = [(record.prompt, record.completion) for record in records(data, site.id)]
        rows = [row for row in data.heldout if row.label in site.missing]
        asked = [data.question(row, "votes") for row in rows]
        for known, right in ((own, before), ([*own, *learned], after)):
            chosen = scorer(known).score(asked, data.candidates).argmax(axis=1)
            right += [data.candidates[place] == row.label for place, row in zip(chosen, rows, strict=True)]
    assert np.mean(after) > np.mean(before) + 0.15


def test_rounds_compose_until_the_budget_is_spent(outcome, federation, data, prompts) -> None:
    """Two more rounds fit into the lifetime budget; the fourth is refused, and nothing is charged or released."""
    bank = federation.members[0]
    client, own = outcome[0][bank], records(data, bank)
    for number in (2, 3):
        federation.open_round(f"round-{number}", prompts, min_clients=3)
        assert client.join(f"round-{number}").contribute(records=own).outcome == "admitted"
    federation.open_round("round-4", prompts, min_clients=3)
    with pytest.raises(RefusedError) as caught:
        client.join("round-4").contribute(records=own)
    assert caught.value.exit_code in {ExitCode.POLICY, ExitCode.BUDGET}
    assert "8" in str(caught.value)
    spent = client.site.ledger.snapshot("customers", delta=Decimal("1e-6"))
    assert spent.charges == 3
    assert spent.spent["lifetime"] <= BUDGET
    released = [entry.event for entry in client.site.audit.entries(0, 1000) if entry.event.type == "bundle.released"]
    assert [event.round_id for event in released] == ["round-1", "round-2", "round-3"]
