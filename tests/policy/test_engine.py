"""The engine's four guarantees, and that every limit can deny."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from semfed_secure.errors import ApprovalNeeded, PolicyDenied
from semfed_secure.policy.document import Act, ApprovalGrant, Effective, Grants, Limits
from semfed_secure.policy.engine import CHECKS, Decision, Outcome, decide, require
from semfed_secure.policy.explain import explain_decision
from semfed_secure.policy.facts import Action, Approval, Facts
from semfed_secure.policy.tightening import Rule, describe, meet
from semfed_secure.units import Aggregation, Mechanism, OutputKind, Period, Provenance
from tests.policy import samples
from tests.policy.samples import BUDGET, FACTS, GRANTS, NOW, change, policy, with_value

RANK = {Outcome.DENY: 0, Outcome.NEEDS_APPROVAL: 1, Outcome.PERMIT: 2}


def ask(facts: Facts = FACTS, *, budget: Any = BUDGET, now: datetime = NOW, **parts: Any) -> Decision:
    """Decide about ``facts`` under the sample policy with some parts changed."""
    return decide(facts, policy(**parts), budget, now)


def test_the_sample_is_permitted() -> None:
    """The policy that the other tests tighten permits the facts that they change."""
    decision = ask()
    assert (decision.outcome, decision.reasons) == (Outcome.PERMIT, ())


@given(samples.hostile_facts(), samples.hostile_budgets(), samples.limits())
def test_total(facts: Facts, budget: Any, limits: Limits) -> None:
    """Whatever the facts and the budget hold, decide returns a decision, and its JSON form can be written."""
    decision = ask(facts, budget=budget, limits=limits)
    assert isinstance(decision.outcome, Outcome)
    assert (decision.outcome is Outcome.PERMIT) == (not decision.reasons)
    json.dumps(decision.as_json(), allow_nan=False)


@given(samples.facts(), samples.limits())
def test_deterministic(facts: Facts, limits: Limits) -> None:
    """The same policy, facts, budget and time give the same decision."""
    assert ask(facts, limits=limits) == ask(facts, limits=limits)


@given(samples.facts(), samples.limits(), samples.limits())
def test_monotone_in_limits(facts: Facts, limits: Limits, more: Limits) -> None:
    """Adding or tightening limits never moves a decision towards permit."""
    loose, tight = ask(facts, limits=limits), ask(facts, limits=meet(limits, more))
    assert RANK[tight.outcome] <= RANK[loose.outcome]


@given(samples.facts(), st.data())
def test_monotone_in_grants(facts: Facts, data: st.DataObject) -> None:
    """Taking away a grant, or lowering a budget, never moves a decision towards permit."""
    name = data.draw(st.sampled_from(sorted(Grants.model_fields)))
    granted = getattr(GRANTS, name)
    assume(granted)
    kept = data.draw(st.sets(st.sampled_from(sorted(granted, key=str)), max_size=len(granted) - 1))
    fewer = GRANTS.model_copy(update={name: type(granted)(kept)})
    assert RANK[ask(facts, grants=fewer).outcome] <= RANK[ask(facts).outcome]


@given(samples.facts(), samples.values_of("privacy.max_epsilon"))
def test_monotone_in_budgets(facts: Facts, epsilon: Decimal) -> None:
    """A lower budget in any period never moves a decision towards permit."""
    dataset = GRANTS.datasets[0]
    lower = tuple(b.model_copy(update={"epsilon": min(b.epsilon, epsilon)}) for b in dataset.budgets)
    tight = GRANTS.model_copy(update={"datasets": (dataset.model_copy(update={"budgets": lower}),)})
    assert RANK[ask(facts, grants=tight).outcome] <= RANK[ask(facts).outcome]


@given(st.sets(st.sampled_from(range(6)), min_size=1))
def test_every_failing_reason_is_listed(chosen: set[int]) -> None:
    """Several defects at once give the codes of each: none hides another."""
    defects: list[tuple[str, dict[str, Any], str]] = [
        ("dataset", {"population": "others"}, "DATA-002"),
        ("prompts", {"digest": "sha256:" + "0" * 64}, "PRM-001"),
        ("release", {"detector_error": True}, "DET-002"),
        ("model", {"digest": None}, "MOD-002"),
        ("peer", {"federation": "others"}, "PEER-002"),
        ("history", {"key_age_days": 31}, "KEY-002"),
    ]
    limits = with_value(Limits(), "peers.max_key_age_days", 30)
    facts = FACTS
    for index in chosen:
        section, values, _ = defects[index]
        facts = replace(facts, **{section: replace(getattr(facts, section), **values)})
    assert ask(facts, limits=limits).codes == tuple(sorted(defects[index][2] for index in chosen))


# The tightest value of each rule; facts that break a limit which is a plain must.
TIGHTEST = {
    Rule.AT_MOST: 0,
    Rule.AT_LEAST: 10**9,
    Rule.ONLY: frozenset(),
    Rule.ALL_OF: frozenset({"nobody"}),
    Rule.COUNTS: {"nobody": 1},
    Rule.MUST: True,
}
BREAKING = {
    "dp_trained_model": change("release", mechanism=Mechanism.UNSAFE_NO_NOISE, model_trained_with_dp=False),
    "min_forecast_ppm": change("release", mechanism=Mechanism.RECORD_HISTOGRAM),
    "min_witnesses": replace(change("peer", witnesses=2), action=Action.JOIN),
    "reviewed_candidates": change("prompts", digest=samples.WEIGHTS, proposed_for=samples.KEY),
    "no_remote_code": change("model", remote_code=True),
    "pinned_weights": change("model", family="coder", digest=None),
}


def _facts_under(path: str) -> Facts:
    """Facts of the act and the kind of output that the limit at ``path`` is about."""
    *_, middle, name = ("", *path.split("."))
    facts = BREAKING.get(name, FACTS)
    if path.startswith("approvals."):
        middle = name.removeprefix("release_")
        facts = replace(facts, action=Action(name) if middle == name else Action.RELEASE)
    if middle not in set(OutputKind):
        return facts
    return replace(facts, release=replace(facts.release, kind=OutputKind(middle)))


@pytest.mark.parametrize("path", [path for path in samples.limit_paths() if not path.startswith("retention.")])
def test_every_limit_can_deny(path: str) -> None:
    """Each limit at its tightest turns a permit into something else, and names itself as the reason."""
    facts, approval = _facts_under(path), path.startswith("approvals.")
    assert ask(facts).outcome is Outcome.PERMIT
    decision = ask(facts, limits=with_value(Limits(), path, TIGHTEST[describe(Limits, path)[0]]))
    assert decision.outcome is (Outcome.NEEDS_APPROVAL if approval else Outcome.DENY)
    assert ("limits.approvals" if approval else f"limits.{path}") in {reason.field for reason in decision.reasons}


@pytest.mark.parametrize(
    ("kind", "texts", "outcome"),
    [
        ("votes", 0, Outcome.PERMIT),
        ("votes", None, Outcome.DENY),
        ("text", 1, Outcome.DENY),
        ("text", 0, Outcome.PERMIT),
    ],
)
def test_detectors_must_have_read_whatever_text_there_is(kind: str, texts: int | None, outcome: Outcome) -> None:
    """Where no text would leave, none has to have run; what is not said counts as text."""
    facts = change("release", kind=OutputKind(kind), texts=texts, detectors_run=(), findings={})
    limits = with_value(Limits(), f"release.{kind}.detectors", frozenset({"identifiers"}))
    assert ask(facts, limits=limits).outcome is outcome


@pytest.mark.parametrize(("witnesses", "permitted"), [(None, False), (0, False), (1, False), (2, True), (3, True)])
def test_witnesses_are_counted_when_a_round_is_joined(witnesses: int | None, permitted: bool) -> None:
    """Unknown is none; what follows in a round that was joined is not asked again."""
    facts, limits = change("peer", witnesses=witnesses), with_value(Limits(), "peers.min_witnesses", 2)
    joining = ask(replace(facts, action=Action.JOIN), limits=limits)
    assert joining.codes == (() if permitted else ("PEER-006",))
    assert ask(facts, limits=limits).outcome is Outcome.PERMIT


@pytest.mark.parametrize(
    ("weights", "permitted"), [(None, False), ("equal", False), ("agreement", True), ("anchored", True)]
)
def test_a_site_says_what_may_move_its_weight(weights: str | None, permitted: bool) -> None:
    """A way of weighing that is not allowed, or not told, is refused: so one can be refused, or demanded."""
    limits = with_value(Limits(), "peers.weights", frozenset({"agreement", "anchored"}))
    assert ask(change("peer", weights=weights), limits=limits).codes == (() if permitted else ("PEER-007",))


@pytest.mark.parametrize("action", [Action.JOIN, Action.RELEASE, Action.LEARN])
@pytest.mark.parametrize(
    ("group", "permitted"), [(None, True), ("health", True), ("finance", False), ("", False), (7, False)]
)
def test_a_site_has_no_part_in_the_group_of_another_domain(action: Action, group: str | None, permitted: bool) -> None:
    """Whatever is granted, in every act of a round: it neither answers among others nor learns their labels."""
    assert policy().document.domain == "health"
    facts = replace(change("peer", group=group), action=action)
    assert ask(facts).codes == (() if permitted else ("PEER-009",))


@pytest.mark.parametrize("action", [Action.TRAIN, Action.RELEASE])
@pytest.mark.parametrize("name", ["mechanisms", "max_epsilon", "max_delta", "units", "relations"])
def test_privacy_limits_bind_training_and_release_alike(action: Action, name: str) -> None:
    """Each privacy limit denies a training run by itself, and a release by itself."""
    other = {"release": None} if action is Action.TRAIN else {"training": None}
    facts = replace(FACTS, action=action, **other)
    tight = with_value(Limits(), f"privacy.{name}", TIGHTEST[describe(Limits, f"privacy.{name}")[0]])
    assert ask(facts).outcome is Outcome.PERMIT
    assert [reason.field for reason in ask(facts, limits=tight).reasons] == [f"limits.privacy.{name}"]


@pytest.mark.parametrize(
    ("section", "values", "code"),
    [
        ("dataset", {"id": "other"}, "DATA-001"),
        ("dataset", {"population": "other"}, "DATA-002"),
        ("dataset", {"classification": "npi"}, "DATA-003"),
        ("release", {"epsilon_total": Decimal("8.0001")}, "DP-002"),
        ("release", {"epsilon_total": Decimal("NaN")}, "DP-002"),
        ("release", {"epsilon_total": Decimal("Infinity")}, "DP-002"),
        ("release", {"epsilon_total": 5.0}, "DP-002"),
        ("release", {"epsilon_total": Decimal("4.9")}, "BUD-003"),
        ("release", {"delta": Decimal("1.1e-6")}, "DP-003"),
        ("release", {"model_trained_with_dp": False}, "DP-006"),
        ("release", {"kind": OutputKind.TEXT, "aggregation": Aggregation.CLUSTERED}, "KIND-004"),
        ("release", {"kind": OutputKind.TEXT, "mechanism": Mechanism.RECORD_HISTOGRAM}, "KIND-004"),
        ("release", {"detector_error": True}, "DET-002"),
        ("release", {"detector_error": None}, "DET-002"),
        ("prompts", {"digest": "sha256:" + "0" * 64}, "PRM-001"),
        ("model", {"family": "other"}, "MOD-001"),
        ("model", {"digest": "sha256:" + "0" * 64}, "MOD-002"),
        ("model", {"provenance": Provenance.OWN_POPULATION}, "MOD-005"),
        ("model", {"provenance": None}, "MOD-005"),
        ("peer", {"server_id": "other"}, "PEER-001"),
        ("peer", {"federation": "other"}, "PEER-002"),
        ("peer", {"signing_key_ids": (samples.KEY, "sha256:" + "0" * 64)}, "PEER-003"),
        ("peer", {"signing_key_ids": ()}, "PEER-003"),
        ("peer", {"jurisdiction": "FR"}, "PEER-004"),
    ],
)
def test_what_no_limit_has_to_say(section: str, values: dict[str, Any], code: str) -> None:
    """Grants and the rules of every policy deny without any limit being written."""
    decision = ask(change(section, **values))
    assert (decision.outcome, code in decision.codes) == (Outcome.DENY, True)


@pytest.mark.parametrize("action", Action)
def test_a_policy_without_grants_permits_nothing(action: Action) -> None:
    """Default deny: no action is permitted where nothing is granted."""
    decision = ask(replace(FACTS, action=action), grants=Grants())
    assert (decision.outcome, "ACT-001" in decision.codes) == (Outcome.DENY, True)


@pytest.mark.parametrize(
    ("action", "section"),
    [(Action.RELEASE, name) for name in ("dataset", "prompts", "release", "model", "peer", "history")]
    + [(Action.TRAIN, name) for name in ("dataset", "training", "model")]
    + [(Action.JOIN, name) for name in ("prompts", "peer", "history")]
    + [(Action.LEARN, name) for name in ("prompts", "peer", "labels")]
    + [(Action.OPEN_DATASET, "dataset"), (Action.EXPORT, "dataset")],
)
def test_missing_facts_deny(action: Action, section: str) -> None:
    """An act about which the facts say too little is denied, and the missing section is named."""
    decision = ask(replace(FACTS, action=action, **{section: None}))
    assert decision.outcome is Outcome.DENY
    assert [section in reason.observed for reason in decision.reasons if reason.code == "FACT-001"] == [True]


# -- budget ------------------------------------------------------------------------------------------------------------


def test_without_the_ledger_nothing_that_spends_is_permitted() -> None:
    """A release or a training run without the ledger's account is denied."""
    for action in (Action.RELEASE, Action.TRAIN):
        assert ask(replace(FACTS, action=action), budget=None).codes == ("BUD-001",)


