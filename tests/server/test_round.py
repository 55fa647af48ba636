"""The round's state machine, walked over every state and every input."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.errors import ConsensusError
from semfed_secure.server.round import FINAL, TABLE, RoundInput, RoundState, after, due, ending, following
from semfed_secure.units import OutputKind

_INSTANT = st.integers(0, 10)
KINDS = (OutputKind.VOTES, OutputKind.TEXT)


@given(st.sampled_from(RoundState), st.sampled_from(RoundInput), st.sampled_from(OutputKind))
def test_every_input_in_every_state_moves_along_the_table_or_refuses_with_a_code(
    state: RoundState, happening: RoundInput, kind: OutputKind
) -> None:
    """A legal transition or a coded refusal, never anything else."""
    rows = [row for row in TABLE if row[:2] == (state, happening) and row.only in {None, kind}]
    if rows:
        assert [row.following for row in rows] == [after(state, happening, kind)]
    else:
        assert following(state, happening, kind) is None
        with pytest.raises(ConsensusError) as refusal:
            after(state, happening, kind)
        assert refusal.value.code == ("SF403" if state is RoundState.ABORTED else "SF404")


def test_no_row_of_the_table_is_dead_and_none_stands_twice() -> None:
    """Every state is reached from the first, in some kind of round, and no state leaves two ways for one input."""
    reached = {RoundState.ANNOUNCED}
    for _ in RoundState:
        reached |= {row.following for row in TABLE if row.before in reached}
    assert reached == set(RoundState)
    for first, second in itertools.combinations(TABLE, 2):
        same_place = first[:2] == second[:2]
        assert not same_place or (first.only is not None and second.only is not None and first.only != second.only)


@given(st.lists(st.sampled_from(RoundInput), max_size=12), st.sampled_from(KINDS))
def test_no_sequence_of_inputs_publishes_without_closing_and_forming(
    inputs: list[RoundInput], kind: OutputKind
) -> None:
    """A published round was opened, closed, formed and published in this order, and then never moves."""
    state, taken = RoundState.ANNOUNCED, []
    for happening in inputs:
        before = state
        try:
            state = after(state, happening, kind)
        except ConsensusError:
            continue
        taken.append(happening)
        assert before not in FINAL
    if state is RoundState.PUBLISHED:
        last = [taken.index(RoundInput.OPEN), *(len(taken) - 1 - taken[::-1].index(each) for each in _LAST)]
        assert last == sorted(last)


_LAST = (RoundInput.CLOSE, RoundInput.FORM, RoundInput.PUBLISH)


@given(st.lists(st.sampled_from(RoundInput), max_size=30))
def test_no_text_is_taken_before_the_commitments_are_closed_and_no_commitment_after(inputs: list[RoundInput]) -> None:
    """Whatever happens in whatever order: every payload comes after the last commitment."""
    state, taken = RoundState.ANNOUNCED, []
    for happening in inputs:
        if following(state, happening, OutputKind.TEXT) is not None:
            state = after(state, happening, OutputKind.TEXT)
            taken.append(happening)
    if RoundInput.CONTRIBUTE in taken:
        first = taken.index(RoundInput.CONTRIBUTE)
        assert RoundInput.UNSEAL in taken[:first]
        assert RoundInput.COMMIT not in taken[first:]


@given(
    st.sampled_from(RoundState),
    st.sampled_from(KINDS),
    _INSTANT,
    _INSTANT,
    _INSTANT,
    st.none() | _INSTANT,
    st.booleans(),
)
def test_what_is_due_is_always_legal(
    state: RoundState, kind: OutputKind, now: int, opens: int, closes: int, ends: int | None, complete: bool
) -> None:
    """The clock never asks for a transition that the table does not have."""
    if kind is OutputKind.VOTES and state is RoundState.OPENING:
        return  # no round of votes is ever there
    happening = due(
        state, kind, now_ms=now, opens_at_ms=opens, closes_at_ms=closes, opening_ends_at_ms=ends, complete=complete
    )
    if happening is not None:
        after(state, happening, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_without_hindrance_runs_from_announced_to_published(kind: OutputKind) -> None:
    """Every state but the final ones has a way on, so no round gets stuck."""
    state, walked = RoundState.ANNOUNCED, []
    while (happening := at(state, kind, now=9)) is not None:
        state = after(state, happening, kind)
        walked.append(state)
    opening = [RoundState.OPENING] if kind is OutputKind.TEXT else []
    assert walked == [
        RoundState.COLLECTING,
        *opening,
        RoundState.CLOSED,
        RoundState.CONSENSUS,
        RoundState.PUBLISHED,
    ]


def at(state: RoundState, kind: OutputKind, *, now: int, complete: bool = False) -> RoundInput | None:
    """What is due in a round that opens at 1, closes at 5 and, of texts, ends its opening at 8."""
    ends = 8 if kind is OutputKind.TEXT else None
    return due(state, kind, now_ms=now, opens_at_ms=1, closes_at_ms=5, opening_ends_at_ms=ends, complete=complete)


@pytest.mark.parametrize("kind", KINDS)
def test_a_round_closes_at_its_closing_time_and_not_before(kind: OutputKind) -> None:
    """One millisecond below and at the limit; of texts it is the commitments that close."""
    assert at(RoundState.COLLECTING, kind, now=4) is None
    assert at(RoundState.COLLECTING, kind, now=5) is ending(RoundState.COLLECTING, kind)
    assert ending(RoundState.COLLECTING, kind) is (RoundInput.UNSEAL if kind is OutputKind.TEXT else RoundInput.CLOSE)


def test_an_opening_has_a_deadline_of_its_own() -> None:
    """One millisecond below and at the limit."""
    assert at(RoundState.OPENING, OutputKind.TEXT, now=7) is None
    assert at(RoundState.OPENING, OutputKind.TEXT, now=8) is RoundInput.CLOSE


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_round_closes_early(kind: OutputKind) -> None:
    """When nobody else is expected, nobody waits."""
    assert at(RoundState.COLLECTING, kind, now=2, complete=True) is ending(RoundState.COLLECTING, kind)
    assert at(RoundState.OPENING, OutputKind.TEXT, now=2, complete=True) is RoundInput.CLOSE
