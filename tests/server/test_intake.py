"""Intake: replays, equivocation, and refusals that are only counted."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import PeerError
from semfed_secure.ids import RoundId, sha256
from semfed_secure.server.config import LimitsSection
from tests.server.world import (
    World,
    post,
    votes,
)

if TYPE_CHECKING:
    from pathlib import Path

from tests.server.rounds import ROUND, consensus_of, contribute, receipt_of


def test_a_replay_gets_its_stored_receipt_and_no_second_entry(world: World) -> None:
    """The same bytes again, before and after a restart, during and after the round: the same receipt."""
    body = post("bay", world.open())
    first = world.server.receive(ROUND, body)
    entries = world.audit.size()
    assert world.server.receive(ROUND, body) == first
    world.restart()
    assert world.server.receive(ROUND, body) == first
    world.clock.advance(3600)
    assert world.server.receive(ROUND, body) == first
    assert world.audit.size() == entries


def test_a_rejected_statement_gets_its_stored_receipt_too(world: World) -> None:
    """A refusal is as durable as an admission."""
    body = post("bay", world.open(), votes(9, 9, 9, 9, 9, 9))
    first = world.server.receive(ROUND, body)
    assert receipt_of(first.receipt).code == "SF314"
    world.restart()
    assert world.server.receive(ROUND, body) == first


def damaged(body: bytes) -> bytes:
    """The same statement with a sealed blob that nobody signed."""
    return body[:-1] + bytes([body[-1] ^ 1])


@pytest.mark.parametrize("restart", [False, True])
def test_step_11_what_was_damaged_on_the_way_is_taken_once_it_comes_whole(world: World, *, restart: bool) -> None:
    """SF311 in a stored receipt, one entry for however many damaged copies; the true bytes are then admitted."""
    body = post("bay", world.open())
    first = world.server.receive(ROUND, damaged(body))
    assert receipt_of(first.receipt).code == "SF311"
    entries = world.audit.size()
    assert world.server.receive(ROUND, damaged(body)) == first
    assert world.audit.size() == entries
    if restart:
        world.restart()
    answer = world.server.receive(ROUND, body)
    assert answer.admitted
    assert world.server.receive(ROUND, damaged(body)) == world.server.receive(ROUND, body) == answer
    assert world.audit.size() == entries + 1
    contribute(world, names=("hill", "lake"))
    world.server.close_round(ROUND)
    world.server.advance()
    assert (consensus_of(world).admitted_count, consensus_of(world).rejections) == (3, ())


def test_step_11_a_damaged_copy_does_not_open_a_second_slot(world: World) -> None:
    """Damaged, then another contribution of the same member, then the true bytes: SF309's rule holds."""
    manifest = world.open()
    body = post("bay", manifest)
    first = world.server.receive(ROUND, damaged(body))
    assert world.server.receive(ROUND, post("bay", manifest, votes(3, 3, 3, 3, 3, 3))).admitted
    late = world.server.receive(ROUND, body)
    assert not late.admitted
    assert receipt_of(late.receipt).code == "SF309"
    assert receipt_of(first.receipt).code == "SF311"


def test_step_11_a_damaged_copy_keeps_its_receipt_when_the_round_is_over(world: World) -> None:
    """What never came whole in time stays refused, with the receipt that was given."""
    body = post("bay", world.open())
    first = world.server.receive(ROUND, damaged(body))
    contribute(world, names=("hill", "lake", "moor"))
    world.server.close_round(ROUND)
    assert world.server.receive(ROUND, body) == first


@pytest.mark.parametrize("restart", [False, True])
def test_equivocation_is_refused_and_logged_also_after_a_restart(world: World, *, restart: bool) -> None:
    """A second, different contribution of an admitted member is refused; the first still counts."""
    manifest = world.open()
    contribute(world)
    if restart:
        world.restart()
    answer = world.server.receive(ROUND, post("bay", manifest, votes(3, 3, 3, 3, 3, 3)))
    assert not answer.admitted
    assert receipt_of(answer.receipt).code == "SF309"
    assert world.events()[-1] == "bundle.rejected"
    world.server.advance()
    assert [result.support_ppm for result in consensus_of(world).results[0]] == [1_000_000] * 6
    assert consensus_of(world).rejections == (("SF309", 1),)


def test_two_contributions_of_one_member_at_once_admit_exactly_one(world: World) -> None:
    """Between the check and the write there is no gap for a second thread."""
    manifest = world.open()
    bodies = [post("bay", manifest, votes(n % 4, 0, 0, 0, 0, 0)) for n in range(4)]
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda body=body: found.append(world.server.receive(ROUND, body).admitted))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]
    assert world.events().count("bundle.admitted") == 1


def test_a_failed_contribution_does_not_burn_the_slot(world: World) -> None:
    """After a refusal at step 11 or later, the corrected contribution is admitted."""
    manifest = world.open()
    for defect in ({"plaintext": b"\xf6"}, {"digests": (sha256(b"other"),)}, {"payload": votes(1)}):
        assert not world.server.receive(ROUND, post("bay", manifest, **defect)).admitted
    assert world.server.receive(ROUND, post("bay", manifest)).admitted


def test_a_member_cannot_flood_the_log_with_refusals(tmp_path: Path) -> None:
    """After so many refused contributions of one member in one round, further ones are only counted."""
    world = World(tmp_path, limits=LimitsSection(max_rejections=2))
    manifest = world.open()
    for number in (1, 2):
        assert not world.server.receive(ROUND, post("bay", manifest, votes(9), created_at_ms=number)).admitted
    entries = world.audit.size()
    with pytest.raises(PeerError, match="SF309"):
        world.server.receive(ROUND, post("bay", manifest, votes(9), created_at_ms=3))
    assert world.audit.size() == entries
    assert world.server.receive(ROUND, post("hill", manifest)).admitted


def test_refusals_before_the_signatures_are_counted_and_logged_once(world: World) -> None:
    """A hundred bad bodies leave one entry, with their sum by code."""
    manifest = world.open()
    for _ in range(100):
        with pytest.raises(PeerError):
            world.server.receive(ROUND, b"garbage")
    with pytest.raises(PeerError):
        world.server.receive(ROUND, post("stranger", manifest))
    entries = world.audit.size()
    assert world.events() == ["round.opened"]
    world.clock.advance(61)
    world.server.advance()
    (entry,) = world.audit.entries(entries, entries + 9)
    assert entry.event.type == "peer.refused"
    assert entry.event.details["by_code"] == {"SF302": 100, "SF306": 1}
    assert world.server.refusals.total() == {"SF302": 100, "SF306": 1}


def test_refusals_for_unknown_rounds_take_no_memory_per_name(world: World) -> None:
    """Whatever names strangers invent, they share one counter."""
    for number in range(50):
        with pytest.raises(PeerError, match="SF302"):
            world.server.receive(RoundId(f"no-round-{number}"), b"garbage")
    world.server.write_refusals()
    assert world.events() == ["peer.refused"]