def test_an_exhausted_period_stops_new_spending_but_not_what_is_paid_for() -> None:
    """With the year's budget spent, a release at no further cost passes and one that costs more does not."""
    spent = replace(BUDGET, spent={Period.LIFETIME: Decimal(5), Period.YEAR: Decimal(6)})
    assert ask(budget=spent).outcome is Outcome.PERMIT
    assert ask(change("release", epsilon_total=Decimal("5.1")), budget=spent).codes == ("BUD-002",)


def test_a_period_that_the_account_leaves_out_denies() -> None:
    """Every granted period must be in the ledger's account."""
    without_year = replace(BUDGET, spent={Period.LIFETIME: Decimal(5)})
    assert "ENG-001" in ask(budget=without_year).codes


def test_an_account_at_a_larger_delta_denies() -> None:
    """Epsilon at a larger delta is smaller: such an account is not the one that was granted."""
    assert ask(budget=replace(BUDGET, delta=Decimal("2e-6"))).codes == ("BUD-001",)


def test_without_noise_there_is_no_budget_to_keep() -> None:
    """Outputs without noise need the mechanism to be granted, and no account of an infinite epsilon."""
    bare = {"mechanism": Mechanism.UNSAFE_NO_NOISE, "epsilon_total": Decimal("Infinity")}
    facts = replace(change("release", **bare, model_trained_with_dp=False), training=None)
    assert ask(facts, budget=None).outcome is Outcome.PERMIT
    only_dp = GRANTS.model_copy(update={"mechanisms": frozenset({Mechanism.DP_SGD})})
    assert ask(facts, budget=None, grants=only_dp).codes == ("DP-001",)


