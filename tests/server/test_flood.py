"""Ten thousand bad posts: the log grows by a bounded summary, whatever is sent."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from semfed_secure.errors import PeerError
from semfed_secure.ids import RoundId, sha256
from semfed_secure.server.round import RoundState
from semfed_secure.units import OutputKind
from tests.server.rounds import ROUND
from tests.server.world import World, answers, bare, post, votes

if TYPE_CHECKING:
    from semfed_secure.server.intake import Answer
    from semfed_secure.wire.messages import RoundManifest

POSTS = 10_000
KINDS = (OutputKind.VOTES, OutputKind.TEXT)


def test_ten_thousand_bad_posts_leave_one_entry_for_each_round(world: World) -> None:
    """Garbage, other rounds, strangers, broken signatures, rounds that nobody opened: counted, not listed.

    The honest contribution that comes in between is admitted as if nothing had happened.
    """
    manifest = world.open()
    stranger, elsewhere = post("stranger", manifest), post("bay", manifest, round_id=RoundId("round-9"))
    unsigned = post("bay", manifest, signer="hill")
    before = world.audit.size()
    for number in range(POSTS):
        body = (b"garbage", stranger, elsewhere, sha256(number.to_bytes(4, "big")))[number % 4]
        place = RoundId(f"invented-{number}") if number % 5 == 0 else ROUND
        with pytest.raises(PeerError):
            world.server.receive(place, unsigned if number % 500 == 1 else body)
    assert world.audit.size() == before
    assert world.server.receive(ROUND, post("bay", manifest)).admitted
    assert world.server.refusals.total().keys() == {"SF302", "SF304", "SF306", "SF307"}
    assert sum(world.server.refusals.total().values()) == POSTS
    world.clock.advance(61)
    world.server.advance()
    summaries = [event for kind, event in world.entries() if kind == "peer.refused"]
    assert [event.round_id for event in summaries] == [None, ROUND] or [e.round_id for e in summaries] == [ROUND, None]
    assert sum(event.details["count"] for event in summaries) == POSTS
    assert world.audit.size() == before + 1 + 2


class Scene:
    """One round of a kind whose state the test puts where it wants it, and every form of message to it."""

    def __init__(self, world: World, kind: OutputKind) -> None:
        self.world, self.manifest = world, world.open(kind=kind)
        self.payload = votes() if kind is OutputKind.VOTES else answers("heart", *[None] * 5)
        self.number = 0
        known = self.post("hill")
        if kind is OutputKind.TEXT:
            world.server.receive(ROUND, bare(known))
        else:
            world.server.receive(ROUND, known)
        self.known = known

    def post(self, name: str) -> bytes:
        """A contribution that the server has not seen."""
        self.number += 1
        manifest: RoundManifest = self.manifest
        return post(name, manifest, self.payload, created_at_ms=self.number)

    def form(self, form: str) -> bytes:
        """One body."""
        made = {
            "whole": lambda: self.post("bay"),
            "bare": lambda: bare(self.post("bay")),
            "known": lambda: self.known,
            "known-bare": lambda: bare(self.known),
            "second": lambda: self.post("hill"),
            "second-bare": lambda: bare(self.post("hill")),
            "stranger": lambda: self.post("stranger"),
            "garbage": lambda: b"garbage",
            "empty": lambda: b"",
        }
        return made[form]()

    def put(self, state: RoundState) -> None:
        """Set the state, whatever it was."""
        with self.world.database.transaction() as tx:
            tx.connection.execute(text("UPDATE round SET state = :state"), {"state": str(state)})


FORMS = ("whole", "bare", "known", "known-bare", "second", "second-bare", "stranger", "garbage", "empty")


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_in_every_state_is_answered_or_refused_by_a_peer_error(world: World, kind: OutputKind) -> None:
    """Never an exception of another kind; and nothing new is taken where the table takes nothing."""
    scene = Scene(world, kind)
    taking = {RoundState.ANNOUNCED, RoundState.COLLECTING, RoundState.OPENING}

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(RoundState), st.sampled_from(FORMS))
    def walk(state: RoundState, form: str) -> None:
        scene.put(state)
        with suppress(PeerError):
            answer: Answer = world.server.receive(ROUND, scene.form(form))
            assert answer.receipt
            assert state in taking or form in {"known", "known-bare"}

    walk()
