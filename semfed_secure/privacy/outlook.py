"""How long a budget lasts: how many more of the same charges fit, and when it runs out at the present rate.

Curves add, so what has been spent grows like a straight line in time at every order; epsilon is read from the grown
curve by the accountant that enforces, and no figure here is more hopeful than what `ledger` will then say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from semfed_secure.privacy.accountant import RdpCurve, compose, epsilon_of, times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from semfed_secure.privacy.budget import Budget

WARN_SHARE = Decimal("0.8")
"""From this share of a budget on, `level_of` warns."""
MANY = 1_000_000
"""Charges that fit are counted up to here."""
_LEAST_TIME = timedelta(days=1)
"""A shorter history is no rate."""


class Level(StrEnum):
    """How much of a budget is gone."""

    OK = "ok"
    WARNING = "warning"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is ahead of one budget: ``fits`` more charges; ``runs_out`` is None where the present rate never does it."""

    fits: int
    runs_out: datetime | None
    rate_known: bool


def level_of(spent: Decimal, limit: Decimal) -> Level:
    """How much of ``limit`` is gone; an infinite limit never warns."""
    if limit.is_infinite():
        return Level.OK
    if spent >= limit:
        return Level.EXHAUSTED
    return Level.WARNING if spent >= limit * WARN_SHARE else Level.OK


def outlook(
    budget: Budget, spent: Sequence[RdpCurve], cost: RdpCurve, *, first: datetime | None, now: datetime
) -> Outlook:
    """What is ahead of ``budget``, of which ``spent`` is gone since ``first``, if every further charge costs ``cost``.

    The rate is all that was spent since the first charge; unknown in the first day, and if there was none.
    """
    total = compose(spent)
    fits = _most(MANY, lambda count: _covers(budget, compose((total, times(cost, count)))))
    if first is None or now - first < _LEAST_TIME:
        return Outlook(fits, None, rate_known=False)
    hours = max(1, round((now - first) / timedelta(hours=1)))
    ahead = _most(_CENTURIES, lambda more: _covers(budget, _scaled(total, 1 + more / hours)))
    return Outlook(fits, None if ahead == _CENTURIES else now + timedelta(hours=ahead), rate_known=True)


_CENTURIES = 24 * 365 * 1000


def _covers(budget: Budget, curve: RdpCurve) -> bool:
    return epsilon_of(curve, budget.delta) <= budget.epsilon


def _scaled(curve: RdpCurve, factor: float) -> RdpCurve:
    return RdpCurve(tuple(value * factor for value in curve.values))


def _most(high: int, holds: Callable[[int], bool]) -> int:
    """The greatest number up to ``high`` for which ``holds``, which is false from some number on; at least 0."""
    low, step = 0, 1
    while low + step <= high and holds(low + step):
        low, step = low + step, step * 2
    while step > 1:
        step //= 2
        if low + step <= high and holds(low + step):
            low += step
    return low
