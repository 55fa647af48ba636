"""The bank example's data keeps its promises, and its black box answers through the production adapter."""

from __future__ import annotations

import http.client
import importlib.util
import json
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from semfed_secure.client.ballots import cast_ballots
from semfed_secure.demo.data import FederationData
from semfed_secure.ids import PromptId
from semfed_secure.llm.model import Model, Record
from semfed_secure.llm.remote import RemoteModel
from semfed_secure.policy.compose import load_policy
from semfed_secure.privacy.accountant import epsilon_of, gaussian_rdp, noise_multiplier_for
from semfed_secure.privacy.histogram import release_histogram, votes_from_counts
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.prompts import Prompt, PromptSet

EXAMPLE = Path(__file__).parents[2] / "examples" / "bank_merchants"


def load(name: str):
    """One of the example's scripts, loaded from its file."""
    spec = importlib.util.spec_from_file_location(f"bank_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def builder():
    """The data builder."""
    return load("build")


@pytest.fixture(scope="module")
def small(builder, tmp_path_factory) -> Path:
    """A small federation's data."""
    directory = tmp_path_factory.mktemp("data") / "bank"
    builder.build(directory, seed=1, small=True)
    return directory


def records_of(data: FederationData, site: str) -> list[Record]:
    """A bank's records as the client reads them."""
    return [Record(row.entity_id, data.question(row, "votes"), row.label) for row in data.records[site]]


def test_no_public_description_stands_anywhere_else(builder, small) -> None:
    """Prompts, validation, held-out and records share no description, whatever its case, order and number."""
    data = FederationData(small)
    public = [builder.normalised(row.text) for rows in (data.prompts, data.validation, data.heldout) for row in rows]
    private = {builder.normalised(row.text) for rows in data.records.values() for row in rows}
    assert len(public) == len(set(public)) > 200
    assert not private & set(public)


def test_no_bank_has_a_record_of_what_it_lacks(small) -> None:
    """Blindness is real, and what one honest bank lacks the four others know."""
    data = FederationData(small)
    for site in data.description.sites:
        assert {row.label for row in data.records[site.id]} == set(data.candidates) - set(site.missing)
    lacking = [label for site in data.description.sites[:5] for label in site.missing]
    assert sorted(lacking) == sorted(data.candidates)


def test_every_customer_has_several_merchants_and_none_has_more(builder, small) -> None:
    """The privacy unit is the customer: each holds as many records as the description states at most."""
    data = FederationData(small)
    for rows in data.records.values():
        held = Counter(row.entity_id for row in rows)
        assert set(held.values()) == {data.description.max_records_per_entity}
        assert len(held) == builder.SMALL.customers


def test_every_label_has_prompts_and_held_out_texts(small) -> None:
    """Otherwise nothing about it could be learned, or measured."""
    data = FederationData(small)
    for rows in (data.gold, data.validation, data.heldout):
        assert {row.label for row in rows} == set(data.candidates)


def test_the_same_seed_writes_the_same_bytes(builder, small, tmp_path) -> None:
    """A run can be repeated; another seed draws another federation."""
    builder.build(tmp_path / "again", seed=1, small=True)
    builder.build(tmp_path / "other", seed=2, small=True)
    for file in small.rglob("*.jsonl"):
        place = file.relative_to(small)
        assert (tmp_path / "again" / place).read_bytes() == file.read_bytes()
        assert (tmp_path / "other" / place).read_bytes() != file.read_bytes()


def test_the_policy_permits_noised_votes_and_nothing_else(small) -> None:
    """A leaf of the finance pack: one kind, one mechanism, one budget."""
    policy = load_policy(small / "policy.yaml")
    assert policy.grants.kinds == (OutputKind.VOTES,) or set(policy.grants.kinds) == {OutputKind.VOTES}
    assert set(policy.grants.mechanisms) == {Mechanism.RECORD_HISTOGRAM}
    (budget,) = policy.budgets(json.loads((small / "federation.json").read_text())["dataset"])
    assert budget.epsilon == 8


def test_votes_of_a_bank_are_useful_at_its_budget(small) -> None:
    """Released at epsilon 4, a bank's votes cover prompts it knows and are right far more often than chance."""
    data = FederationData(small)
    bank = data.description.sites[0]
    prompts = tuple(Prompt(PromptId(row.id), data.question(row, "votes")) for row in data.prompts)
    asked = PromptSet("votes", prompts, data.candidates)
    ballots = cast_ballots(records_of(data, bank.id), asked, load("scorer").MerchantScorer([]))
    sigma = noise_multiplier_for(4, "1e-6")
    assert epsilon_of(gaussian_rdp(sigma), "1e-6") <= 4
    released = release_histogram(ballots.votes, (len(prompts), len(data.candidates)), sigma=sigma)
    votes = np.array(votes_from_counts(released, sigma=sigma))
    gold = np.array([data.candidates.index(row.label) for row in data.gold])
    blind = np.isin(gold, [data.candidates.index(label) for label in bank.missing])
    assert (votes[~blind] >= 0).mean() > 0.4
    assert (votes == gold)[votes >= 0].mean() > 0.6
    assert (votes[blind] >= 0).mean() < (votes[~blind] >= 0).mean()


@pytest.fixture
def endpoint(small, tmp_path):
    """A bank's black box, serving on loopback; its records and the directory of its labels."""
    data = FederationData(small)
    records, labels = tmp_path / "records.jsonl", tmp_path / "labels"
    labels.mkdir()
    rows = [{"prompt": one.prompt, "completion": one.completion} for one in records_of(data, "first-harbor")]
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with load("scorer").Endpoint(0, records=records, labels=labels) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, labels, data
        server.shutdown()
        thread.join()


def test_the_black_box_answers_through_the_production_adapter(endpoint) -> None:
    """Over HTTP it prefers the label of a record that it holds, as the scorer itself does."""
    server, _, data = endpoint
    own = records_of(data, "first-harbor")[:8]
    model = RemoteModel(f"http://127.0.0.1:{server.server_port}/v1", model="merchants", scoring="choice")
    chosen = model.score([record.prompt for record in own], data.candidates).argmax(axis=1)
    assert [data.candidates[place] for place in chosen] == [record.completion for record in own]
    assert model.answer([own[0].prompt], max_new_tokens=8) == [own[0].completion]
    assert isinstance(server.scorer(), Model)
    model.close()


def test_the_black_box_learns_the_federations_labels_as_they_arrive(endpoint) -> None:
    """A category that the bank lacks is named once the accepted labels lie in the site's state directory."""
    server, labels, data = endpoint
    asked = [data.question(row, "votes") for row in data.gold if row.label == "airlines"]
    before = server.scorer().score(asked, data.candidates).argmax(axis=1)
    rows = ({"prompt": text, "label": "airlines", "support_ppm": 800_000} for text in asked)
    (labels / "round-1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    after = server.scorer().score(asked, data.candidates).argmax(axis=1)
    place = data.candidates.index("airlines")
    assert (after == place).all()
    assert (before == place).mean() < 0.8


def test_the_endpoint_refuses_what_it_does_not_serve(endpoint) -> None:
    """Another path is 404, a request above the limit is 413 and is not read."""
    server, _, _ = endpoint
    for path, length, status in (("/v1/completions", "2", 404), ("/v1/chat/completions", str(2 * 1024 * 1024), 413)):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.putrequest("POST", path)
        connection.putheader("content-length", length)
        connection.endheaders()
        with connection.getresponse() as response:
            assert response.status == status
        connection.close()