# -- time --------------------------------------------------------------------------------------------------------------


def test_outside_its_time_everything_is_denied() -> None:
    """A policy denies before it begins and from the moment it ends."""
    term = Effective(since=NOW, until=NOW + timedelta(days=1))
    second = timedelta(seconds=1)
    assert ask(effective=term).outcome is Outcome.PERMIT
    assert ask(effective=term, now=NOW - second).codes == ("POL-001",)
    assert ask(effective=term, now=NOW + timedelta(days=1) - second).outcome is Outcome.PERMIT
    assert ask(effective=term, now=NOW + timedelta(days=1)).codes == ("POL-002",)


def test_a_time_without_zone_denies() -> None:
    """A naive time cannot be compared with the policy's term: denied, not guessed."""
    decision = ask(effective=Effective(since=NOW), now=NOW.replace(tzinfo=None))
    assert (decision.outcome, "ENG-001" in decision.codes) == (Outcome.DENY, True)


# -- approvals ---------------------------------------------------------------------------------------------------------

TEXT = change("release", kind=OutputKind.TEXT)


def _approved(*pairs: tuple[str, str]) -> Facts:
    return replace(TEXT, approvals=tuple(Approval(role=role, approver=name) for role, name in pairs))


@pytest.mark.parametrize(
    ("approvals", "outcome"),
    [
        ([], Outcome.NEEDS_APPROVAL),
        ([("privacy_officer", "Sam")], Outcome.NEEDS_APPROVAL),
        ([("privacy_officer", "Sam"), ("clinician", "Kim")], Outcome.PERMIT),
        ([("privacy_officer", "Sam"), ("clinician", "Sam")], Outcome.NEEDS_APPROVAL),
        ([("privacy_officer", "Sam"), ("clinician", " SAM ")], Outcome.NEEDS_APPROVAL),
        ([("privacy_officer", "Sam"), ("clinician", "security office")], Outcome.NEEDS_APPROVAL),
        ([("privacy_officer", "Sam"), ("clinician", "Sam"), ("privacy_officer", "Kim")], Outcome.PERMIT),
    ],
)
def test_approvals_count_one_person_once_and_the_author_never(
    approvals: list[tuple[str, str]], outcome: Outcome
) -> None:
    """Each required seat needs its own person, and the author of the policy takes none."""
    limits = with_value(Limits(), "approvals.release_text", {"privacy_officer": 1, "clinician": 1})
    assert ask(_approved(*approvals), limits=limits).outcome is outcome


