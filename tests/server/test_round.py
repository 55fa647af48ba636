"""The round's state machine, walked over every state and every input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.errors import ConsensusError
from semfed_secure.server.round import FINAL, TRANSITIONS, RoundInput, RoundState, after, due

_INSTANT = st.integers(0, 10)


@given(st.sampled_from(RoundState), st.sampled_from(RoundInput))
def test_every_input_in_every_state_moves_along_the_table_or_refuses_with_a_code(
    state: RoundState, happening: RoundInput
) -> None:
    """A legal transition or a coded refusal, never anything else."""
    if (state, happening) in TRANSITIONS:
        assert after(state, happening) is TRANSITIONS[state, happening]
    else:
        with pytest.raises(ConsensusError) as refusal:
            after(state, happening)
        assert refusal.value.code == ("SF403" if state is RoundState.ABORTED else "SF404")


@given(st.lists(st.sampled_from(RoundInput), max_size=12))
def test_no_sequence_of_inputs_publishes_without_closing_and_forming(inputs: list[RoundInput]) -> None:
    """A published round was opened, closed, formed and published in this order, and then never moves."""
    state, taken = RoundState.ANNOUNCED, []
    for happening in inputs:
        before = state
        try:
            state = after(state, happening)
        except ConsensusError:
            continue
        taken.append(happening)
        assert before not in FINAL
    if state is RoundState.PUBLISHED:
        last = [taken.index(RoundInput.OPEN), *(len(taken) - 1 - taken[::-1].index(each) for each in _LAST)]
        assert last == sorted(last)


_LAST = (RoundInput.CLOSE, RoundInput.FORM, RoundInput.PUBLISH)


@given(st.sampled_from(RoundState), _INSTANT, _INSTANT, _INSTANT, st.booleans())
def test_what_is_due_is_always_legal(state: RoundState, now: int, opens: int, closes: int, complete: bool) -> None:
    """The clock never asks for a transition that the table does not have."""
    happening = due(state, now_ms=now, opens_at_ms=opens, closes_at_ms=closes, complete=complete)
    if happening is not None:
        after(state, happening)


def test_a_round_without_hindrance_runs_from_announced_to_published() -> None:
    """Every state but the final ones has a way on, so no round gets stuck."""
    state, walked = RoundState.ANNOUNCED, []
    while (happening := due(state, now_ms=9, opens_at_ms=1, closes_at_ms=5, complete=False)) is not None:
        state = after(state, happening)
        walked.append(state)
    assert walked == [RoundState.COLLECTING, RoundState.CLOSED, RoundState.CONSENSUS, RoundState.PUBLISHED]


@pytest.mark.parametrize(("now", "expected"), [(4, None), (5, RoundInput.CLOSE)])
def test_a_round_closes_at_its_closing_time_and_not_before(now: int, expected: RoundInput | None) -> None:
    """One millisecond below and at the limit."""
    assert due(RoundState.COLLECTING, now_ms=now, opens_at_ms=1, closes_at_ms=5, complete=False) is expected


def test_a_complete_round_closes_early() -> None:
    """When nobody else is expected, nobody waits."""
    assert due(RoundState.COLLECTING, now_ms=2, opens_at_ms=1, closes_at_ms=5, complete=True) is RoundInput.CLOSE
