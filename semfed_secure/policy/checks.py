"""What a check is: a coded question to the facts, answered by a measurement.

A check answers None where it does not apply, or a `Measure` of what was observed against what is allowed. No check
sees the outcome of another, and none repairs a value: what cannot be compared does not pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from semfed_secure.policy.effective import EffectivePolicy
    from semfed_secure.policy.facts import BudgetSnapshot, Facts


@dataclass(frozen=True, slots=True)
class Question:
    """All that a decision is a function of."""

    facts: Facts
    policy: EffectivePolicy
    budget: BudgetSnapshot | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Measure:
    """What a check saw: the observed value against the allowed one."""

    ok: bool
    observed: object
    allowed: object


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its code, the policy field it enforces, what it is about, and the measurement."""

    code: str
    field: str
    title: str
    measure: Callable[[Question], Measure | None]


def is_number(value: object) -> bool:
    """Whether it is a whole number or a finite decimal; floats and booleans are not."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return isinstance(value, int) and not isinstance(value, bool)


def at_most(observed: object, allowed: int | Decimal) -> bool:
    """Whether it is a number from zero up to ``allowed``."""
    return is_number(observed) and 0 <= observed <= allowed  # type: ignore[operator] # a number by now


def at_least(observed: object, allowed: int | Decimal) -> bool:
    """Whether it is a number not below ``allowed``."""
    return is_number(observed) and observed >= allowed  # type: ignore[operator] # a number by now


def one_of(observed: object, allowed: AbstractSet[str | None]) -> bool:
    """Whether it is a string of the set."""
    return isinstance(observed, str) and observed in allowed


def covers(observed: Iterable[str], required: AbstractSet[str]) -> bool:
    """Whether nothing that is required is missing."""
    return not required - set(observed)
