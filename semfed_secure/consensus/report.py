"""The round report: what each client contributed, and what would have come out without it.

Made for the operator and the auditor of the server. It names clients, so it is stored with the round and
shown by the server's own commands; the signed consensus holds nothing of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.explaining import why
from semfed_secure.consensus.outcome import MAX_WEIGHT_PPM, PPM, BoolArray, Evidence, IntArray, Outcomes, Status
from semfed_secure.consensus.sharding import HERE, ShardRunner
from semfed_secure.consensus.weights import ClientWeights, WeightMode, client_weights, weights_in_force

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.consensus.anchors import AnchorCounts
    from semfed_secure.consensus.influence import Influence
    from semfed_secure.consensus.reputation import Past
    from semfed_secure.wire.messages import ConsensusRule


@dataclass(frozen=True, slots=True)
class ClientReport:
    """One client's part in a round.

    Attributes:
        member: Its member id.
        answered: Prompts it did not abstain on.
        weight_ppm: The weight that counted.
        observed_weight_ppm: The weight its behaviour would earn under ``agreement``.
        anchored_weight_ppm: The weight that gold prompts would earn it under ``anchored``.
        behaviour_ppm: As ``observed_weight_ppm``, by this round alone: what later rounds remember.
        agreement_ppm: Median agreement with the others.
        collusion_ppm: How much more often than usual it was wrong together with its closest peer; 0 is usual.
        collusion_partner: That peer, or None.
        anchors_right: Gold prompts it answered rightly.
        anchors_seen: Gold prompts it answered.
        why: Its weight in words and figures.
        supported_ppm: Share of its answers that stand in the winning group.
        trimmed_ppm: Share of its answers outside the winning group or trimmed from its edge.
        influence: What would differ without it.
    """

    member: str
    answered: int
    weight_ppm: int
    observed_weight_ppm: int
    anchored_weight_ppm: int
    behaviour_ppm: int
    agreement_ppm: int
    collusion_ppm: int
    collusion_partner: str | None
    anchors_right: int
    anchors_seen: int
    why: str
    supported_ppm: int
    trimmed_ppm: int
    influence: Influence


@dataclass(frozen=True, slots=True)
class ModeReport:
    """What would have come out had the clients been weighed another way.

    Attributes:
        weights: The mode, as a rule names it.
        agreed: Prompts that would agree.
        changed: Prompts whose status or meaning would differ.
    """

    weights: WeightMode
    agreed: int
    changed: int


@dataclass(frozen=True, slots=True)
class PromptReport:
    """How firm one prompt's result is.

    ``certified_tolerance`` is how many clients could have changed their answers at will, and the winner would still
    win; where gold prompts weigh, their answers to this prompt, and of a gold prompt it is 0.
    """

    prompt: str
    status: str
    support_ppm: int
    margin_ppm: int
    certified_tolerance: int


@dataclass(frozen=True, slots=True)
class RoundReport:
    """Everything the operator may ask about how a consensus came to be; ``anchors`` counts the gold prompts.

    ``agreement_permille`` says for each client how often each one before it said the same, in thousandths of the
    prompts that both answered, or -1 where there is none.
    """

    agreed: int
    contested: int
    too_few: int
    weights: WeightMode
    anchors: int
    other_weights: tuple[ModeReport, ...]
    clients: tuple[ClientReport, ...]
    prompts: tuple[PromptReport, ...]
    agreement_permille: tuple[tuple[int, ...], ...]

    def as_json(self) -> dict[str, object]:
        """Plain objects, ready for JSON."""
        return asdict(self)


def evaluate(
    evidence: Evidence,
    rule: ConsensusRule,
    *,
    anchors: AnchorCounts | None = None,
    past: Past | None = None,
    runner: ShardRunner = HERE,
) -> tuple[Outcomes, ClientWeights]:
    """Weigh the clients, then apply the rule."""
    weights = client_weights(evidence, mode=rule.weights, anchors=anchors, past=past)
    outcomes = runner.consensus(evidence, weights.weight_ppm, rule=rule)
    if rule.weights == "anchored" and anchors is not None:
        outcomes.certified_tolerance[list(anchors.prompts)] = 0  # an answer there moves weights
    return outcomes, weights


def round_report(
    evidence: Evidence,
    outcomes: Outcomes,
    weights: ClientWeights,
    *,
    rule: ConsensusRule,
    members: Sequence[str],
    prompt_ids: Sequence[str],
    runner: ShardRunner = HERE,
) -> RoundReport:
    """Report on a consensus; recomputes it once per client to measure influence.

    Args:
        evidence: The admitted answers.
        outcomes: Their consensus.
        weights: The weights it used.
        rule: The rule it used.
        members: Member id of each row of the evidence.
        prompt_ids: Identifier of each prompt.
        runner: Who does the work.
    """
    counts = np.bincount(outcomes.status, minlength=len(Status))
    influence = runner.influences(evidence, outcomes, _weights_without(evidence, weights, rule), rule=rule)
    return RoundReport(
        agreed=int(counts[Status.AGREED]),
        contested=int(counts[Status.CONTESTED]),
        too_few=int(counts[Status.TOO_FEW]),
        weights=rule.weights,
        anchors=0 if weights.anchors is None else len(weights.anchors.prompts),
        other_weights=_other_weights(evidence, outcomes, weights, rule),
        clients=tuple(
            _client(row, members, evidence, outcomes, weights, rule, influence[row]) for row in range(len(members))
        ),
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
        agreement_permille=_pairs(evidence),
    )


def _pairs(evidence: Evidence) -> tuple[tuple[int, ...], ...]:
    present = (evidence.answers >= 0).astype(np.int64)
    shared, same = present @ present.T, evidence.agreements()
    permille = np.where(shared > 0, same * 1000 // np.maximum(shared, 1), -1).tolist()
    return tuple(tuple(row[:client]) for client, row in enumerate(permille))


def _other_weights(
    evidence: Evidence, outcomes: Outcomes, weights: ClientWeights, rule: ConsensusRule
) -> tuple[ModeReport, ...]:
    full = np.full_like(weights.weight_ppm, MAX_WEIGHT_PPM)
    given: dict[WeightMode, IntArray] = {"equal": full, "agreement": weights.observed_ppm}
    if weights.anchors is not None:
        given["anchored"] = weights.anchored_ppm
    reports = []
    for mode, weight_ppm in given.items():
        if mode != rule.weights:
            other = evidence.consensus(weight_ppm, rule=replace(rule, weights=mode))
            changed, _ = _differences(evidence, outcomes, other)
            reports.append(ModeReport(mode, int((other.status == Status.AGREED).sum()), int(changed.sum())))
    return tuple(reports)


def _client(
    row: int,
    members: Sequence[str],
    evidence: Evidence,
    outcomes: Outcomes,
    weights: ClientWeights,
    rule: ConsensusRule,
    influence: Influence,
) -> ClientReport:
    answered = int((evidence.answers[row] >= 0).sum())
    partner = int(weights.partner[row])
    return ClientReport(
        member=members[row],
        answered=answered,
        weight_ppm=int(weights.weight_ppm[row]),
        observed_weight_ppm=int(weights.observed_ppm[row]),
        anchored_weight_ppm=int(weights.anchored_ppm[row]),
        behaviour_ppm=int(weights.behaviour_ppm[row]),
        agreement_ppm=int(weights.agreement_ppm[row]),
        collusion_ppm=int(weights.collusion_ppm[row]),
        collusion_partner=None if partner < 0 else members[partner],
        anchors_right=0 if weights.anchors is None else int(weights.anchors.right[row]),
        anchors_seen=0 if weights.anchors is None else int(weights.anchors.seen[row]),
        why=why(weights, row, members, mode=rule.weights),
        supported_ppm=int(outcomes.members[row].sum()) * PPM // max(answered, 1),
        trimmed_ppm=(answered - int(outcomes.core[row].sum())) * PPM // max(answered, 1),
        influence=influence,
    )


def _weights_without(evidence: Evidence, weights: ClientWeights, rule: ConsensusRule) -> list[IntArray]:
    """For each client, the weights of the others in the round without it, weighed anew."""
    clients, anchors, past = len(evidence.answers), weights.anchors, weights.past
    if rule.weights == "equal":
        return [np.full(clients - 1, MAX_WEIGHT_PPM, np.int64) for _ in range(clients)]
    return [
        weights_in_force(
            evidence.without(row),
            mode=rule.weights,
            anchors=None if anchors is None else anchors.without(row),
            past=None if past is None else past.without(row),
        )
        for row in range(clients)
    ]


def _differences(evidence: Evidence, outcomes: Outcomes, other: Outcomes) -> tuple[BoolArray, BoolArray]:
    """Prompts whose status or meaning differs, and those that agree in both, in one meaning."""
    agreed, still = outcomes.status == Status.AGREED, other.status == Status.AGREED
    kept = np.array(
        [
            bool(both) and evidence.same_meaning(int(label), int(their))
            for both, label, their in zip(agreed & still, outcomes.label, other.label, strict=True)
        ],
        dtype=bool,
    )
    return (outcomes.status != other.status) | (agreed & still & ~kept), kept
