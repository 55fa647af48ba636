"""Asking the policy: what has been spent, what this act would cost, and the answer as an audit entry."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType, PrivacyFields
from semfed_secure.audit.people import known_as
from semfed_secure.ids import Digest, RoundId, hex_digest
from semfed_secure.policy.engine import Decision, Outcome, decide, require
from semfed_secure.policy.facts import BudgetSnapshot
from semfed_secure.privacy.budget import Budget, Charge
from semfed_secure.privacy.parameters import delta_for
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from semfed_secure.client.site import Site
    from semfed_secure.policy.facts import Facts
    from semfed_secure.privacy.budget import BudgetState
    from semfed_secure.privacy.forecast import Forecast

UNIT, RELATION = PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE
"""What every mechanism of this client states its sensitivity for."""
INFINITE = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class DecisionPreview:
    """What the policy and the ledger would say: nothing was spent, nothing will be sent.

    ``epsilon_before`` is the population's lifetime total now, ``epsilon_after`` what it would be; ``forecast`` says
    what the act can be good for.
    """

    decision: Decision
    epsilon_before: Decimal
    epsilon_after: Decimal
    forecast: Forecast


def delta_of(site: Site) -> Decimal:
    """The delta at which this site states every epsilon."""
    stated = site.config.privacy.delta
    return stated if stated is not None else delta_for(site.config.data.population_bound)


def charge_for(site: Site, key: str, purpose: str, mechanism: Mechanism, parameters: Mapping[str, str]) -> Charge:
    """The charge of one act on this site's population."""
    return Charge(
        idempotency_key=key,
        population=site.config.data.population,
        unit=UNIT,
        relation=RELATION,
        purpose=purpose,
        mechanism=mechanism,
        parameters=parameters,
        delta=delta_of(site),
        policy_digest=hex_digest(site.policy.digest),
    )


def budgets_for(site: Site, mechanism: Mechanism) -> tuple[Budget, ...]:
    """What the policy grants the population; without noise only an infinite budget covers the charge.

    That one is no loophole: the policy has named ``unsafe_no_noise`` before anything is charged, and from then on the
    population's lifetime epsilon is infinite, so nothing under a finite budget is released about it any more.
    """
    if mechanism is Mechanism.UNSAFE_NO_NOISE:
        return (Budget(Period.LIFETIME, INFINITE, delta_of(site)),)
    granted = site.policy.budgets(site.config.data.dataset)
    return tuple(Budget(grant.period, grant.epsilon, grant.delta) for grant in granted)


def account(site: Site, *, adding: Charge | None = None) -> BudgetState:
    """What the ledger has for this site's population, with ``adding`` on top."""
    return site.ledger.snapshot(site.config.data.population, UNIT, RELATION, delta=delta_of(site), adding=adding)


def ask(site: Site, facts: Facts, *, spent: BudgetState | None, round_id: RoundId | None, dry_run: bool) -> Decision:
    """Let the policy decide, and write the answer down before anybody acts on it.

    Raises:
        IntegrityError: SF502, the answer cannot be logged: then there is none.
    """
    budget = None if spent is None else BudgetSnapshot(spent.population, spent.delta, spent.spent)
    decision = decide(facts, site.policy, budget, site.clock.now())
    approvals: list[str] = []
    if decision.approvals:
        with site.database.transaction() as tx:
            approvals = [
                f"{known_as(tx, approval.approver, randomness=site.randomness)} as {approval.role}"
                for approval in decision.approvals
            ]
    site.audit.append(_decision_event(site, facts, decision, approvals=approvals, round_id=round_id, dry_run=dry_run))
    return decision


def permitted(site: Site, facts: Facts, *, spent: BudgetState | None, round_id: RoundId | None) -> Decision:
    """As `ask`, and raise unless it is a permit.

    Raises:
        PolicyDenied: SF201 with every reason.
        ApprovalNeeded: SF203, where nothing but approvals is missing.
    """
    return require(ask(site, facts, spent=spent, round_id=round_id, dry_run=False))


def privacy_fields(site: Site, state: BudgetState, mechanism: Mechanism) -> PrivacyFields:
    """The population's account as it stands in an audit entry."""
    return PrivacyFields(
        population=site.config.data.population,
        epsilon=str(state.spent[Period.LIFETIME]),
        delta=str(state.delta),
        unit=str(UNIT),
        relation=str(RELATION),
        mechanism=str(mechanism),
    )


def _decision_event(
    site: Site,
    facts: Facts,
    decision: Decision,
    *,
    approvals: Sequence[str],
    round_id: RoundId | None,
    dry_run: bool,
) -> Event:
    details: dict[str, object] = {
        "action": str(facts.action),
        "decision": str(decision.outcome),
        "version": decision.policy_version,
        "facts_digest": _printed(decision.facts_digest),
        "reasons": [f"{reason.code} {reason.message}"[:1000] for reason in decision.reasons][:200],
        "obligations": [f"{obligation.name}={obligation.value}" for obligation in decision.obligations],
        "approvals": list(approvals[:200]),
        "dry_run": dry_run,
    }
    if facts.release is not None:
        details["kind"] = str(facts.release.kind)
        ran = ", ".join(facts.release.detectors_run) or "none"
        details["detectors"] = "none: there is no text to look at" if facts.release.texts == 0 else ran
    return Event(
        type=EventType.DECISION,
        outcome="success" if decision.outcome is Outcome.PERMIT else "denied",
        actor=site.member_id,
        target=None if facts.dataset is None else facts.dataset.id,
        round_id=round_id,
        peer=None if facts.peer is None else facts.peer.server_id,
        policy_id=decision.policy_id,
        policy_digest=hex_digest(decision.policy_digest),
        codes=decision.codes[:64],
        details=details,
    )


def _printed(digest: Digest | None) -> str:
    return "none" if digest is None else hex_digest(digest)
