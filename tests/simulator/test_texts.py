"""What becomes of lies where texts are committed to first: nobody answers with another's answer, or with two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import IntegrityError
from semfed_secure.units import OutputKind
from tests.simulator.holding import hold
from tests.simulator.lines import Dropping, Reordering
from tests.simulator.texts import LISTS, TEXT_LIARS, LoggingTwoLists
from tests.simulator.world import ROUNDS, TRUTH

if TYPE_CHECKING:
    from tests.simulator.dumping import Simulate
    from tests.simulator.members import Liar
    from tests.simulator.servers import Mischief

AGREED = tuple(TRUTH.values())
THREE = ("bay", "hill", "lake")


@pytest.mark.parametrize("liar", TEXT_LIARS)
def test_a_liar_gains_nothing_from_the_commitments(simulate: Simulate, liar: type[Liar]) -> None:
    """The honest get their labels; the liar's slot and log entries say what it did."""
    with simulate(
        seed=31, names=(*THREE, "north"), rounds=ROUNDS[:1], kind=OutputKind.TEXT, liars={"north": liar()}
    ) as world:
        world.run()
        for name in world.honest:
            assert world.seats[name].labels == {ROUNDS[0]: AGREED}
        hold(world)


@pytest.mark.parametrize("mischief", LISTS)
def test_a_server_that_shows_another_list_gets_no_texts(simulate: Simulate, mischief: type[Mischief]) -> None:
    """The member refuses the list, keeps its texts, and says so; the others are not disturbed."""
    with simulate(seed=32, names=THREE, rounds=ROUNDS[:1], kind=OutputKind.TEXT, mischief={"bay": [mischief]}) as world:
        world.run()
        assert world.seats["bay"].ended[ROUNDS[0], "open"] in mischief.codes
        assert len(world.transcript.posted(end="member", member="bay")) == 1
        for name in THREE[1:]:
            assert world.seats[name].labels == {ROUNDS[0]: AGREED}
        hold(world)


def test_a_server_that_logs_two_lists_reads_texts_early_and_leaves_the_proof_of_it(simulate: Simulate) -> None:
    """Nothing prevents it; the member takes no labels of it, and nobody who reads the log can overlook it."""
    lies = {"bay": [LoggingTwoLists]}
    with simulate(seed=32, names=THREE, rounds=ROUNDS[:1], kind=OutputKind.TEXT, mischief=lies) as world:
        world.run()
        bay = world.seats["bay"]
        assert len(world.transcript.posted(end="member", member="bay")) == 2
        assert bay.ended[ROUNDS[0], "collect"] in LoggingTwoLists.codes
        assert not bay.labels
        for name in THREE[1:]:
            assert world.seats[name].labels == {ROUNDS[0]: AGREED}
        with pytest.raises(IntegrityError) as caught:
            hold(world)
        assert caught.value.code == "SF506"


def test_a_bad_network_costs_texts_only_time(simulate: Simulate) -> None:
    """Lost, late and repeated commitments, openings and lists: everybody is counted once."""
    lines = {"bay": [Dropping], "hill": [Reordering]}
    with simulate(seed=33, names=THREE, rounds=ROUNDS[:1], kind=OutputKind.TEXT, mischief=lines) as world:
        world.run()
        assert {seat.labels[ROUNDS[0]] for seat in world.seats.values()} == {AGREED}
        hold(world)