@pytest.mark.parametrize(
    ("grant", "outcome"),
    [
        ({}, Outcome.PERMIT),
        ({"prompts": "sha256:" + "0" * 64}, Outcome.NEEDS_APPROVAL),
        ({"act": Act.RELEASE_VOTES}, Outcome.NEEDS_APPROVAL),
        ({"role": "researcher"}, Outcome.NEEDS_APPROVAL),
        ({"until": NOW}, Outcome.NEEDS_APPROVAL),
        ({"approver": "security office"}, Outcome.NEEDS_APPROVAL),
    ],
)
def test_an_approval_in_the_policy_counts_for_its_act_and_prompts_until_it_ends(
    grant: dict[str, Any], outcome: Outcome
) -> None:
    """A written approval counts for exactly its act, prompt set and role, before its end, and not from the author."""
    written = ApprovalGrant(
        act=Act.RELEASE_TEXT,
        role="privacy_officer",
        approver="Sam",
        until=NOW + timedelta(days=1),
        prompts=samples.PROMPTS,
    ).model_copy(update=grant)
    limits = with_value(Limits(), "approvals.release_text", {"privacy_officer": 1})
    grants = GRANTS.model_copy(update={"approvals": (written,)})
    assert ask(replace(TEXT, approvals=()), limits=limits, grants=grants).outcome is outcome


