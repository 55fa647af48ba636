"""What the evidence of an attacked run says about the claim: figures, a lower bound on epsilon, a verdict.

Every kind of release is tested twice, by coins and by secrets (`semfed_secure.privacy.attack_bounds`); all tests of
one run share 5 %, so a configuration that keeps its claim is refuted in at most one audit of twenty.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.client.attack_run import Variant
from semfed_secure.privacy.attack import CONFIDENCE, Rate, auc, binomial_tail, rate, true_positives_at
from semfed_secure.privacy.attack_bounds import (
    best_membership_p_value,
    detectable_by_membership,
    detectable_by_secrets,
    epsilon_lower_bound,
    secrets_p_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from semfed_secure.client.attack_run import Evidence

POWER = 0.9
"""How surely a broken variant must be rejected before a pass means anything."""
RESAMPLES = 200
_TESTS = 2  # of each kind of release: coins and secrets
_MOST_EXPECTED = 0.1


class Outcome(StrEnum):
    """How an audit ends."""

    PASSED = "passed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Claim:
    """What the configuration promises of one training run, per entity."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Finding:
    """The figures of one kind of release.

    Attributes:
        evidence: What they were made from.
        auc: Of the attacker's scores.
        true_positives: Members found, at 1 % and at 0.1 % of the others.
        repeated: Own answers among all next to members' questions, and next to the others'.
        hits: Members whose secret was given away: at least ``needed`` of their answers were their own.
        needed: Answers that make a hit, fixed by the claim before the run.
        chance: Probability of a hit for a canary that is out.
        by_membership: Lower bound on epsilon from the coins.
        by_secrets: Lower bound on epsilon from the secrets.
        detectable: The lower bound that a perfect attacker would get from as many canaries.
    """

    evidence: Evidence
    auc: float
    true_positives: Mapping[float, Rate]
    repeated: tuple[Rate, Rate]
    hits: Rate
    needed: int
    chance: float
    by_membership: float
    by_secrets: float
    detectable: float


@dataclass(frozen=True, slots=True)
class Attacked:
    """All findings on one variant; ``power`` is the share of resamples of its canaries that reject the claim."""

    variant: Variant
    findings: tuple[Finding, ...]
    power: float

    @property
    def epsilon_lower(self) -> float:
        """The best lower bound, at 95 % over all tests together."""
        return max(max(finding.by_membership, finding.by_secrets) for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of an audit, in one word and one sentence."""

    outcome: Outcome
    reason: str


def needed_matches(claim: Claim, *, records_each: int, answers: int) -> int:
    """The fewest matches that a canary under the claim has in at most one of ten cases; all, where none are as rare."""
    for needed in range(1, records_each):
        if np.exp(claim.epsilon) * binomial_tail(needed, records_each, 1 / answers) <= _MOST_EXPECTED:
            return needed
    return records_each


def attacked(variant: Variant, found: Sequence[Evidence], claim: Claim, *, draw: np.random.Generator) -> Attacked:
    """Figures and bounds of one variant's evidence."""
    significance = (1 - CONFIDENCE) / (_TESTS * len(found))
    return Attacked(
        variant=variant,
        findings=tuple(_finding(each, claim, significance) for each in found),
        power=float(np.mean([_rejects(found, claim, significance, draw) for _ in range(RESAMPLES)])),
    )


def verdict(results: Sequence[Attacked], claim: Claim) -> Verdict:
    """Passed only if the claim stands and the same audit tells at least one broken variant from it."""
    production = next(result for result in results if result.variant is Variant.PRODUCTION)
    if production.epsilon_lower > claim.epsilon:
        reason = f"epsilon is at least {production.epsilon_lower:.3f} where {claim.epsilon:g} is claimed"
        return Verdict(Outcome.REFUTED, reason)
    told = [result for result in results if result.variant is not Variant.PRODUCTION and result.power >= POWER]
    if not told:
        reason = "no broken variant was told from the claim with enough power: use fewer canaries of more records"
        return Verdict(Outcome.INCONCLUSIVE, reason)
    names = ", ".join(result.variant for result in told)
    return Verdict(Outcome.PASSED, f"no more than the claim was found, and this audit rejects {names}")


def _finding(found: Evidence, claim: Claim, significance: float) -> Finding:
    members, matches = found.members, found.matches
    needed, chance = _secret(found, claim)
    hits = _hits(members, matches, needed)
    hit_rate = rate(hits, int(members.sum()))

    def by_membership(epsilon: float) -> float:
        return best_membership_p_value(found.scores, members, epsilon=epsilon, delta=claim.delta)

    def by_secrets(epsilon: float) -> float:
        return secrets_p_value(hit_rate.of, hits, chance=chance, epsilon=epsilon, delta=claim.delta)

    detectable = max(
        detectable_by_membership(len(members), delta=claim.delta, significance=significance),
        detectable_by_secrets(hit_rate.of, chance=chance, delta=claim.delta, significance=significance),
    )
    return Finding(
        evidence=found,
        auc=auc(found.scores, members),
        true_positives={fpr: true_positives_at(fpr, found.scores, members) for fpr in (0.01, 0.001)},
        repeated=(_share(matches[members]), _share(matches[~members])),
        hits=hit_rate,
        needed=needed,
        chance=chance,
        by_membership=epsilon_lower_bound(by_membership, significance=significance),
        by_secrets=epsilon_lower_bound(by_secrets, significance=significance),
        detectable=detectable,
    )


def _secret(found: Evidence, claim: Claim) -> tuple[int, float]:
    """How many matches give a secret away, and how likely that is for a canary that is out."""
    records_each = found.matches.shape[1]
    needed = needed_matches(claim, records_each=records_each, answers=found.answers)
    return needed, binomial_tail(needed, records_each, 1 / found.answers)


def _hits(members: NDArray[np.bool_], matches: NDArray[np.bool_], needed: int) -> int:
    return int((matches[members].sum(axis=1) >= needed).sum())


def _share(matches: NDArray[np.bool_]) -> Rate:
    return rate(int(matches.sum()), matches.size)


def _rejects(found: Sequence[Evidence], claim: Claim, significance: float, draw: np.random.Generator) -> bool:
    """Whether as many canaries, drawn again from these with replacement, refute the claim."""
    for each in found:
        rows = draw.integers(len(each.members), size=len(each.members))
        members, matches, scores = each.members[rows], each.matches[rows], each.scores[rows]
        needed, chance = _secret(each, claim)
        hits, of = _hits(members, matches, needed), int(members.sum())
        p_values = (
            best_membership_p_value(scores, members, epsilon=claim.epsilon, delta=claim.delta),
            secrets_p_value(of, hits, chance=chance, epsilon=claim.epsilon, delta=claim.delta),
        )
        if min(p_values) <= significance:
            return True
    return False
