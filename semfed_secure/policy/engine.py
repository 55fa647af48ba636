"""Decide one request: every check runs, every failing reason is listed, an error is a reason to deny.

Guarantees, each with a property test of the same sentence:

- total: whatever the facts and the budget hold, `decide` returns a decision and raises nothing;
- deterministic: the same policy, facts, budget and time give the same decision;
- monotone: tightening a limit or taking away a grant never turns deny into permit;
- complete: every failing reason is listed, none hides another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import rfc8785

from semfed_secure.clock import to_iso
from semfed_secure.errors import ApprovalNeeded, PolicyDenied
from semfed_secure.ids import Digest, hex_digest, sha256
from semfed_secure.policy.approvals import counting
from semfed_secure.policy.checks import Check, Measure, Question
from semfed_secure.policy.grant_checks import APPROVAL, GRANT_CHECKS
from semfed_secure.policy.limit_checks import LIMIT_CHECKS

if TYPE_CHECKING:
    from semfed_secure.policy.effective import EffectivePolicy
    from semfed_secure.policy.facts import Approval, BudgetSnapshot, Facts

CHECKS: tuple[Check, ...] = GRANT_CHECKS + LIMIT_CHECKS
ERROR = "ENG-001"
UNREADABLE = "ENG-002"
CODES: frozenset[str] = frozenset(check.code for check in CHECKS) | {ERROR, UNREADABLE}

_SHOWN_ITEMS = 8
_SHOWN_CHARACTERS = 120


class Outcome(StrEnum):
    """What the policy says; `NEEDS_APPROVAL` where nothing but approvals is missing."""

    PERMIT = "permit"
    DENY = "deny"
    NEEDS_APPROVAL = "needs_approval"


@dataclass(frozen=True, slots=True)
class Reason:
    """One failing check: its code, the policy field it enforces, and what was seen against what is allowed."""

    code: str
    field: str
    observed: str
    limit: str
    message: str


@dataclass(frozen=True, slots=True)
class Obligation:
    """What the caller owes for a permit, such as ``retain_audit_days``."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request; `reasons` is empty exactly where it is a permit.

    ``approvals`` are those that a permit rests on. ``facts_digest`` is None where the facts could not be written down,
    which is itself a reason to deny.
    """

    outcome: Outcome
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    policy_id: str
    policy_version: str
    policy_digest: Digest
    facts_digest: Digest | None
    approvals: tuple[Approval, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """The failing codes, each once, sorted: what the audit log and the metrics carry."""
        return codes_of(self.reasons)

    def as_json(self) -> dict[str, object]:
        """JSON-ready form, digests printed."""
        return {
            "outcome": self.outcome.value,
            "reasons": [{f.name: getattr(reason, f.name) for f in fields(reason)} for reason in self.reasons],
            "obligations": {obligation.name: obligation.value for obligation in self.obligations},
            "policy": {
                "id": self.policy_id,
                "version": self.policy_version,
                "digest": hex_digest(self.policy_digest),
            },
            "facts_digest": None if self.facts_digest is None else hex_digest(self.facts_digest),
            "approvals": [{"role": approval.role, "approver": approval.approver} for approval in self.approvals],
        }


def decide(facts: Facts, policy: EffectivePolicy, budget: BudgetSnapshot | None, now: datetime) -> Decision:
    """Say whether the act is permitted, and if not, every reason why.

    Total, deterministic and monotone: no facts make it raise, the same question gets the same answer, and a tighter
    policy never permits what a looser one denies. An exception inside a check is a reason to deny.

    Args:
        facts: What would be done, without content.
        policy: The effective policy, from `compose.load_policy`.
        budget: What the ledger has spent before this act; needed where the act spends.
        now: The time, time-zone aware.
    """
    question = Question(facts, policy, budget, now)
    reasons = [reason for _, reason in examine(question) if reason is not None]
    digest = _facts_digest(question)
    if digest is None:
        reasons.append(Reason(UNREADABLE, "default", "unreadable", "JSON values", "facts cannot be written down"))
    outcome = outcome_of(reasons)
    return Decision(
        outcome=outcome,
        reasons=tuple(reasons),
        obligations=_obligations(policy) if outcome is Outcome.PERMIT else (),
        policy_id=policy.id,
        policy_version=policy.version,
        policy_digest=policy.digest,
        facts_digest=digest,
        approvals=counting(facts, policy, now) if outcome is Outcome.PERMIT else (),
    )


def examine(question: Question) -> Iterator[tuple[Check, Reason | None]]:
    """Run every check: those that apply, each with its reason where it fails."""
    for check in CHECKS:
        try:
            measure = check.measure(question)
            if measure is not None:
                yield check, None if measure.ok is True else _reason(check, measure)
        except Exception as error:  # noqa: BLE001 (a check that breaks must deny, whatever broke it)
            name = type(error).__name__
            yield check, Reason(ERROR, check.field, name, "no error", f"check {check.code} ended in {name}: denied")


def require(decision: Decision) -> Decision:
    """Pass a permit on, or raise.

    Raises:
        PolicyDenied: SF201, with every reason in its fields.
        ApprovalNeeded: SF203, where nothing but approvals is missing.
    """
    if decision.outcome is Outcome.PERMIT:
        return decision
    said = "; ".join(f"{reason.code} {reason.message}" for reason in decision.reasons)
    detail = decision.as_json()
    if decision.outcome is Outcome.NEEDS_APPROVAL:
        raise ApprovalNeeded("SF203", f"policy {decision.policy_id} wants approval: {said}", **detail)
    raise PolicyDenied("SF201", f"policy {decision.policy_id} denies this: {said}", **detail)


def outcome_of(reasons: Sequence[Reason]) -> Outcome:
    """What failing reasons amount to: approval is asked for only where nothing else is in the way."""
    if not reasons:
        return Outcome.PERMIT
    return Outcome.NEEDS_APPROVAL if all(reason.code == APPROVAL for reason in reasons) else Outcome.DENY


def codes_of(reasons: Sequence[Reason]) -> tuple[str, ...]:
    """The codes of failing reasons, each once, sorted."""
    return tuple(sorted({reason.code for reason in reasons}))


def _obligations(policy: EffectivePolicy) -> tuple[Obligation, ...]:
    retention = policy.limits.retention
    owed = (("retain_audit_days", retention.audit_days), ("delete_bundles_after_days", retention.bundle_days))
    return tuple(Obligation(name, days) for name, days in owed if days is not None)


def _reason(check: Check, measure: Measure) -> Reason:
    observed, allowed = _show(measure.observed), _show(measure.allowed)
    return Reason(check.code, check.field, observed, allowed, f"{check.title}: observed {observed}, allowed {allowed}")


def _show(value: object) -> str:
    """Print a value of any type in a bounded, one-line form."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int | Decimal | StrEnum):
        text = str(value)
    elif isinstance(value, str):
        text = ascii(value)[1:-1]
    elif isinstance(value, datetime):
        text = to_iso(value)
    elif isinstance(value, Mapping):
        text = ", ".join(f"{_show(key)}: {_show(item)}" for key, item in sorted(value.items())) or "none"
    elif isinstance(value, AbstractSet | tuple | list):
        items = sorted(value) if isinstance(value, AbstractSet) else list(value)
        shown = [_show(item) for item in items[:_SHOWN_ITEMS]]
        more = [f"and {len(items) - _SHOWN_ITEMS} more"] if len(items) > _SHOWN_ITEMS else []
        text = ", ".join(shown + more) or "none"
    else:
        text = "nothing" if value is None else type(value).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _facts_digest(question: Question) -> Digest | None:
    try:
        # A digest of a name could be guessed from a list of names: approvals count here by their roles.
        facts = _plain(question.facts) | {"approvals": [approval.role for approval in question.facts.approvals]}
        asked = {"facts": facts, "budget": _plain(question.budget), "now": to_iso(question.now)}
        return sha256(rfc8785.dumps(asked))
    except Exception:  # noqa: BLE001 (facts that cannot be written down are denied, whatever they hold)
        return None


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    return str(value) if isinstance(value, str) else value
