"""A site in any state, a server that says anything: a result or a coded error, never an exception of another kind."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.client.progress import RoundState
from semfed_secure.client.release import unseal
from semfed_secure.errors import ConsensusError, IntegrityError, PeerError
from semfed_secure.ids import RoundId
from semfed_secure.storage.progress_rows import ProgressRow, write_progress
from semfed_secure.testing import TransportWrapper
from semfed_secure.units import OutputKind
from tests.client.world import OPEN_PROMPTS, PROMPTS, UNSAFE, World

if TYPE_CHECKING:
    from semfed_secure.client.transport import Transport

TOLD = ("truth", "garbage", "nothing", "SF401", "SF402", "SF403", "SF341", "SF342")


class Saying(TransportWrapper):
    """A server that answers every question about a round in one way."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.told = "truth"

    def _say(self, truth: bytes) -> bytes:
        if self.told in {"SF341", "SF342"}:
            raise PeerError(self.told, "the server says so")
        if self.told.startswith("SF4"):
            raise ConsensusError(self.told, "the server says so")
        return {"truth": truth, "garbage": b"\xf6garbage" * 9, "nothing": b""}[self.told]

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        return self._say(super().post(round_id, body) if self.told == "truth" else b"")

    def commitments(self, round_id: RoundId) -> bytes:
        return self._say(super().commitments(round_id) if self.told == "truth" else b"")

    def consensus(self, round_id: RoundId) -> bytes:
        return self._say(super().consensus(round_id) if self.told == "truth" else b"")


@pytest.mark.parametrize("kind", [OutputKind.VOTES, OutputKind.TEXT])
def test_every_answer_in_every_state_ends_in_a_result_or_a_code(world: World, kind: OutputKind) -> None:
    """`PeerError` for what the server said, `ConsensusError` for what does not follow, `IntegrityError` for rows."""
    name = RoundId("round-1")
    world.open_round(name, PROMPTS if kind is OutputKind.VOTES else OPEN_PROMPTS, kind=kind)
    transport = Saying(world.federation.transport())
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        joined = client.join(name)
        acts = {
            "contribute": joined.contribute,
            "unseal": lambda: unseal(joined._verified, client.site, transport),
            "wait": joined.wait_for_consensus,
        }

        @settings(max_examples=120, deadline=None)
        @given(st.sampled_from(RoundState), st.sampled_from(sorted(acts)), st.sampled_from(TOLD))
        def walk(state: RoundState, act: str, told: str) -> None:
            with client.site.database.transaction() as tx:
                write_progress(tx, ProgressRow(name, "round", state, "{}", 1))
            transport.told = told
            with suppress(PeerError, ConsensusError, IntegrityError):
                acts[act]()

        walk()
