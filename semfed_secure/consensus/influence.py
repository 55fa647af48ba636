"""What would differ without one client: the same round, weighed anew, for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.outcome import ABSTAIN, PPM, BoolArray, IntArray, Status, status_of
from semfed_secure.consensus.text import Graph, Poll, TextAnswers, hold_poll, middles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    twins = _twins(evidence, outcomes, weights_without, rule)
    return tuple(
        Influence(
            changed=int(((outcomes.status != status) | (agreed & (status == Status.AGREED) & ~kept)).sum()),
            agreed_only_with=int((agreed & outcomes.members[client] & ~kept).sum()),
            agreed_without=int((status == Status.AGREED).sum()),
        )
        for client, (status, kept) in enumerate(twins)
    )


def _twins(
    evidence: Evidence, outcomes: Outcomes, weights_without: Sequence[IntArray], rule: ConsensusRule
) -> Iterator[tuple[IntArray, BoolArray]]:
    """Without each client: the status of each prompt, and whether it agrees with and without it, in one meaning."""
    if isinstance(evidence, TextAnswers):
        yield from zip(*_text_twins(evidence, outcomes, weights_without, rule), strict=True)
        return
    for client, weights in enumerate(weights_without):
        others = evidence.without(client).consensus(weights, rule=rule)
        yield others.status, (outcomes.label == others.label) & (others.label != ABSTAIN)


def _text_twins(
    evidence: TextAnswers, outcomes: Outcomes, weights_without: Sequence[IntArray], rule: ConsensusRule
) -> tuple[IntArray, BoolArray]:
    """`_twins` of texts, ``(clients, prompts)``: one poll for all that leave the same weight behind every answer."""
    clients = len(weights_without)
    weights = np.zeros((clients, clients), np.int64)
    for client, others in enumerate(weights_without):
        weights[client, np.arange(clients) != client] = others
    present = 1 - np.eye(clients, dtype=np.int64)
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