def test_a_permit_names_the_approvals_that_it_rests_on() -> None:
    """Each person once per required role, as written; no author, no other role, none without a permit."""
    written = ApprovalGrant(
        act=Act.RELEASE_TEXT,
        role="clinician",
        approver="Kim Lee",
        until=NOW + timedelta(days=1),
        prompts=samples.PROMPTS,
    )
    given = (("privacy_officer", "Sam"), ("privacy_officer", "security office"), ("researcher", "Ann"))
    grants = GRANTS.model_copy(update={"approvals": (written, written.model_copy(update={"approver": "kim  lee"}))})
    limits = with_value(Limits(), "approvals.release_text", {"privacy_officer": 1, "clinician": 1})
    decision = ask(_approved(*given), limits=limits, grants=grants)
    found = [(approval.role, " ".join(approval.approver.casefold().split())) for approval in decision.approvals]
    assert found == [("clinician", "kim lee"), ("privacy_officer", "sam")]
    assert decision.as_json()["approvals"] == [
        {"role": approval.role, "approver": approval.approver} for approval in decision.approvals
    ]
    assert "Approved by Sam as privacy_officer." in explain_decision(decision)
    assert ask(_approved(*given), limits=limits).approvals == ()
    assert ask(_approved(*given), grants=grants).approvals == ()


