"""Composition: a child only tightens, grants stay below the ceiling, and the digest covers the whole chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.compose import MAX_CHAIN, load_named, load_policy
from semfed_secure.policy.packs import pack_names, packs_root

HEADER = {
    "format": "semfed/policy/1",
    "version": "1.0.0",
    "title": "A sample",
    "default": "deny",
    "domain": "health",
    "owner": "office",
}
KEY = "sha256:" + "a" * 64
DATASET = {
    "id": "notes",
    "population": "patients",
    "classification": "phi",
    "budgets": [{"period": "lifetime", "epsilon": "4", "delta": "1e-6"}],
}


class Folder:
    """Writes policy files that extend one another."""

    def __init__(self, path: Path) -> None:
        """Write into ``path``."""
        self.path = path

    def write(self, name: str, **parts: Any) -> Path:
        """One policy file with the given parts."""
        file = self.path / f"{name}.yaml"
        file.write_text(json.dumps({**HEADER, "id": name, **parts}))
        return file


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder for policies."""
    return Folder(tmp_path)


def refuse(path: Path) -> ConfigurationError:
    """What loading ``path`` is refused with."""
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(path)
    return refusal.value


def test_limits_of_the_chain_meet(folder: Folder) -> None:
    """Each limit of the effective policy is the tightest along pack, organisation and site."""
    folder.write("pack", limits={"data": {"min_entities": 50}, "privacy": {"max_epsilon": "8"}})
    folder.write("organisation", extends=["pack.yaml"], limits={"data": {"min_entities": 100}})
    site = folder.write("site", extends=["organisation.yaml"], limits={"privacy": {"max_epsilon": "4"}})
    policy = load_policy(site)
    assert (policy.limits.data.min_entities, str(policy.limits.privacy.max_epsilon)) == (100, "4")
    assert [source.id for source in policy.sources] == ["pack", "organisation", "site"]


def test_several_ceilings_all_hold(folder: Folder) -> None:
    """A site that extends a pack and its federation's policy is bound by both."""
    folder.write("pack", limits={"peers": {"min_clients": 3}, "release": {"kinds": ["votes", "text"]}})
    folder.write("federation", limits={"peers": {"min_clients": 5}, "release": {"kinds": ["votes", "embedding"]}})
    policy = load_policy(folder.write("site", extends=["pack.yaml", "federation.yaml"]))
    assert (policy.limits.peers.min_clients, policy.limits.release.kinds) == (5, {"votes"})


@pytest.mark.parametrize(
    ("above", "below", "field"),
    [
        ({"data": {"min_entities": 50}}, {"data": {"min_entities": 49}}, "limits.data.min_entities"),
        ({"privacy": {"max_epsilon": "4"}}, {"privacy": {"max_epsilon": "4.1"}}, "limits.privacy.max_epsilon"),
        ({"release": {"kinds": ["votes"]}}, {"release": {"kinds": ["text"]}}, "limits.release.kinds"),
        ({"models": {"no_remote_code": True}}, {"models": {"no_remote_code": False}}, "limits.models.no_remote_code"),
        ({"approvals": {"train": {"chair": 2}}}, {"approvals": {"train": {"chair": 1}}}, "limits.approvals.train"),
    ],
)
def test_loosening_is_refused_by_field(folder: Folder, above: Any, below: Any, field: str) -> None:
    """A child that asks for more than what it extends is refused with SF112 and the field."""
    folder.write("above", limits=above)
    refusal = refuse(folder.write("below", extends=["above.yaml"], limits=below))
    assert (refusal.code, refusal.fields["field"]) == ("SF112", field)
    assert field in refusal.message


def test_loosening_in_the_middle_of_the_chain_is_refused(folder: Folder) -> None:
    """It is not only the loaded file that may not loosen."""
    folder.write("pack", limits={"data": {"min_entities": 50}})
    folder.write("organisation", extends=["pack.yaml"], limits={"data": {"min_entities": 10}})
    refusal = refuse(folder.write("site", extends=["organisation.yaml"]))
    assert (refusal.code, refusal.fields["file"]) == ("SF112", "organisation.yaml")


def test_a_longer_term_is_refused(folder: Folder) -> None:
    """A site's policy cannot outlive its organisation's."""
    folder.write("organisation", effective={"until": "2027-01-01T00:00:00Z"})
    site = folder.write("site", extends=["organisation.yaml"], effective={"until": "2028-01-01T00:00:00Z"})
    assert refuse(site).fields["field"] == "effective.until"


PEER = {"server_id": "server", "federation": "net", "signing_key_ids": [KEY], "jurisdiction": "FR"}


