"""The round report: what each client contributed, and what would have come out without it.

Made for the operator and the auditor of the server. It names clients, so it is stored with the round and
shown by the server's own commands; the signed consensus holds nothing of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import PPM, Evidence, Outcomes, Status
from semfed_secure.consensus.weights import ClientWeights, client_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.wire.messages import ConsensusRule


@dataclass(frozen=True, slots=True)
class Influence:
    """The round with this client against the same round, weighed anew, without it.

    Attributes:
        changed: Prompts whose status or meaning differs.
        agreed_only_with: Prompts that agree with this client's own answer and would not without it.
        agreed_without: Prompts that agree without it.
    """

    changed: int
    agreed_only_with: int
    agreed_without: int


@dataclass(frozen=True, slots=True)
class ClientReport:
    """One client's part in a round.

    Attributes:
        member: Its member id.
        answered: Prompts it did not abstain on.
        weight_ppm: The weight that counted.
        observed_weight_ppm: The weight its behaviour would earn under ``agreement``.
        agreement_ppm: Median agreement with the others.
        collusion_ppm: Unusual agreement with its closest peer; 0 is usual.
        supported_ppm: Share of its answers that stand in the winning group.
        trimmed_ppm: Share of its answers outside the winning group or trimmed from its edge.
        influence: What would differ without it.
    """

    member: str
    answered: int
    weight_ppm: int
    observed_weight_ppm: int
    agreement_ppm: int
    collusion_ppm: int
    supported_ppm: int
    trimmed_ppm: int
    influence: Influence


@dataclass(frozen=True, slots=True)
class PromptReport:
    """How firm one prompt's result is."""

    prompt: str
    status: str
    support_ppm: int
    margin_ppm: int
    certified_tolerance: int


@dataclass(frozen=True, slots=True)
class RoundReport:
    """Everything the operator may ask about how a consensus came to be."""

    agreed: int
    contested: int
    too_few: int
    clients: tuple[ClientReport, ...]
    prompts: tuple[PromptReport, ...]

    def as_json(self) -> dict[str, object]:
        """Plain objects, ready for JSON."""
        return asdict(self)


def evaluate(evidence: Evidence, rule: ConsensusRule) -> tuple[Outcomes, ClientWeights]:
    """Weigh the clients, then apply the rule."""
    weights = client_weights(evidence, mode=rule.weights)
    return evidence.consensus(weights.weight_ppm, rule=rule), weights


def round_report(
    evidence: Evidence,
    outcomes: Outcomes,
    weights: ClientWeights,
    *,
    rule: ConsensusRule,
    members: Sequence[str],
    prompt_ids: Sequence[str],
) -> RoundReport:
    """Report on a consensus; recomputes it once per client to measure influence.

    Args:
        evidence: The admitted answers.
        outcomes: Their consensus.
        weights: The weights it used.
        rule: The rule it used.
        members: Member id of each row of the evidence.
        prompt_ids: Identifier of each prompt.
    """
    counts = np.bincount(outcomes.status, minlength=len(Status))
    return RoundReport(
        agreed=int(counts[Status.AGREED]),
        contested=int(counts[Status.CONTESTED]),
        too_few=int(counts[Status.TOO_FEW]),
        clients=tuple(_client(member, row, evidence, outcomes, weights, rule) for row, member in enumerate(members)),
        prompts=tuple(
            PromptReport(
                prompt=prompt_id,
                status=Status(int(outcomes.status[index])).name.lower(),
                support_ppm=int(outcomes.support_ppm[index]),
                margin_ppm=int(outcomes.margin_ppm[index]),
                certified_tolerance=int(outcomes.certified_tolerance[index]),
            )
            for index, prompt_id in enumerate(prompt_ids)
        ),
    )


def _client(
    member: str, row: int, evidence: Evidence, outcomes: Outcomes, weights: ClientWeights, rule: ConsensusRule
) -> ClientReport:
    answered = int((evidence.answers[row] >= 0).sum())
    return ClientReport(
        member=member,
        answered=answered,
        weight_ppm=int(weights.weight_ppm[row]),
        observed_weight_ppm=int(weights.observed_ppm[row]),
        agreement_ppm=int(weights.agreement_ppm[row]),
        collusion_ppm=int(weights.collusion_ppm[row]),
        supported_ppm=int(outcomes.members[row].sum()) * PPM // max(answered, 1),
        trimmed_ppm=(answered - int(outcomes.core[row].sum())) * PPM // max(answered, 1),
        influence=_influence(row, evidence, outcomes, rule),
    )


def _influence(row: int, evidence: Evidence, outcomes: Outcomes, rule: ConsensusRule) -> Influence:
    others, _ = evaluate(evidence.without(row), rule)
    agreed, still = outcomes.status == Status.AGREED, others.status == Status.AGREED
    kept = np.array(
        [
            bool(both) and evidence.same_meaning(int(label), int(other))
            for both, label, other in zip(agreed & still, outcomes.label, others.label, strict=True)
        ],
        dtype=bool,
    )
    return Influence(
        changed=int(((outcomes.status != others.status) | (agreed & still & ~kept)).sum()),
        agreed_only_with=int((agreed & outcomes.members[row] & ~kept).sum()),
        agreed_without=int(still.sum()),
    )
