"""Any mixture of strategies in any order: what must hold holds, and a seed says exactly what happened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.dumping import simulated
from tests.simulator.holding import hold
from tests.simulator.lines import BAD_NETWORKS, LYING_SERVERS, Dropping, Reordering
from tests.simulator.members import LIARS, Copying, Equivocating, Replaying
from tests.simulator.servers import OldRoster
from tests.simulator.world import NAMES, ROUNDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator.dumping import Simulate
    from tests.simulator.world import World

MISCHIEF = (*LYING_SERVERS, *BAD_NETWORKS)
LINES = st.lists(st.sampled_from(MISCHIEF), max_size=2, unique=True)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    seed=st.integers(0, 2**32 - 1),
    liars=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(LIARS), max_size=2),
    lines=st.dictionaries(st.sampled_from(NAMES), LINES, max_size=2),
    held=st.sampled_from([ROUNDS, ROUNDS[:1]]),
)
def test_whatever_is_mixed_what_must_hold_holds(simulate: Simulate, seed, liars, lines, held) -> None:
    """Up to two liars and two bad lines of up to two defects each, among four members, in an order that is drawn."""
    liars = {name: liar() for name, liar in liars.items()}
    lines = {name: happening for name, happening in lines.items() if name not in liars}
    with simulate(seed=seed, liars=liars, mischief=lines, rounds=held) as world:
        world.run()
        hold(world)


def outline(simulate: Simulate, seed: int) -> list[tuple[str, ...]]:
    """What happened under a seed, in a world that draws at many places."""
    liars, mischief = {"north": Copying()}, {"bay": [Dropping], "hill": [Reordering]}
    with simulate(seed=seed, liars=liars, mischief=mischief, rounds=ROUNDS[:1]) as world:
        world.run()
        return world.transcript.outline()


def test_a_seed_says_what_happens(simulate: Simulate) -> None:
    """The same seed gives the same calls, losses, refusals and ends, in the same order; another seed gives others."""
    first = outline(simulate, 21)
    assert outline(simulate, 21) == first
    assert outline(simulate, 22) != first


def fail_at_the_end_of(world: World) -> None:
    """Run, then fail as a test fails."""
    world.run()
    raise AssertionError("failed as planned")


def test_a_dumped_world_holds_every_message_and_how_it_ended(tmp_path: Path) -> None:
    """A run that fails leaves its messages as files, the order they came in, who played what, and the failure."""
    names = ("bay", "hill", "lake")
    target = tmp_path / "dumped"
    founding = {"seed": 5, "names": names, "rounds": ROUNDS[:1]}
    playing = {"liars": {"lake": Equivocating()}, "mischief": {"bay": [OldRoster]}}
    with (
        pytest.raises(AssertionError, match="as planned"),
        simulated(target, tmp_path / "world", **founding, **playing) as world,
    ):
        fail_at_the_end_of(world)
    (place,) = target.iterdir()
    assert place.name == "test_a_dumped_world_holds_every_message_and_how_it_ended-5"
    text = (place / "world.txt").read_text()
    assert "seed 5\nfailed: AssertionError: failed as planned" in text
    assert "lake: Equivocating" in text
    assert "bay: OldRoster" in text
    document = json.loads((place / "transcript.json").read_text())
    posts = [row for row in document["exchanges"] if (row["call"], row["member"]) == ("post", "lake")]
    assert len({(place / row["sent"]).read_bytes() for row in posts}) == 2
    assert {act["ended"] for act in document["acts"] if act["member"] == "bay"} >= {"done", "SF322"}
    assert not (tmp_path / "world").exists()


def test_the_transcript_of_a_replay_shows_equal_answers(simulate: Simulate) -> None:
    """What the recorder writes is what was said: equal bodies got equal receipts at both ends."""
    with simulate(seed=6, names=("bay", "hill", "lake"), rounds=ROUNDS[:1], liars={"lake": Replaying()}) as world:
        world.run()
        for end in ("member", "server"):
            posts = world.transcript.posted(end=end)
            pairs = {(each.sent, each.answered) for each in posts}
            assert len(pairs) == len({each.sent for each in posts}) == 3 < len(posts)