@pytest.mark.parametrize(
    ("limits", "grants", "field"),
    [
        ({"actions": ["train"]}, {"actions": ["release"]}, "grants.actions"),
        ({"release": {"kinds": ["votes"]}}, {"kinds": ["votes", "text"]}, "grants.kinds"),
        ({"privacy": {"mechanisms": ["dp_sgd"]}}, {"mechanisms": ["unsafe_no_noise"]}, "grants.mechanisms"),
        ({"data": {"classifications": ["npi"]}}, {"datasets": [DATASET]}, "grants.datasets.0.classification"),
        ({"data": {"deidentification": ["expert"]}}, {"datasets": [DATASET]}, "grants.datasets.0.deidentification"),
        ({"data": {"dataset_prefixes": ["synthetic-"]}}, {"datasets": [DATASET]}, "grants.datasets.0.id"),
        ({"privacy": {"max_epsilon": "3"}}, {"datasets": [DATASET]}, "grants.datasets.0.budgets"),
        ({"privacy": {"max_delta": "1e-7"}}, {"datasets": [DATASET]}, "grants.datasets.0.budgets"),
        ({"models": {"families": ["other"]}}, {"models": [{"family": "coder"}]}, "grants.models.0.family"),
        ({"models": {"pinned_weights": True}}, {"models": [{"family": "coder"}]}, "grants.models.0.digest"),
        ({"peers": {"jurisdictions": ["US"]}}, {"peers": [PEER]}, "grants.peers.0.jurisdiction"),
        ({"prompts": {"reviewed_candidates": True}}, {"proposed_candidates": [KEY]}, "grants.proposed_candidates"),
    ],
)
def test_a_grant_beyond_the_ceiling_is_refused_by_field(folder: Folder, limits: Any, grants: Any, field: str) -> None:
    """Both are needed: what the ceiling does not allow cannot be granted below it."""
    assert load_policy(folder.write("free", grants=grants)).grants
    folder.write("ceiling", limits=limits)
    refusal = refuse(folder.write("site", extends=["ceiling.yaml"], grants=grants))
    assert (refusal.code, refusal.fields["field"]) == ("SF112", field)


def test_grants_stand_only_in_the_loaded_policy(folder: Folder) -> None:
    """Nobody inherits a permission that they did not write."""
    folder.write("organisation", grants={"actions": ["train"]})
    refusal = refuse(folder.write("site", extends=["organisation.yaml"]))
    assert (refusal.code, refusal.fields["field"]) == ("SF111", "grants")


def test_a_circle_is_refused(folder: Folder) -> None:
    """Two policies that extend each other are an error, not an endless load."""
    folder.write("one", extends=["two.yaml"])
    assert refuse(folder.write("two", extends=["one.yaml"])).code == "SF111"


@pytest.mark.parametrize("excess", [0, 1])
def test_the_chain_is_limited(folder: Folder, excess: int) -> None:
    """A chain of the greatest length loads, one more does not."""
    path = folder.write("p0")
    for index in range(1, MAX_CHAIN + excess):
        path = folder.write(f"p{index}", extends=[f"p{index - 1}.yaml"])
    if excess:
        assert "too deep" in refuse(path).message
    else:
        assert len(load_policy(path).sources) == MAX_CHAIN


@pytest.mark.parametrize(
    ("reference", "code"),
    [("pack:healthcare/none", "SF111"), ("pack:../../etc/passwd", "SF111"), ("missing.yaml", "SF102")],
)
def test_what_cannot_be_found_is_refused(folder: Folder, reference: str, code: str) -> None:
    """An unknown pack names those that there are; a missing file names its path."""
    assert refuse(folder.write("site", extends=[reference])).code == code


def test_the_digest_covers_the_whole_chain(folder: Folder) -> None:
    """A change in what is extended changes the digest, even where the effective limits stay the same."""
    folder.write("pack", limits={"data": {"min_entities": 50}})
    site = folder.write("site", extends=["pack.yaml"], limits={"data": {"min_entities": 100}})
    before = load_policy(site)
    folder.write("pack", limits={"data": {"min_entities": 60}})
    after = load_policy(site)
    assert before.limits == after.limits
    assert before.digest != after.digest


def test_budgets_of_a_data_set(folder: Folder) -> None:
    """The ledger gets the budgets of a granted data set, and none for another."""
    policy = load_policy(folder.write("site", grants={"datasets": [DATASET]}))
    assert [str(budget.epsilon) for budget in policy.budgets("notes")] == ["4"]
    assert policy.budgets("other") == ()


@pytest.mark.parametrize("name", ["pack:finance/glba", "pack:healthcare/hipaa", "pack:research/synthetic"])
def test_shipped_packs_load_and_grant_nothing(name: str) -> None:
    """Every pack is a ceiling."""
    assert name in pack_names()
    assert load_named(name).document.grants is None


def test_only_the_synthetic_pack_leaves_room_for_outputs_without_noise() -> None:
    """No ceiling for real data allows unsafe_no_noise, and the one that does wants synthetic or public data sets."""
    packs = {name: load_named(name).limits for name in pack_names()}
    open_to_it = {
        n for n, found in packs.items() if "unsafe_no_noise" in (found.privacy.mechanisms or {"unsafe_no_noise"})
    }
    assert open_to_it == {"pack:research/synthetic"}
    assert packs["pack:research/synthetic"].data.dataset_prefixes == {"synthetic-", "public-"}


def test_packs_of_the_checkout_are_used_here() -> None:
    """Tests read the packs that the repository ships."""
    assert packs_root() == Path(__file__).parents[2] / "policies"
