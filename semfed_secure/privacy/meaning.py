"""What an epsilon means: how often the best attacker can be right about one entity."""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from typing import TYPE_CHECKING

from semfed_secure.privacy.parameters import refuse, valid_delta

if TYPE_CHECKING:
    from semfed_secure.privacy.parameters import Number

_PLACES = Decimal("0.000001")
_UP = Context(prec=40, rounding=ROUND_CEILING)
_CERTAIN = Decimal(40)
"""Above this epsilon the bound is 1 at six places, whatever the rates."""


def best_true_positive_rate(epsilon: Decimal, delta: Number, false_positive_rate: Decimal) -> Decimal:
    """The most that any test can reach at this rate of false alarms, for whether one entity's records were used.

    It bounds every attacker, whatever it knows of the other entities and of the released outputs (Kairouz, Oh,
    Viswanath 2015, theorem 2.1), and is rounded up to six places. Of no guarantee it says 1.

    Args:
        epsilon: Zero or more, or infinite.
        delta: At which the epsilon holds.
        false_positive_rate: How many of the entities whose records were not used the attacker may name, as a share.

    Raises:
        ConfigurationError: SF141.
    """
    slack, rate = valid_delta(delta), false_positive_rate
    if epsilon.is_nan() or epsilon < 0:
        raise refuse("epsilon", "zero or more", epsilon)
    if not (rate.is_finite() and 0 <= rate <= 1):
        raise refuse("false_positive_rate", "0 to 1", rate)
    if epsilon > _CERTAIN:
        return Decimal(1).quantize(_PLACES)
    growth = _UP.exp(epsilon)
    by_claim = _UP.add(_UP.multiply(growth, rate), slack)
    kept = _UP.divide(_UP.subtract(_UP.subtract(Decimal(1), slack), rate), growth)
    bounds = [Decimal(1), by_claim, _UP.subtract(Decimal(1), kept) + _PLACES / 1000]
    return max(Decimal(0), min(bounds)).quantize(_PLACES, ROUND_CEILING)
