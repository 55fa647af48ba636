"""What people read: the explanation leaves nothing out, lint sees what a reviewer should, the schema is current."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from semfed_secure.policy.document import Act, ApprovalGrant, Effective, Limits
from semfed_secure.policy.engine import decide
from semfed_secure.policy.explain import explain_decision, explain_policy
from semfed_secure.policy.lint import lint_policy
from semfed_secure.policy.packs import packs_root
from semfed_secure.policy.schema import policy_schema
from semfed_secure.policy.tightening import walk
from semfed_secure.units import Mechanism, OutputKind
from tests.policy import samples
from tests.policy.samples import BUDGET, FACTS, GRANTS, NOW, policy, with_value

TERM = Effective(since=NOW - timedelta(days=30), until=NOW + timedelta(days=200))
SAFE = GRANTS.model_copy(
    update={
        "mechanisms": frozenset({Mechanism.DP_SGD}),
        "kinds": frozenset({OutputKind.VOTES}),
        "proposed_candidates": frozenset(),
    }
)
HEADER = {"extends": ("pack:healthcare/hipaa",), "frameworks": ("HIPAA",)}


@given(samples.limits(most=12))
def test_the_explanation_names_every_limit(limits: Limits) -> None:
    """Every limit of the effective policy has its line."""
    text = explain_policy(policy(limits=limits))
    assert [path for path, *_ in walk(limits, "limits") if f"[{path}]" not in text] == []


def test_the_explanation_names_every_grant() -> None:
    """Everything that is permitted has its line."""
    approval = ApprovalGrant(
        act=Act.RELEASE_TEXT, role="privacy_officer", approver="Sam Rivera", until=NOW, prompts=samples.PROMPTS
    )
    text = explain_policy(policy(grants=GRANTS.model_copy(update={"approvals": (approval,)})))
    named = ("synthetic-notes", "epsilon 8 at delta 0.000001 per lifetime", samples.PROMPTS, "smollm2", "Sam Rivera")
    assert [word for word in (*named, "server of federation net in US", "unsafe_no_noise") if word not in text] == []


def test_a_policy_without_grants_is_said_to_permit_nothing() -> None:
    """A pack is not mistaken for a permission."""
    assert "permits nothing" in explain_policy(policy(grants=GRANTS.model_copy(update={"actions": frozenset()})))


def test_a_decision_is_explained_with_every_reason() -> None:
    """The words hold each code, what was observed, and the field."""
    denied = decide(FACTS, policy(limits=with_value(Limits(), "release.votes.max_items", 299)), None, NOW)
    text = explain_decision(denied)
    assert [word for word in ("denies", "BUD-001", "KIND-003", "observed 300", "299") if word not in text] == []
    permitted = decide(FACTS, policy(limits=with_value(Limits(), "retention.audit_days", 7)), BUDGET, NOW)
    assert explain_decision(permitted) == "Policy sample 1.0.0 permits this.\n  You owe: retain audit days 7."


def remarks(**parts: Any) -> set[str]:
    """Codes of the remarks on a policy."""
    known: dict[str, Any] = {"effective": TERM, "grants": SAFE, **HEADER}
    return {remark.code for remark in lint_policy(policy(**known | parts), NOW)}


def _dataset(epsilon: str, delta: str) -> Any:
    (dataset,) = SAFE.datasets
    budget = dataset.lifetime.model_copy(update={"epsilon": Decimal(epsilon), "delta": Decimal(delta)})
    return SAFE.model_copy(update={"datasets": (dataset.model_copy(update={"budgets": (budget,)}),)})


def _approval(**values: Any) -> Any:
    grant = ApprovalGrant(
        act=Act.RELEASE_TEXT, role="officer", approver="Sam", until=NOW + timedelta(days=1), prompts=samples.PROMPTS
    )
    return SAFE.model_copy(update={"approvals": (grant.model_copy(update=values),)})


TEXT = SAFE.model_copy(update={"kinds": frozenset({OutputKind.TEXT})})
PEOPLE = with_value(Limits(), "data.min_entities", 1000)
RULES = with_value(Limits(), "peers.rules", frozenset({"proposals"}))


@pytest.mark.parametrize(
    ("parts", "codes"),
    [
        ({}, set()),
        ({"extends": ()}, {"LINT-001"}),
        ({"frameworks": ()}, {"LINT-002"}),
        ({"effective": Effective()}, {"LINT-003"}),
        ({"effective": Effective(until=NOW)}, {"LINT-004"}),
        ({"effective": Effective(until=NOW + timedelta(days=30))}, {"LINT-005"}),
        ({"effective": Effective(since=NOW, until=NOW + timedelta(days=367))}, {"LINT-006"}),
        ({"grants": _dataset("10.1", "1e-6")}, {"LINT-007"}),
        ({"grants": _dataset("10", "1e-6")}, set()),
        ({"grants": _dataset("8", "1e-3"), "limits": PEOPLE}, {"LINT-008"}),
        ({"grants": _dataset("8", "0.9e-3"), "limits": PEOPLE}, set()),
        ({"grants": SAFE.model_copy(update={"mechanisms": frozenset(Mechanism)})}, {"LINT-009"}),
        ({"grants": TEXT}, {"LINT-010", "LINT-011", "LINT-016"}),
        ({"grants": TEXT, "limits": RULES}, {"LINT-010", "LINT-011"}),
        ({"grants": _approval()}, set()),
        ({"grants": _approval(until=NOW)}, {"LINT-012"}),
        ({"grants": _approval(approver="Security Office")}, {"LINT-013"}),
        ({"grants": _approval(prompts="sha256:" + "0" * 64)}, {"LINT-014"}),
        ({"grants": SAFE.model_copy(update={"peers": ()})}, {"LINT-015"}),
        ({"grants": SAFE.model_copy(update={"proposed_candidates": SAFE.prompts})}, {"LINT-017"}),
    ],
)
def test_lint_remarks(parts: dict[str, Any], codes: set[str]) -> None:
    """Each remark is made where its cause is, and nowhere else."""
    assert remarks(**parts) == codes


def test_the_checked_in_schema_is_current() -> None:
    """`policies/schema.json` is what `semfed policy schema` prints."""
    assert json.loads((packs_root() / "schema.json").read_text()) == policy_schema()


def test_the_schema_says_what_tightens() -> None:
    """Editors show, for each limit, in which direction a child may go."""
    properties = policy_schema()["$defs"]["DataLimits"]["properties"]
    assert {name: field["tightening"] for name, field in properties.items()} == {
        "classifications": "only",
        "dataset_prefixes": "only",
        "deidentification": "only",
        "max_records_per_entity": "at_most",
        "min_entities": "at_least",
    }
