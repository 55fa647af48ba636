"""The server's side of a round: one transition table, no I/O.

The states are those of PROTOCOL section 6. Whatever the input, a state either moves along the table or
refuses with a coded error; it never does anything else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from semfed_secure.errors import ConsensusError, IntegrityError
from semfed_secure.units import OutputKind


class RoundState(StrEnum):
    """How far a round is."""

    ANNOUNCED = "announced"
    COLLECTING = "collecting"
    OPENING = "opening"
    CLOSED = "closed"
    CONSENSUS = "consensus"
    PUBLISHED = "published"
    ABORTED = "aborted"

    @classmethod
    def stored(cls, text: str) -> RoundState:
        """The state that a row names; ``SF531`` if it names none."""
        if text not in set(cls):
            raise IntegrityError("SF531", "the stored state of a round is damaged")
        return cls(text)


class RoundInput(StrEnum):
    """What can happen to a round."""

    OPEN = "open"
    COMMIT = "commit"
    UNSEAL = "unseal"
    CONTRIBUTE = "contribute"
    CLOSE = "close"
    FORM = "form"
    REVOKE = "revoke"
    PUBLISH = "publish"
    ABORT = "abort"


class Transition(NamedTuple):
    """One row of the table; ``only`` names the output kind whose rounds have it, None is every kind."""

    before: RoundState
    happening: RoundInput
    following: RoundState
    only: OutputKind | None = None


_S, _I, _VOTES, _TEXT = RoundState, RoundInput, OutputKind.VOTES, OutputKind.TEXT

# The whole state machine. Votes are sent at once; texts are committed to, and sent only when no more commitments are
# taken, so that nobody can copy another's. A revocation after the consensus was formed, and before it is published,
# forms it anew without the revoked member; what is published stays published, and aborted rounds stay aborted.
TABLE = (
    Transition(_S.ANNOUNCED, _I.OPEN, _S.COLLECTING),
    Transition(_S.ANNOUNCED, _I.ABORT, _S.ABORTED),
    Transition(_S.COLLECTING, _I.CONTRIBUTE, _S.COLLECTING, _VOTES),
    Transition(_S.COLLECTING, _I.CLOSE, _S.CLOSED, _VOTES),
    Transition(_S.COLLECTING, _I.COMMIT, _S.COLLECTING, _TEXT),
    Transition(_S.COLLECTING, _I.UNSEAL, _S.OPENING, _TEXT),
    Transition(_S.COLLECTING, _I.ABORT, _S.ABORTED),
    Transition(_S.OPENING, _I.CONTRIBUTE, _S.OPENING, _TEXT),
    Transition(_S.OPENING, _I.CLOSE, _S.CLOSED, _TEXT),
    Transition(_S.OPENING, _I.ABORT, _S.ABORTED),
    Transition(_S.CLOSED, _I.FORM, _S.CONSENSUS),
    Transition(_S.CLOSED, _I.ABORT, _S.ABORTED),
    Transition(_S.CONSENSUS, _I.REVOKE, _S.CLOSED),
    Transition(_S.CONSENSUS, _I.PUBLISH, _S.PUBLISHED),
    Transition(_S.CONSENSUS, _I.ABORT, _S.ABORTED),
)
FINAL = frozenset({RoundState.PUBLISHED, RoundState.ABORTED})


def after(state: RoundState, happening: RoundInput, kind: OutputKind | None = None) -> RoundState:
    """The state that ``happening`` leads to in a round of ``kind``; without it, by the rows of every kind.

    Raises:
        ConsensusError: ``SF403`` in an aborted round, ``SF404`` if the table has no such transition.
    """
    found = following(state, happening, kind)
    if found is not None:
        return found
    if state is RoundState.ABORTED:
        raise ConsensusError("SF403", "the round was aborted", state=str(state), input=str(happening))
    raise ConsensusError(
        "SF404", f"`{happening}` does not follow from `{state}`", state=str(state), input=str(happening)
    )


def following(state: RoundState, happening: RoundInput, kind: OutputKind | None = None) -> RoundState | None:
    """As `after`, and None where the table has nothing."""
    rows = (row for row in TABLE if (row.before, row.happening) == (state, happening))
    return next((row.following for row in rows if row.only in {None, kind}), None)


def collecting_by_now(state: RoundState) -> RoundState:
    """An announced round whose time has come takes contributions before the clock's next turn."""
    return RoundState.COLLECTING if state is RoundState.ANNOUNCED else state


def ending(state: RoundState, kind: OutputKind) -> RoundInput:
    """What ends the taking of messages at ``state``: of texts first the commitments, then the payloads."""
    return RoundInput.CLOSE if following(state, RoundInput.UNSEAL, kind) is None else RoundInput.UNSEAL


def due(
    state: RoundState,
    kind: OutputKind,
    *,
    now_ms: int,
    opens_at_ms: int,
    closes_at_ms: int,
    opening_ends_at_ms: int | None,
    complete: bool,
) -> RoundInput | None:
    """What time and the server itself bring about next, or nothing.

    Args:
        state: Where the round is.
        kind: What it asks for.
        now_ms: The present.
        opens_at_ms: When contributions begin.
        closes_at_ms: When they end; of texts, the commitments.
        opening_ends_at_ms: When the time to open commitments ends, where there are any.
        complete: Whether no further message is expected in this state.
    """
    if state is RoundState.ANNOUNCED and now_ms >= opens_at_ms:
        return RoundInput.OPEN
    end_ms = closes_at_ms if state is RoundState.COLLECTING else opening_ends_at_ms
    if state in {RoundState.COLLECTING, RoundState.OPENING}:
        late = end_ms is None or now_ms >= end_ms
        return ending(state, kind) if complete or late else None
    return {RoundState.CLOSED: RoundInput.FORM, RoundState.CONSENSUS: RoundInput.PUBLISH}.get(state)