def test_a_denial_stays_a_denial_while_approvals_are_missing() -> None:
    """Approval is asked for only where nothing else is in the way."""
    limits = with_value(Limits(), "approvals.release_text", {"privacy_officer": 1})
    decision = ask(replace(TEXT, approvals=(), history=None), limits=limits)
    assert (decision.outcome, decision.codes) == (Outcome.DENY, ("APR-001", "FACT-001"))


# -- what a decision carries -----------------------------------------------------------------------------------------


def test_a_permit_carries_its_obligations_and_a_denial_none() -> None:
    """Retention is owed for what is permitted."""
    limits = with_value(with_value(Limits(), "retention.audit_days", 2192), "retention.bundle_days", 90)
    owed = {item.name: item.value for item in ask(limits=limits).obligations}
    assert owed == {"retain_audit_days": 2192, "delete_bundles_after_days": 90}
    assert ask(limits=limits, budget=None).obligations == ()


def test_the_facts_digest_covers_facts_budget_and_time() -> None:
    """Any change of what was asked changes the digest in the decision."""
    asked = [
        ask(),
        ask(change("release", items=301)),
        ask(budget=replace(BUDGET, spent={**BUDGET.spent, Period.YEAR: Decimal("4.5")})),
        ask(now=NOW + timedelta(seconds=1)),
    ]
    assert len({decision.facts_digest for decision in asked}) == len(asked)


def test_the_policy_digest_changes_with_any_limit() -> None:
    """Two policies that differ in one limit differ in their digest."""
    assert ask().policy_digest != ask(limits=with_value(Limits(), "prompts.max_count", 10**6)).policy_digest


def test_facts_that_cannot_be_written_down_are_denied() -> None:
    """A value without a canonical form is a reason to deny, and the digest is absent."""
    unwritable = ask(change("release", findings={"date": object()}))
    assert (unwritable.outcome, unwritable.facts_digest, "ENG-002" in unwritable.codes) == (Outcome.DENY, None, True)


def test_require_raises_with_every_reason() -> None:
    """A permit passes through; a denial and a missing approval raise their own errors with all reasons."""
    assert require(ask()).outcome is Outcome.PERMIT
    with pytest.raises(PolicyDenied, match=r"PRM-001.*PEER-002") as denied:
        require(ask(replace(change("prompts", digest="x"), peer=replace(FACTS.peer, federation="others"))))
    assert denied.value.code == "SF201"
    assert len(denied.value.fields["reasons"]) == 2
    limits = with_value(Limits(), "approvals.release_votes", {"chair": 1})
    with pytest.raises(ApprovalNeeded, match="chair"):
        require(ask(limits=limits))


def test_messages_are_bounded_and_one_line() -> None:
    """No fact can flood a message or forge a line of it."""
    decision = ask(change("prompts", digest="x\n" * 10_000))
    message = next(reason.message for reason in decision.reasons if reason.code == "PRM-001")
    assert (len(message) < 400, "\n" in message) == (True, False)


def test_every_code_has_one_form() -> None:
    """Codes are a family, a dash and three digits."""
    assert {check.code for check in CHECKS if not check.code.rpartition("-")[2].isdigit()} == set()
