"""What a valid policy should still be asked about: remarks for the person who reviews it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from semfed_secure.policy.facts import Action
from semfed_secure.units import Mechanism, OutputKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from semfed_secure.policy.effective import EffectivePolicy

LONGEST_TERM = timedelta(days=366)
"""A policy that stands longer than a year is one that nobody looks at."""
EXPIRES_SOON = timedelta(days=30)
"""Time enough to review and sign the next version."""
WEAK_EPSILON = Decimal(10)
"""Above it, whoever guesses whether one person is in the data is nearly always right."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark: its code, the field it is about, and the sentence."""

    code: str
    field: str
    message: str


def lint_policy(policy: EffectivePolicy, now: datetime) -> tuple[Remark, ...]:
    """Everything about a valid policy that a reviewer should see; none of it keeps the policy from deciding."""
    rules = (
        _ceiling(policy),
        _term(policy, now),
        _privacy(policy),
        _text(policy),
        _approvals(policy, now),
        _use(policy),
    )
    return tuple(remark for rule in rules for remark in rule)


def _ceiling(policy: EffectivePolicy) -> Iterator[Remark]:
    granting = policy.document.grants is not None
    if granting and not policy.document.extends:
        yield Remark("LINT-001", "extends", "extends no pack: nothing but this file bounds its grants")
    if granting and not policy.document.frameworks:
        yield Remark("LINT-002", "frameworks", "names no framework: a reviewer cannot say what it is measured by")


def _term(policy: EffectivePolicy, now: datetime) -> Iterator[Remark]:
    since, until = policy.effective.since, policy.effective.until
    if policy.document.grants is None:
        return
    if until is None:
        yield Remark("LINT-003", "effective.until", "has no end: give it one, so that somebody looks at it again")
    elif until <= now:
        yield Remark("LINT-004", "effective.until", "has ended: it denies everything")
    elif until - now <= EXPIRES_SOON:
        yield Remark("LINT-005", "effective.until", f"ends within {EXPIRES_SOON.days} days")
    if until is not None and since is not None and until - since > LONGEST_TERM:
        yield Remark("LINT-006", "effective.until", "stands longer than a year")


def _privacy(policy: EffectivePolicy) -> Iterator[Remark]:
    people = policy.limits.data.min_entities
    for index, dataset in enumerate(policy.grants.datasets):
        field, budget = f"grants.datasets.{index}.budgets", dataset.lifetime
        if budget.epsilon > WEAK_EPSILON:
            yield Remark("LINT-007", field, f"a lifetime epsilon of {budget.epsilon} protects one person hardly at all")
        if people and budget.delta * people >= 1:
            yield Remark("LINT-008", field, f"delta must stay below one in {people}, the fewest people allowed")
    if Mechanism.UNSAFE_NO_NOISE in policy.grants.mechanisms:
        yield Remark("LINT-009", "grants.mechanisms", "unsafe_no_noise releases outputs as the model gave them")


def _text(policy: EffectivePolicy) -> Iterator[Remark]:
    if OutputKind.TEXT not in policy.grants.kinds:
        return
    if not policy.limits.release.text.detectors:
        yield Remark("LINT-010", "limits.release.text.detectors", "text is granted, and no detector has to look at it")
    if not policy.limits.approvals.release_text:
        yield Remark("LINT-011", "limits.approvals.release_text", "text is granted, and nobody has to approve it")
    if policy.limits.peers.rules is None:
        message = "text is granted, and no rule named: a round of proposals would publish a text of this site alone"
        yield Remark("LINT-016", "limits.peers.rules", message)


def _approvals(policy: EffectivePolicy, now: datetime) -> Iterator[Remark]:
    author = (policy.document.author or policy.document.owner).casefold()
    for index, grant in enumerate(policy.grants.approvals):
        field = f"grants.approvals.{index}"
        if grant.until <= now:
            yield Remark("LINT-012", f"{field}.until", f"the approval by {grant.approver} has ended")
        if grant.approver.casefold() == author:
            yield Remark("LINT-013", f"{field}.approver", "the policy's author cannot approve: it never counts")
        if grant.prompts is not None and grant.prompts not in policy.grants.prompts:
            yield Remark("LINT-014", f"{field}.prompts", "approves prompts that are not granted")


def _use(policy: EffectivePolicy) -> Iterator[Remark]:
    grants = policy.grants
    if grants.proposed_candidates:
        message = "candidates that others propose are answered, and nobody here has seen them"
        yield Remark("LINT-017", "grants.proposed_candidates", message)
    if Action.RELEASE not in grants.actions:
        return
    for name in ("datasets", "kinds", "mechanisms", "prompts", "models", "peers"):
        if not getattr(grants, name):
            yield Remark("LINT-015", f"grants.{name}", f"release is granted, but without {name} nothing can leave")
