"""Where a client is in a round: every state against every step, and durability of what was reached."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.client.progress import TRANSITIONS, RoundState, Step, advance, after, result_of, state_of
from semfed_secure.errors import ConsensusError, IntegrityError
from semfed_secure.ids import RoundId
from semfed_secure.storage import Database
from semfed_secure.storage.progress_rows import ProgressRow, write_progress

if TYPE_CHECKING:
    from pathlib import Path

ROUND = RoundId("round-1")


@pytest.mark.parametrize(("state", "step"), list(itertools.product(RoundState, Step)))
def test_every_state_meets_every_step(state: RoundState, step: Step) -> None:
    """A legal transition or a coded `ConsensusError`, never an exception of another kind."""
    if (state, step) in TRANSITIONS:
        assert after(state, step) is TRANSITIONS[state, step]
        return
    with pytest.raises(ConsensusError) as caught:
        after(state, step)
    assert caught.value.code == ("SF403" if state is RoundState.ABORTED else "SF404")


@given(st.lists(st.sampled_from(Step)))
def test_no_walk_releases_or_learns_twice(walk: list[Step]) -> None:
    """Whatever steps are tried in whatever order, a round has at most one release, one training, one learning."""
    state, taken = RoundState.NEW, []
    for step in walk:
        try:
            state = after(state, step)
        except ConsensusError:
            continue
        taken.append(step)
    assert len(taken) == len(set(taken))
    if Step.RELEASE in taken and Step.TRAIN in taken:
        assert taken.index(Step.TRAIN) < taken.index(Step.RELEASE)
    if Step.LEARN in taken:
        assert taken.index(Step.COLLECT) < taken.index(Step.LEARN)


def test_every_state_can_be_reached() -> None:
    """No row of the table is dead."""
    reached = {RoundState.NEW}
    for _ in RoundState:
        reached |= {following for (state, _), following in TRANSITIONS.items() if state in reached}
    assert reached == set(RoundState)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new client database."""
    return tmp_path / "site.db"


def test_what_was_reached_survives_the_process(path: Path) -> None:
    """State and result are read back through another connection."""
    database = Database.open(path, kind="client")
    with database.transaction() as tx:
        assert state_of(tx, ROUND) is RoundState.NEW
        advance(tx, ROUND, Step.JOIN, {"manifest": "x"}, at_ms=1)
    database.close()
    again = Database.open(path, kind="client")
    with again.snapshot() as tx:
        assert state_of(tx, ROUND) is RoundState.JOINED
        assert result_of(tx, ROUND, Step.JOIN) == {"manifest": "x"}
        assert result_of(tx, ROUND, Step.TRAIN) is None
    again.close()


def test_a_step_that_does_not_follow_writes_nothing(path: Path) -> None:
    """The refusal leaves the row as it was."""
    database = Database.open(path, kind="client")
    with database.transaction() as tx:
        advance(tx, ROUND, Step.JOIN, {}, at_ms=1)
    with pytest.raises(ConsensusError), database.transaction() as tx:
        advance(tx, ROUND, Step.LEARN, {"kept": True}, at_ms=2)
    with database.snapshot() as tx:
        assert state_of(tx, ROUND) is RoundState.JOINED
        assert result_of(tx, ROUND, Step.LEARN) is None
    database.close()


@pytest.mark.parametrize("data", ["", "[1]", "{"])
def test_a_damaged_row_is_an_integrity_error(path: Path, data: str) -> None:
    """SF531, not a traceback."""
    database = Database.open(path, kind="client")
    with database.transaction() as tx:
        write_progress(tx, ProgressRow(ROUND, Step.JOIN, "done", data, 1))
    with database.snapshot() as tx, pytest.raises(IntegrityError) as caught:
        result_of(tx, ROUND, Step.JOIN)
    assert caught.value.code == "SF531"
    database.close()
