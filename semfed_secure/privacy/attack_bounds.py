"""Lower bounds on epsilon from one training run with many canaries: what no (epsilon, delta)-private release allows.

Two tests of the same run, each valid whatever the attacker does:

- `membership_p_value`: every canary entity is in or out by a fair coin, and the attacker guesses coins (Steinke, Nasr,
  Jagielski 2023, theorem 5.2). With n guesses it never shows more than about log(n / 3).
- `secrets_p_value`: every canary that is in carries a secret drawn uniformly by us, and the attacker names a set that
  holds it with probability ``chance`` if the canary is out. It shows up to about log(1 / chance) with a few canaries.

Why the second holds. Let a(k) bound the probability that k given canaries, all in, are all hit. Take one of them out:
by (epsilon, delta)-privacy the probability changes by at most the factor e^epsilon and delta; then its secret is
independent of all else, and hit with probability ``chance``. So a(k) <= q a(k-1) + delta with q = e^epsilon chance, and
a(k) <= q^k + delta / (1 - q). With v hits among n canaries there are C(v, k) sets of k that are all hit; their expected
number is at most C(n, k) a(k), so by Markov P(at least v hits) <= C(n, k) a(k) / C(v, k) for every k.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.privacy.attack import binomial_chances, crossing, log_choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the canaries that the attacker guesses, surest first; the best of these counts, and is paid for."""
MOST_EPSILON = 64.0


def membership_p_value(canaries: int, guesses: int, right: int, *, epsilon: float, delta: float) -> float:
    """Probability, at most, of ``right`` or more right ``guesses`` under an (epsilon, delta)-private release."""
    chances = binomial_chances(guesses, 1 / (1 + math.exp(-epsilon)))
    enough = float(chances[right:].sum())
    if delta == 0:
        return min(1.0, enough)
    # For each i the chance to miss `right` by at most i, per i: what delta can add by making that many guesses right.
    short = np.cumsum(chances[:right][::-1]) / np.arange(1, right + 1)
    return min(1.0, enough + 2 * canaries * delta * float(short.max(initial=0.0)))


def best_membership_p_value(
    scores: NDArray[np.float64], members: NDArray[np.bool_], *, epsilon: float, delta: float
) -> float:
    """The same for guesses by score: the upper half of the surest are called in, the lower half out.

    The best of `SHARES`, times their number, so that choosing among them is no advantage. Ties are broken by place.
    """
    order = np.argsort(-scores, kind="stable")
    found = [
        membership_p_value(len(scores), guesses, right, epsilon=epsilon, delta=delta)
        for guesses, right in _guesses(members[order])
    ]
    return min(1.0, len(found) * min(found))


def _guesses(ordered: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """For each share the number of guesses, and of right ones, members ordered by falling score."""
    found = []
    for share in SHARES:
        each = max(1, int(share * len(ordered) / 2))
        found.append((2 * each, int(ordered[:each].sum() + (~ordered[-each:]).sum())))
    return found


def secrets_p_value(canaries: int, hits: int, *, chance: float, epsilon: float, delta: float) -> float:
    """Probability, at most, that ``hits`` of ``canaries`` in give their secret away, (epsilon, delta)-privately."""
    log_q = epsilon + math.log(chance)
    if hits == 0 or log_q >= 0:
        return 1.0
    k = np.arange(1, hits + 1)
    logs = log_choose(canaries)[1 : hits + 1] - log_choose(hits)[1:]
    with np.errstate(over="ignore"):
        each = np.exp(logs + k * log_q) + np.exp(logs) * delta / -math.expm1(log_q)
    return float(min(1.0, each.min()))


def epsilon_lower_bound(p_value: Callable[[float], float], *, significance: float) -> float:
    """The largest epsilon that a p-value, which grows with epsilon, still rejects; 0 if it rejects none."""
    if p_value(0.0) > significance:
        return 0.0
    return crossing(lambda epsilon: p_value(epsilon) > significance, 0.0, MOST_EPSILON)


def detectable_by_membership(canaries: int, *, delta: float, significance: float) -> float:
    """The lower bound that an attacker would get who guesses every coin of ``canaries`` right."""

    def p_value(epsilon: float) -> float:
        return membership_p_value(canaries, canaries, canaries, epsilon=epsilon, delta=delta)

    # Choosing among the shares costs their number.
    return epsilon_lower_bound(p_value, significance=significance / len(SHARES))


def detectable_by_secrets(canaries: int, *, chance: float, delta: float, significance: float) -> float:
    """The lower bound that an attacker would get who hits the secret of every one of ``canaries`` that are in."""

    def p_value(epsilon: float) -> float:
        return secrets_p_value(canaries, canaries, chance=chance, epsilon=epsilon, delta=delta)

    return epsilon_lower_bound(p_value, significance=significance)
