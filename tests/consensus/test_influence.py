"""What one client changed: the figures are those of the rounds in which it never took part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus import ABSTAIN, Status
from semfed_secure.consensus.influence import Influence, influences
from tests.consensus.evidence import rule, texts, votes

if TYPE_CHECKING:
    from semfed_secure.consensus import Evidence, Outcomes
    from semfed_secure.wire.messages import ConsensusRule

# Twelve directions, 30 degrees apart: at a threshold of cos 45 degrees each neighbours the next only.
_CIRCLE = {f"text {chr(97 + step)}": (math.cos(step * math.pi / 6), math.sin(step * math.pi / 6)) for step in range(12)}
_ROW = st.tuples(*[st.sampled_from([None, *list(_CIRCLE)[:7]])] * 3)
_TEXTS = st.lists(_ROW, min_size=1, max_size=8).map(lambda rows: texts(rows, _CIRCLE))
_VOTES = st.lists(st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=1, max_size=8).map(votes)


def _recounted(
    evidence: Evidence, outcomes: Outcomes, client: int, weights: np.ndarray, terms: ConsensusRule
) -> Influence:
    others = evidence.without(client).consensus(weights, rule=terms)
    changed = only_with = 0
    for prompt in range(evidence.answers.shape[1]):
        one, other = int(outcomes.label[prompt]), int(others.label[prompt])
        kept = ABSTAIN not in (one, other) and evidence.same_meaning(one, other)
        changed += outcomes.status[prompt] != others.status[prompt] or (one != ABSTAIN and not kept)
        only_with += one != ABSTAIN and bool(outcomes.members[client, prompt]) and not kept
    return Influence(changed, only_with, int((others.status == Status.AGREED).sum()))


@given(st.one_of(_TEXTS, _VOTES), st.data(), st.sampled_from([0, 400_000, 600_000]), st.sampled_from([0, 300_000]))
def test_the_influence_of_each_client_is_that_of_a_round_without_it(
    evidence: Evidence, data: st.DataObject, support: int, trim: int
) -> None:
    """Whatever the weights are, with and without it."""
    clients = len(evidence.answers)
    drawn = st.lists(st.integers(500_000, 1_000_000), min_size=clients, max_size=clients).map(np.array)
    terms = rule(min_support_ppm=support, trim_ppm=trim, min_clients=2)
    outcomes = evidence.consensus(data.draw(drawn), rule=terms)
    without = [data.draw(drawn)[1:] for _ in range(clients)]
    expected = [_recounted(evidence, outcomes, client, without[client], terms) for client in range(clients)]
    assert list(influences(evidence, outcomes, without, rule=terms)) == expected
