"""Judging what somebody else declares: a declaration may be false, but it must not contradict itself.

Who receives outputs cannot see how they were made. What can be seen is refused when it cannot be true: an accountant
that reports less than the truth, a figure that is no epsilon, or less epsilon than the declared parameters cost.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from semfed_secure.privacy.accountant import ACCOUNTANT, epsilon_of
from semfed_secure.privacy.mechanisms import cost_of
from semfed_secure.privacy.parameters import refuse, valid_delta
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from decimal import Decimal

    from semfed_secure.units import PrivacyDeclaration


def verify_declaration(declared: PrivacyDeclaration) -> PrivacyDeclaration:
    """Accept only a declaration that may be true; returns it.

    Its epsilon is a lifetime total, so it is at least what its own parameters cost, by the accountant that enforces
    here: the GDP accountant of Opacus, which is up to 14 % too low, passes neither by name nor by its figure. Without
    parameters nothing was trained on records yet.

    Raises:
        ConfigurationError: SF141, which of its parts cannot be.
    """
    if declared.accountant != ACCOUNTANT:
        raise refuse("accountant", ACCOUNTANT, None)
    valid_delta(declared.delta)
    if declared.epsilon.is_nan() or declared.epsilon < 0:
        raise refuse("epsilon", "0 or above", declared.epsilon)
    if declared.parameters or declared.mechanism is Mechanism.UNSAFE_NO_NOISE:
        least = _least(declared.mechanism, tuple(sorted(declared.parameters.items())), declared.delta)
        if declared.epsilon < least:
            raise refuse("epsilon", f"at least {least}, which its parameters cost", declared.epsilon)
    return declared


@lru_cache(maxsize=256)
def _least(mechanism: Mechanism, parameters: tuple[tuple[str, str], ...], delta: Decimal) -> Decimal:
    """Kept, because the members of a federation declare the same in every round."""
    return epsilon_of(cost_of(mechanism, dict(parameters)), delta)
