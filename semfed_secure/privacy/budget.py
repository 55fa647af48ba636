"""Charges, budgets and what they amount to, as values.

A charge belongs to a population, the people behind the data: a renamed or refreshed extract of the same people meets
the same spending. A calendar period bounds the spending inside it and never hides the lifetime total.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from semfed_secure.ids import parse_digest
from semfed_secure.privacy.accountant import RdpCurve, compose, epsilon_of
from semfed_secure.privacy.mechanisms import cost_of
from semfed_secure.privacy.parameters import refuse, valid_delta, valid_epsilon
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Charge:
    """One use of a mechanism on one population, to be paid once.

    Its cost follows from ``mechanism`` and ``parameters`` alone, so a charge cannot claim to be cheaper than it is.
    ``idempotency_key`` names the act (this training run, this bundle): the same act is never paid twice.

    Args:
        idempotency_key: Names the act; unique in the ledger.
        population: Stable id of the people behind the data.
        unit: Whose presence the guarantee hides.
        relation: Which data sets count as neighbours.
        purpose: What for, for the reader of the ledger; no private text.
        mechanism: How the release is protected.
        parameters: As declared to peers; see `mechanisms`.
        delta: Where the charge's own epsilon is computed.
        policy_digest: The policy that permitted it.
    """

    idempotency_key: str
    population: str
    unit: PrivacyUnit
    relation: Relation
    purpose: str
    mechanism: Mechanism
    parameters: Mapping[str, str]
    delta: Decimal
    policy_digest: str

    def __post_init__(self) -> None:
        """Refuse what could not be accounted for."""
        for name in ("idempotency_key", "population", "purpose"):
            text = getattr(self, name)
            if not (0 < len(text) <= _MAX_NAME and text.isprintable()):
                raise refuse(name, f"1 to {_MAX_NAME} printable characters", None)
        try:
            parse_digest(self.policy_digest)
        except ValueError:
            raise refuse("policy_digest", "sha256: and 64 hex digits", None) from None
        valid_delta(self.delta)
        if (self.unit, self.relation) != (PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE):
            # Every mechanism states its sensitivity for this pair; under another the same noise buys less.
            raise refuse("unit and relation", "entity and add_or_remove_one", None)

    def cost(self) -> RdpCurve:
        """The cost of the act.

        Raises:
            ConfigurationError: SF141 for hostile or unknown parameters.
        """
        return cost_of(self.mechanism, self.parameters)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a policy grants over a period; infinite only for synthetic data, by a policy that says so."""

    period: Period
    epsilon: Decimal
    delta: Decimal

    def __post_init__(self) -> None:
        """Refuse hostile numbers; infinity must be spelled out as ``Decimal("Infinity")``."""
        if not (self.epsilon.is_infinite() and self.epsilon > 0):
            valid_epsilon(self.epsilon)
        valid_delta(self.delta)


@dataclass(frozen=True, slots=True)
class Spent:
    """One charge of the ledger, reduced to what counts: its cost and its month, ``YYYY-MM`` in UTC."""

    curve: RdpCurve
    month: str


@dataclass(frozen=True, slots=True)
class BudgetState:
    """What one population has spent at ``delta``, by period; the lifetime total is always among them."""

    population: str
    unit: PrivacyUnit
    relation: Relation
    delta: Decimal
    spent: Mapping[Period, Decimal]
    charges: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """One budget before and after a charge: epsilons at the budget's delta."""

    budget: Budget
    before: Decimal
    after: Decimal

    @property
    def covered(self) -> bool:
        """Whether the budget covers the charge."""
        return self.after <= self.budget.epsilon

    @property
    def cost(self) -> Decimal:
        """By how much the charge raises the total; totals do not add up from charges taken alone."""
        return self.after - self.before if self.after.is_finite() else self.after

    def remaining(self, spent: Decimal) -> Decimal:
        """What the budget leaves when ``spent`` is spent, never below zero."""
        if self.budget.epsilon.is_finite():
            return max(Decimal(0), self.budget.epsilon - spent)
        return self.budget.epsilon


def month_of(at: datetime) -> str:
    """The calendar month of a UTC instant, ``YYYY-MM``."""
    return f"{at.year:04d}-{at.month:02d}"


def spent_over(period: Period, charges: Iterable[Spent], *, month: str, delta: Decimal) -> Decimal:
    """Epsilon at ``delta`` of the ``charges`` that fall into the ``period`` around ``month``."""
    name = period_name(period, month)
    return epsilon_of(compose(one.curve for one in charges if period_name(period, one.month) == name), delta)


def assess(charges: Sequence[Spent], addition: Spent, budget: Budget) -> Assessment:
    """What ``addition`` would do to ``budget`` after ``charges``."""
    before, after = (
        spent_over(budget.period, spent, month=addition.month, delta=budget.delta)
        for spent in (charges, (*charges, addition))
    )
    return Assessment(budget, before, after)


def period_name(period: Period, month: str) -> str:
    """The ``period`` around ``month``, such as ``2026-Q1``; ``ever`` for the lifetime."""
    year, number = month.split("-")
    match period:
        case Period.LIFETIME:
            return "ever"
        case Period.YEAR:
            return year
        case Period.QUARTER:
            return f"{year}-Q{(int(number) + 2) // 3}"
        case Period.MONTH:
            return month


def period_end(period: Period, month: str) -> datetime | None:
    """When the ``period`` around ``month`` is over; the lifetime never is."""
    year, number = map(int, month.split("-"))
    months = {Period.YEAR: 12, Period.QUARTER: 3, Period.MONTH: 1}.get(period)
    if months is None:
        return None
    over = year * 12 + (number - 1) // months * months + months
    return datetime(over // 12, over % 12 + 1, 1, tzinfo=UTC)
