"""Abstaining by topic: what a site declares decides on which prompts it says nothing, and nothing private does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.client.outputs import Ballots, Texts, Votes, within_topics
from semfed_secure.ids import PromptId, hex_digest
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import ABSTAIN
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.client.world import CANDIDATES, HISTOGRAM, TEXTS, TRUTH, UNSAFE, VOTES, through

if TYPE_CHECKING:
    from tests.client.world import World

TOPICS = ("cardiology", "dermatology", None)
TAGGED = PromptSet(
    "tagged", tuple(Prompt(PromptId(f"p{n}"), text, (), TOPICS[n % 3]) for n, text in enumerate(TEXTS)), CANDIDATES
)
OUTSIDE = {1, 4}
"""Prompts on dermatology."""
BALLOTS = Ballots(tuple((f"person-{n}", n % 6, VOTES[n % 6]) for n in range(600)))


def released(world: World, mechanism: Any, kind: OutputKind, outputs: Any) -> Any:
    """What leaves a site that answers for cardiology."""
    world.open_round("tagged", TAGGED, kind=kind)
    policy = {"grants": {"prompts": [hex_digest(TAGGED.digest)]}}
    answers = {"answers": {"topics": ["cardiology"]}}
    with world.client(mechanism=mechanism, policy=policy, sections=answers) as client:
        return through(world, client, outputs, "tagged")


@pytest.mark.parametrize(("mechanism", "outputs"), [(UNSAFE, Votes(VOTES)), (HISTOGRAM, BALLOTS)])
def test_a_site_votes_on_its_topics_only(world: World, mechanism: Any, outputs: Any) -> None:
    """Whatever its model or its records would say, noised or not; a prompt without a topic is for everybody."""
    votes = released(world, mechanism, OutputKind.VOTES, outputs).votes
    assert {place for place, vote in enumerate(votes) if vote == ABSTAIN} == OUTSIDE


def test_a_site_writes_on_its_topics_only(world: World) -> None:
    """Abstaining is a value: every prompt has one."""
    texts = released(world, UNSAFE, OutputKind.TEXT, Texts(tuple(TRUTH.values()))).texts
    assert len(texts) == 6
    assert {place for place, text in enumerate(texts) if text is None} == OUTSIDE


@given(st.lists(st.tuples(st.sampled_from(("a", "b", None)), st.integers(-1, 3)), min_size=1), st.sets(st.text("ab")))
def test_what_is_abstained_on_follows_from_topics_alone(rows: Any, topics: Any) -> None:
    """Two sites with the same topics abstain on the same prompts, whatever they would have said."""
    prompts = PromptSet("x", tuple(Prompt(PromptId(f"p{n}"), "q", (), topic) for n, (topic, _) in enumerate(rows)))
    votes = tuple(vote for _, vote in rows)
    found = within_topics(Votes(votes), prompts, topics).indexes
    for (topic, vote), kept in zip(rows, found, strict=True):
        assert kept == (vote if topic is None or topic in topics else ABSTAIN)
    texts = within_topics(Texts(tuple(map(str, votes))), prompts, topics).answers
    assert [text is None for text in texts] == [not (topic is None or topic in topics) for topic, _ in rows]
    assert within_topics(Votes(votes), prompts, None).indexes == votes
