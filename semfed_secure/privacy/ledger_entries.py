"""How charges stand in the database and in the audit log; pure translation, no I/O."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType, PrivacyFields
from semfed_secure.clock import from_ms, to_ms
from semfed_secure.errors import BudgetExhausted, IntegrityError
from semfed_secure.privacy.accountant import RdpCurve, epsilon_of, parse_curve
from semfed_secure.privacy.budget import Assessment, BudgetState, Charge, Spent, month_of, spent_over
from semfed_secure.privacy.ledger_check import ledger_digest
from semfed_secure.storage.ledger_rows import ChargeRow
from semfed_secure.units import Period, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_ACT = ("population", "unit", "relation", "purpose", "mechanism", "parameters", "rdp", "delta")
"""Columns that must agree for two charges under one key to be the same act; a policy may be replaced meanwhile."""


def to_row(charge: Charge, curve: RdpCurve, now: datetime) -> ChargeRow:
    """The row of a new charge, reserved ``now``."""
    return ChargeRow(
        idempotency_key=charge.idempotency_key,
        population=charge.population,
        unit=charge.unit,
        relation=charge.relation,
        purpose=charge.purpose,
        mechanism=charge.mechanism,
        parameters=_json(dict(charge.parameters)),
        rdp=_json(curve.encode()),
        epsilon=str(epsilon_of(curve, charge.delta)),
        delta=str(charge.delta),
        policy_digest=charge.policy_digest,
        state="reserved",
        created_at_ms=to_ms(now),
        period=month_of(now),
    )


def from_row(row: ChargeRow) -> Spent:
    """What a stored charge costs, after checking that its parts agree with each other.

    Raises:
        IntegrityError: SF511, the row was changed after it was written.
    """
    try:
        curve = parse_curve(json.loads(row.rdp))
        agrees = Decimal(row.epsilon) == epsilon_of(curve, row.delta)
    except (json.JSONDecodeError, InvalidOperation):
        agrees = False
    if not agrees or row.period != month_of(from_ms(row.created_at_ms)):
        raise IntegrityError("SF511", f"charge {row.id} of the ledger does not add up", charge=row.id)
    return Spent(curve, row.period)


def present(rows: Sequence[ChargeRow], now: datetime) -> datetime:
    """The later of ``now`` and the newest charge: a clock that steps back never reopens a period that is over."""
    return from_ms(max([to_ms(now), *(row.created_at_ms for row in rows)]))


def state_of(
    rows: Sequence[ChargeRow],
    of: tuple[str, PrivacyUnit, Relation],
    *,
    delta: Decimal,
    now: datetime,
    adding: Sequence[RdpCurve] = (),
) -> BudgetState:
    """What the charges ``rows`` of one population amount to at ``delta``, with ``adding`` charged ``now``.

    Raises:
        ConfigurationError: SF141 for ``delta``.
        IntegrityError: SF511, a row does not add up.
    """
    month = month_of(present(rows, now))
    spent = [*(from_row(row) for row in rows), *(Spent(curve, month) for curve in adding)]
    totals = {period: spent_over(period, spent, month=month, delta=delta) for period in Period}
    return BudgetState(*of, delta, totals, len(spent))


def same_act(standing: ChargeRow, wanted: ChargeRow) -> ChargeRow:
    """The standing charge, if it is for the very act that is wanted.

    Raises:
        IntegrityError: SF511, one key names two different acts.
    """
    if differing := [name for name in _ACT if getattr(standing, name) != getattr(wanted, name)]:
        message = f"charge {standing.id} stands under this key with another {', '.join(differing)}"
        raise IntegrityError("SF511", message, charge=standing.id)
    return standing


def exhausted(charge: Charge, lifetime: Assessment, tightest: Assessment) -> BudgetExhausted:
    """The refusal, with what remains of the tightest budget and what the act would cost."""
    budget, remaining = tightest.budget, tightest.remaining(tightest.before)
    return BudgetExhausted(
        "SF202",
        f"{charge.purpose} would bring the {budget.period} epsilon of {charge.population} to {tightest.after}, budget "
        f"is {budget.epsilon}: {remaining} remains, this costs {tightest.cost}",
        population=charge.population,
        period=str(budget.period),
        limit=str(budget.epsilon),
        delta=str(budget.delta),
        after=str(tightest.after),
        cost=str(tightest.cost),
        remaining=str(remaining),
        lifetime=str(lifetime.before),
        lifetime_delta=str(lifetime.budget.delta),
    )


def refused_event(actor: str, charge: Charge, refusal: BudgetExhausted) -> Event:
    """The entry of a refusal: the lifetime total stays as it was."""
    fields = {name: str(value) for name, value in refusal.fields.items()}
    privacy = _privacy(charge, fields["lifetime"], fields["lifetime_delta"], fields["cost"], fields["remaining"])
    limits = {"period": fields["period"], "limit": fields["limit"], "limit_delta": fields["delta"]}
    return Event(
        type=EventType.BUDGET_REFUSED,
        outcome="denied",
        actor=actor,
        target=charge.population,
        policy_digest=charge.policy_digest,
        codes=("SF202",),
        privacy=privacy,
        reason=refusal.message,
        details={"key": charge.idempotency_key, "purpose": charge.purpose, **limits},
    )


def reserved_event(
    actor: str, charge: Charge, standing: Sequence[ChargeRow], lifetime: Assessment, remaining: Decimal
) -> Event:
    """The entry of a charge: the lifetime total after it, what the tightest budget leaves, and all that now stands."""
    budget = lifetime.budget
    return Event(
        type=EventType.BUDGET_RESERVED,
        outcome="success",
        actor=actor,
        target=charge.population,
        policy_digest=charge.policy_digest,
        privacy=_privacy(charge, str(lifetime.after), str(budget.delta), str(lifetime.cost), str(remaining)),
        details={
            "charge": standing[-1].id,
            "ledger_digest": ledger_digest(standing),
            "key": charge.idempotency_key,
            "purpose": charge.purpose,
            "period": str(budget.period),
            "limit": str(budget.epsilon),
            "limit_delta": str(budget.delta),
        },
    )


def damage_event(actor: str, population: str, error: IntegrityError) -> Event:
    """The entry of a ledger that does not add up: nothing is charged, and nothing is released."""
    return Event(
        type=EventType.BUDGET_RESERVED,
        outcome="failed",
        actor=actor,
        target=population,
        codes=(error.code,),
        reason=error.message,
    )


def committed_event(actor: str, row: ChargeRow) -> Event:
    """The entry of an act that has happened; its budget was spent when it was reserved."""
    return Event(
        type=EventType.BUDGET_COMMITTED,
        outcome="success",
        actor=actor,
        target=row.population,
        policy_digest=row.policy_digest,
        details={"charge": row.id, "key": row.idempotency_key, "purpose": row.purpose},
    )


def _privacy(charge: Charge, epsilon: str, delta: str, cost: str, remaining: str) -> PrivacyFields:
    return PrivacyFields(
        population=charge.population,
        epsilon=epsilon,
        delta=delta,
        unit=str(charge.unit),
        relation=str(charge.relation),
        cost=cost,
        remaining=remaining,
        mechanism=str(charge.mechanism),
    )


def _json(document: dict[str, object] | dict[str, str]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
