"""What would differ without one client: the same round, weighed anew, for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import ABSTAIN, PPM, BoolArray, IntArray, Status, status_of, tie_key
from semfed_secure.consensus.text import Graph, Poll, TextAnswers, hold_poll, middles
from semfed_secure.consensus.votes import Votes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.consensus.outcome import Evidence, Outcomes
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

    def __add__(self, other: Influence) -> Influence:
        """Both, of different prompts of one round."""
        return Influence(
            self.changed + other.changed,
            self.agreed_only_with + other.agreed_only_with,
            self.agreed_without + other.agreed_without,
        )


def influences(
    evidence: Evidence, outcomes: Outcomes, weights_without: Sequence[IntArray], *, rule: ConsensusRule
) -> tuple[Influence, ...]:
    """The influence of each client; that on several prompts is the sum of that on each.

    Args:
        evidence: The answers of the round.
        outcomes: Its consensus.
        weights_without: For each client, the weights that the others have in the round without it.
        rule: The rule of the round.
    """
    agreed = outcomes.status == Status.AGREED
    weights = _square(weights_without)
    if isinstance(evidence, TextAnswers):
        statuses, keeps = _text_twins(evidence, outcomes, weights, rule)
    else:
        assert isinstance(evidence, Votes)
        statuses, keeps = _vote_twins(evidence, outcomes, weights, rule)
    return tuple(
        Influence(
            changed=int(((outcomes.status != status) | (agreed & (status == Status.AGREED) & ~kept)).sum()),
            agreed_only_with=int((agreed & outcomes.members[client] & ~kept).sum()),
            agreed_without=int((status == Status.AGREED).sum()),
        )
        for client, (status, kept) in enumerate(zip(statuses, keeps, strict=True))
    )


def _square(weights_without: Sequence[IntArray]) -> IntArray:
    """Row by row the weights without one client, which itself weighs nothing there."""
    clients = len(weights_without)
    weights = np.zeros((clients, clients), np.int64)
    for client, others in enumerate(weights_without):
        weights[client, np.arange(clients) != client] = others
    return weights


def _vote_twins(
    evidence: Votes, outcomes: Outcomes, weights: IntArray, rule: ConsensusRule
) -> tuple[IntArray, BoolArray]:
    """Without each client: the status of each prompt, and whether it agrees with and without it on one candidate."""
    present = 1 - np.eye(len(weights), dtype=np.int64)
    status, kept = np.zeros(evidence.answers.shape, np.int64), np.zeros(evidence.answers.shape, bool)
    for prompt, votes in enumerate(evidence.answers.T):
        given = {int(vote) for vote in votes if 0 <= vote < evidence.candidate_counts[prompt]}
        if not given:
            status[:, prompt] = Status.TOO_FEW
            continue
        prompt_id = evidence.prompt_ids[prompt]
        # In tie order: of candidates with equal weight behind them, the first one wins.
        choices = sorted(given, key=lambda vote: tie_key(evidence.nonce, prompt_id, vote.to_bytes(8, "big")))
        stands = (votes[:, None] == np.array(choices)).astype(np.int64)
        mass = weights @ stands
        winner, total = mass.argmax(axis=1), np.maximum(mass.sum(axis=1), 1)
        top = mass.max(axis=1)
        mass[np.arange(len(mass)), winner] = 0
        status[:, prompt] = status_of(
            answered=(present @ stands).sum(axis=1),
            support_ppm=top * PPM // total,
            margin_ppm=(top - mass.max(axis=1)) * PPM // total,
            rule=rule,
        )
        same = np.array(choices)[winner] == outcomes.label[prompt]
        kept[:, prompt] = same & (status[:, prompt] == Status.AGREED)
    return status, kept


def _text_twins(
    evidence: TextAnswers, outcomes: Outcomes, weights: IntArray, rule: ConsensusRule
) -> tuple[IntArray, BoolArray]:
    """The same of texts, by meaning: one poll for all that leave the same weight behind every answer."""
    present = 1 - np.eye(len(weights), dtype=np.int64)
    status, kept = np.zeros(evidence.answers.shape, np.int64), np.zeros(evidence.answers.shape, bool)
    for prompt, (graph, vertex) in enumerate(zip(evidence.graphs, evidence.vertices.T, strict=True)):
        stands = (vertex[:, None] == np.arange(len(graph.entries))).astype(np.int64)
        polls = _polls(graph, weights @ stands, present @ stands)
        status[:, prompt] = status_of(
            answered=present @ (vertex >= 0),
            support_ppm=np.array([each.top * PPM // max(each.total, 1) for each in polls]),
            margin_ppm=np.array([(each.top - each.rival) * PPM // max(each.total, 1) for each in polls]),
            rule=rule,
        )
        if outcomes.label[prompt] != ABSTAIN:
            label = graph.entries.index(int(outcomes.label[prompt]))
            same = {id(each): _releases_the_same(each, label, rule.trim_ppm) for each in polls}
            kept[:, prompt] = (status[:, prompt] == Status.AGREED) & [same[id(each)] for each in polls]
    return status, kept


def _polls(graph: Graph, mass: IntArray, count: IntArray) -> list[Poll]:
    """The poll of each row; equal rows share one."""
    held: dict[tuple[bytes, bytes], Poll] = {}
    rows = [(heavy.tobytes(), many.tobytes()) for heavy, many in zip(mass, count, strict=True)]
    for row, key in enumerate(rows):
        if key not in held:
            held[key] = hold_poll(graph, mass[row].tolist(), count[row].tolist())
    return [held[key] for key in rows]


def _releases_the_same(poll: Poll, label: int, trim_ppm: int) -> bool:
    if label in poll.group:  # in a group every two are neighbours
        return True
    (released,) = middles([poll], trim_ppm)
    return bool(released) and bool(poll.graph.neighbours[label] >> released[0] & 1)
