"""Turns: time, membership, and trouble that stays in its own round."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.errors import ConsensusError, IntegrityError, PeerError
from semfed_secure.ids import sha256
from semfed_secure.server.round import RoundInput, RoundState
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import (
    Embedder,
)
from tests.server.world import (
    NOW,
    SITES,
    WordEmbedder,
    World,
    answers,
    post,
    roster_file,
)

if TYPE_CHECKING:
    from pathlib import Path

from tests.server.rounds import ROUND, consensus_of, contribute, contribute_texts


def test_one_bad_bundle_never_stops_a_round(world: World) -> None:
    """A broken one, a late one and a silent one: the rest reach their consensus."""
    manifest = world.open()
    contribute(world, SITES[:3])
    assert not world.server.receive(ROUND, post("moor", manifest, plaintext=b"\0")).admitted
    world.clock.advance(601)
    with pytest.raises(PeerError, match="SF304"):
        world.server.receive(ROUND, post("north", manifest))
    world.server.advance()
    consensus = consensus_of(world)
    assert (consensus.admitted_count, consensus.rejections) == (3, (("SF314", 1),))


def test_too_few_contributions_abort_the_round(world: World) -> None:
    """A consensus of two is none where the rule asks for three; the reason is public, in the log and in the status."""
    world.open()
    contribute(world, SITES[:2])
    world.clock.advance(601)
    world.server.advance()
    with pytest.raises(ConsensusError, match="SF402"):
        world.server.consensus(ROUND)
    assert world.events()[-2:] == ["round.closed", "round.aborted"]
    assert world.server.status(ROUND)["reason"] == "SF402 3 admitted contributions were expected, found 2"


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), IntegrityError("SF521", "wrong weights")])
def test_a_round_that_cannot_be_formed_is_aborted_and_stops_no_other(tmp_path: Path, fault: Exception) -> None:
    """An embedder that always fails costs its own round, after a few tries."""

    class Broken(WordEmbedder):
        def embed(self, texts: Any) -> Any:
            raise fault

    world = World(tmp_path, embedder=Broken)
    manifest = world.open("text-round", kind=OutputKind.TEXT)
    contribute_texts(world, manifest, dict.fromkeys(SITES, answers(*["heart"] * 6)))
    world.open()
    contribute(world)
    for _ in range(3):
        world.server.advance()
        world.clock.advance(60)
    assert world.state("text-round") == "aborted"
    assert consensus_of(world).admitted_count == 5


def test_an_embedder_that_is_not_the_pinned_one_forms_nothing(world: World) -> None:
    """The manifest names the weights; other weights are not used."""
    other = Embedder("words", sha256(b"other weights"), 64)
    manifest = world.open(kind=OutputKind.TEXT, embedder=other)
    contribute_texts(world, manifest, dict.fromkeys(SITES, answers(*["heart"] * 6)))
    for _ in range(3):
        world.server.advance()
        world.clock.advance(60)
    assert "SF521" in str(world.server.status(ROUND)["reason"])


def test_a_round_closes_at_its_time_or_when_everybody_has_answered(world: World) -> None:
    """Four of five wait for the clock; the fifth ends the waiting."""
    world.open()
    contribute(world, SITES[:4])
    world.server.advance()
    assert world.state() == "collecting"
    contribute(world, SITES[4:])
    world.server.advance()
    assert world.state() == "published"


def test_waiting_for_the_clock_can_be_asked_for(tmp_path: Path) -> None:
    """With ``close_when_complete`` off, a complete round waits."""
    world = World(tmp_path, close_when_complete=False)
    world.open()
    contribute(world)
    world.server.advance()
    assert world.state() == "collecting"
    world.clock.advance(600)
    world.server.advance()
    assert world.state() == "published"


def test_an_announced_round_takes_contributions_from_its_opening_time_on(world: World) -> None:
    """Not a second before, and without waiting for the next turn."""
    manifest = world.open(opens_at=NOW + timedelta(seconds=5), closes_at=NOW + timedelta(seconds=60))
    assert world.state() == "announced"
    with pytest.raises(PeerError, match="SF304"):
        world.server.receive(ROUND, post("bay", manifest))
    world.clock.advance(5)
    assert world.server.receive(ROUND, post("bay", manifest)).admitted


def test_nobody_waits_for_a_revoked_member_and_nothing_of_it_counts(world: World) -> None:
    """A member revoked after it was admitted is left out of the consensus."""
    world.open()
    contribute(world, SITES[:4])
    world.publish_roster(roster_file(sequence=2, revoked=["bay", "north"]))
    world.server.advance()
    consensus = consensus_of(world)
    assert consensus.admitted_count == 3
    assert [client["member"] for client in world.server.status(ROUND)["report"]["groups"][0]["clients"]] == [
        "hill",
        "lake",
        "moor",
    ]


def test_a_revocation_after_forming_forms_the_consensus_anew(world: World) -> None:
    """Whoever is revoked before the publication is not in what is published."""
    world.open()
    contribute(world)
    transitions = world.server._transitions
    for happening in (RoundInput.CLOSE, RoundInput.FORM):
        transitions.take(ROUND, RoundState(world.state()), happening)
    assert world.state() == "consensus"
    world.publish_roster(roster_file(sequence=2, revoked=["moor"]))
    moves = [state for _, state in world.server.advance()]
    assert moves == ["closed", "consensus", "published"]
    assert consensus_of(world).admitted_count == 4


def test_a_roster_that_is_older_or_forged_changes_nothing(world: World) -> None:
    """The last good roster stands, over restarts too, and the keeper says why."""
    keeper = world.context.rosters
    world.publish_roster(roster_file(sequence=5))
    assert keeper.current().sequence == 5
    world.publish_roster(roster_file(sequence=4))
    assert (keeper.current().sequence, keeper.problem) == (5, "SF322")
    forged = bytearray(roster_file(sequence=6))
    forged[len(forged) // 2] ^= 1
    world.publish_roster(bytes(forged))
    assert (keeper.current().sequence, keeper.problem) == (5, "SF322")
    world.publish_roster(roster_file(sequence=4))
    with pytest.raises(PeerError, match="SF322"):
        world.restart()


def test_rounds_wait_for_a_roster_in_force(world: World) -> None:
    """A roster that expires costs no round: the next one takes it up where it stood."""
    world.open()
    contribute(world, SITES[:3])
    world.clock.advance(200 * 86_400)
    for _ in range(5):
        with pytest.raises(PeerError, match="SF322"):
            world.server.advance()
        world.clock.advance(60)
    world.publish_roster(roster_file(sequence=2, issued_at=world.clock.now()))
    world.server.advance()
    assert consensus_of(world).admitted_count == 3


def test_a_round_in_trouble_is_tried_again_later_not_at_once(tmp_path: Path) -> None:
    """A passing fault costs ten seconds, not the round."""
    calls: list[int] = []

    class Flaky(WordEmbedder):
        def embed(self, texts: Any) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise RuntimeError("a passing fault")
            return super().embed(texts)

    world = World(tmp_path, embedder=Flaky)
    manifest = world.open(kind=OutputKind.TEXT)
    contribute_texts(world, manifest, dict.fromkeys(SITES, answers(*["heart"] * 6)))
    for _ in range(5):
        world.server.advance()
    assert (len(calls), world.state()) == (1, "closed")
    world.clock.advance(10)
    world.server.advance()
    assert (len(calls), world.state()) == (2, "published")


def test_an_expired_roster_opens_no_round(world: World) -> None:
    """Without a roster in force nobody is anybody."""
    world.clock.advance(200 * 86_400)
    with pytest.raises(PeerError, match="SF322"):
        world.open()


def test_a_running_round_keeps_its_pinned_roster_over_a_restart(world: World) -> None:
    """A site that a newer roster leaves out without revoking may finish the round that it began."""
    manifest = world.open()
    world.publish_roster(roster_file(SITES[:4], sequence=2))
    world.restart()
    assert world.server.receive(ROUND, post("north", manifest)).admitted
