"""What becomes of each lie of a server: the member that meets it says what was wrong, everybody else goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import IntegrityError
from tests.simulator.holding import hold, pinned_checkpoint
from tests.simulator.lines import ANSWERS, BAD_NETWORKS, LYING_SERVERS, GarblingAnswers
from tests.simulator.servers import (
    BorrowedWitnesses,
    ForkedLog,
    ForkedManifest,
    ForkedRoster,
    Mischief,
    OldRoster,
    RewoundLog,
    StrangersLog,
    SubstitutedKey,
    TwoManifests,
    UnprovenLog,
    UnwitnessedLog,
)
from tests.simulator.world import ROUNDS, TRUTH, World

if TYPE_CHECKING:
    from tests.simulator.dumping import Simulate

AGREED = tuple(TRUTH.values())
VICTIM = "bay"
THREE = ("bay", "hill", "lake")


def refusals(world: World) -> set[str]:
    """The codes with which the victim's steps ended, without those that succeeded."""
    return {ended for ended in world.seats[VICTIM].ended.values() if ended != "done"}


@pytest.mark.parametrize("mischief", LYING_SERVERS)
def test_a_lying_server_is_refused_by_a_code_that_names_the_lie(simulate: Simulate, mischief: type[Mischief]) -> None:
    """The victim refuses with that code and no other, logs it, and pays nothing twice; all others get their labels."""
    held = ROUNDS[: mischief.rounds]
    needs = {"names": THREE, "rounds": held, "witnesses": mischief.witnesses}
    with simulate(seed=11, mischief={VICTIM: [mischief]}, **needs) as world:
        world.run()
        found = refusals(world)
        assert found
        assert found <= mischief.codes
        for name in world.honest:
            if name != VICTIM:
                assert {world.seats[name].labels[each] for each in held} == {AGREED}
        hold(world)


@pytest.mark.parametrize("mischief", BAD_NETWORKS)
@pytest.mark.parametrize("seed", range(2))
def test_a_bad_network_costs_only_time(simulate: Simulate, mischief: type[Mischief], seed: int) -> None:
    """Lost, late, repeated and reordered: everybody ends with the labels, one bundle and one charge a round."""
    with simulate(seed=seed, names=THREE, mischief={"bay": [mischief], "hill": [mischief]}) as world:
        world.run()
        for seat in world.seats.values():
            assert {seat.labels[each] for each in ROUNDS} == {AGREED}
        hold(world)


def test_key_roster_log_and_manifest_are_told_apart() -> None:
    """What a server can lie about, and a code for each; the test above shows that each is the one that is given."""
    named = {
        "SF321": {SubstitutedKey},
        "SF322": {OldRoster, ForkedRoster},
        "SF323": {UnprovenLog, RewoundLog, ForkedLog, StrangersLog},
        "SF324": {TwoManifests},
        "SF330": {UnwitnessedLog, BorrowedWitnesses},
    }
    for code, lies in named.items():
        assert {lie.codes for lie in lies} == {frozenset({code})}
        assert lies <= set(LYING_SERVERS)


@pytest.mark.parametrize("mischief", [ForkedLog, RewoundLog])
def test_a_second_history_is_found_by_whoever_compares(simulate: Simulate, mischief: type[Mischief]) -> None:
    """The checkpoint that the victim keeps proves the fork to an auditor of the server's log: SF504 or SF505."""
    with simulate(seed=13, names=THREE, mischief={VICTIM: [mischief]}) as world:
        world.run()
        note = pinned_checkpoint(world, VICTIM)
        assert note is not None
        place = (world.directory / "fork-0" if mischief is RewoundLog else world.federation.directory) / "server"
        with pytest.raises(IntegrityError) as caught:
            verify_log(place / "server.db", key=world.federation.context.keys.record.log_key, known=[note])
        assert caught.value.code in {"SF504", "SF505"}


def test_a_forked_manifest_wastes_nothing_but_the_members_time(simulate: Simulate) -> None:
    """The honest server refuses what answers other terms, and the member refuses a consensus on other terms."""
    with simulate(seed=14, names=THREE, rounds=ROUNDS[:1], mischief={VICTIM: [ForkedManifest]}) as world:
        world.run()
        seat = world.seats[VICTIM]
        assert {seat.ended[each, "contribute"] for each in world.rounds} == {"SF305"}
        assert {seat.ended[each, "collect"] for each in world.rounds} == {"SF325"}


@pytest.mark.parametrize("kind", ANSWERS)
def test_one_flipped_bit_of_any_answer_is_refused(simulate: Simulate, kind: str) -> None:
    """Whichever answer and whichever bit: the victim refuses it, and everybody else goes on."""

    class Garbling(GarblingAnswers):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self._kind = kind

    with simulate(seed=15, names=THREE, rounds=ROUNDS[:1], mischief={VICTIM: [Garbling]}) as world:
        world.run()
        assert refusals(world)
        assert refusals(world) <= Garbling.codes
        hold(world)
