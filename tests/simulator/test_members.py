"""What becomes of each lie of a member: honest sites notice nothing, and the server's log says what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.holding import hold
from tests.simulator.members import LIARS, Liar, Restarting, Revoked
from tests.simulator.world import NAMES, ROUNDS, TRUTH

if TYPE_CHECKING:
    from tests.simulator.dumping import Simulate

AGREED = tuple(TRUTH.values())


def test_honest_members_agree_on_the_truth(simulate: Simulate) -> None:
    """Without any liar: everybody is admitted in both rounds and learns the same labels."""
    with simulate(seed=1) as world:
        world.run()
        assert {seat.ended[name, "contribute"] for seat in world.seats.values() for name in ROUNDS} == {"done"}
        assert {seat.labels[name] for seat in world.seats.values() for name in ROUNDS} == {AGREED}
        hold(world)


@pytest.mark.parametrize("liar", LIARS)
@pytest.mark.parametrize("seed", [1])
def test_a_liar_changes_nothing_for_the_honest(simulate: Simulate, liar: type[Liar], seed: int) -> None:
    """Three honest members get the labels of a world without liars; slot and log entries of the liar are right."""
    with simulate(seed=seed, liars={"north": liar()}) as world:
        world.run()
        for name in world.honest:
            assert {world.seats[name].labels[each] for each in ROUNDS} == {AGREED}
        hold(world)


def test_a_revoked_member_is_out_at_once(simulate: Simulate) -> None:
    """What it sends is refused, what it had sent is not counted, and it is told so itself; nobody else notices."""
    with simulate(seed=5, rounds=ROUNDS[:1], liars={"north": Revoked()}) as world:
        world.run()
        for name in world.honest:
            assert world.seats[name].labels == {ROUNDS[0]: AGREED}
        assert world.seats["north"].ended[ROUNDS[0], "collect"] == "SF306"
        hold(world)


def test_all_liars_at_once_are_told_apart(simulate: Simulate) -> None:
    """The honest are outnumbered; the log still says of each liar what it did, and the result is what was voted."""
    names = (*NAMES, *(f"liar-{number}" for number in range(len(LIARS))))
    liars = {f"liar-{number}": liar() for number, liar in enumerate(LIARS)}
    with simulate(seed=3, names=names, liars=liars) as world:
        world.run()
        hold(world)


def test_a_member_may_restart_between_any_two_steps(simulate: Simulate) -> None:
    """Another process for each step: the same results, one bundle, one charge."""
    with simulate(seed=4, liars={"bay": Restarting()}) as world:
        world.run()
        assert {world.seats["bay"].labels[each] for each in ROUNDS} == {AGREED}
        hold(world)
