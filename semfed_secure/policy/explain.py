"""A policy in plain English, for people who do not read YAML."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from semfed_secure.ids import hex_digest
from semfed_secure.policy.tightening import Rule, plain, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.policy.document import ApprovalGrant, DatasetGrant, Grants, PeerGrant
    from semfed_secure.policy.effective import EffectivePolicy
    from semfed_secure.policy.engine import Decision


def explain_policy(policy: EffectivePolicy) -> str:
    """Say what a policy permits and what bounds it, one sentence a line.

    Every limit and every grant of the effective policy has its line; nothing is left out as obvious.
    """
    return "\n".join([*_heading(policy), "", *_permitted(policy.grants), "", *_bounded(policy)])


def explain_decision(decision: Decision) -> str:
    """Say what was decided, and every reason."""
    name = f"{decision.policy_id} {decision.policy_version}"
    if decision.outcome.value == "permit":
        owed = [f"  You owe: {item.name.replace('_', ' ')} {item.value}." for item in decision.obligations]
        given = [f"  Approved by {item.approver} as {item.role}." for item in decision.approvals]
        return "\n".join([f"Policy {name} permits this.", *given, *owed])
    waiting = decision.outcome.value == "needs_approval"
    lines = [f"Policy {name} {'wants approval first' if waiting else 'denies this'}:"]
    return "\n".join([*lines, *(f"  {reason.code}  {reason.message}  ({reason.field})" for reason in decision.reasons)])


def _heading(policy: EffectivePolicy) -> Iterator[str]:
    document = policy.document
    yield f"{document.title} ({document.id} {document.version}), owned by {document.owner}."
    yield f"Domain: {document.domain}; in a round of several groups, the only one that it answers in and learns from."
    for label, text in (
        ("Purpose", document.purpose),
        ("Legal basis", document.legal_basis),
        ("Agreement", document.agreement),
        ("Written with a view to", ", ".join(document.frameworks)),
    ):
        if text:
            yield f"{label}: {text}."
    above = [f"{source.id} {source.version}" for source in policy.sources[:-1]]
    yield f"Tightens: {', '.join(above)}." if above else "Extends no other policy."
    yield f"Digest: {hex_digest(policy.digest)}."


def _permitted(grants: Grants) -> Iterator[str]:
    if not grants.actions:
        yield "It permits nothing: whatever it does not grant is denied, and it grants nothing."
        return
    yield "It permits only this; everything else is denied:"
    for label, values in (("Actions", grants.actions), ("Outputs", grants.kinds), ("Protection", grants.mechanisms)):
        yield f"- {label}: {_list(values)}."
    yield from (f"- Data set {_dataset(grant)}." for grant in grants.datasets)
    yield from (f"- Prompt set {digest}." for digest in sorted(grants.prompts))
    unseen = "with candidates that a round proposed, unseen by anybody here"
    yield from (f"- Prompt set {digest} {unseen}." for digest in sorted(grants.proposed_candidates))
    for model in grants.models:
        yield f"- Model family {model.family}, {f'weights {model.digest}' if model.digest else 'any weights'}."
    yield from (f"- Server {_peer(grant)}." for grant in grants.peers)
    yield from (f"- {_approval(grant)}." for grant in grants.approvals)


def _dataset(grant: DatasetGrant) -> str:
    budgets = "; ".join(f"epsilon {plain(b.epsilon)} at delta {plain(b.delta)} per {b.period}" for b in grant.budgets)
    kind = f"{grant.classification}, de-identification {grant.deidentification}"
    return f"{grant.id} ({kind}) of {grant.population}: {budgets}"


def _peer(grant: PeerGrant) -> str:
    keys = f"{len(grant.signing_key_ids)} pinned key" + ("s" if len(grant.signing_key_ids) > 1 else "")
    return f"{grant.server_id} of federation {grant.federation} in {grant.jurisdiction}, {keys}"


def _approval(grant: ApprovalGrant) -> str:
    about = f" on prompt set {grant.prompts}" if grant.prompts else ""
    reference = f" ({grant.reference})" if grant.reference else ""
    return f"{grant.approver} as {grant.role} approves {grant.act}{about} until {plain(grant.until)}{reference}"


def _bounded(policy: EffectivePolicy) -> Iterator[str]:
    yield "Whatever is granted, these bounds hold:"
    for section, name in ((policy.effective, "effective"), (policy.limits, "limits")):
        for path, field, rule, value in walk(section, name):
            yield f"- {_sentence(rule, field.description or path, value)} [{path}]"


_SENTENCES = {
    Rule.AT_MOST: "{subject}: {value} at most.",
    Rule.AT_LEAST: "{subject}: {value} at least.",
    Rule.ONLY: "{subject}: only {value}.",
    Rule.ALL_OF: "{subject}: all of {value}.",
    Rule.COUNTS: "{subject}: {value}.",
    Rule.MUST: "{subject}: {value}.",
}


def _sentence(rule: Rule, subject: str, value: Any) -> str:
    subject = subject[:1].upper() + subject[1:]
    if isinstance(value, datetime):
        return f"{subject} {plain(value)}."
    if isinstance(value, bool):
        shown = "required" if value else "not required"
    elif isinstance(value, dict):
        shown = ", ".join(f"{count} of {role}" for role, count in sorted(value.items())) or "none"
    else:
        shown = _list(value) if isinstance(value, frozenset) else str(plain(value))
    return _SENTENCES[rule].format(subject=subject, value=shown)


def _list(values: Any) -> str:
    return ", ".join(sorted(str(value) for value in values)) or "none"
