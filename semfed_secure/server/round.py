"""The server's side of a round: one transition table, no I/O.

The states are those of PROTOCOL section 6. Whatever the input, a state either moves along the table or
refuses with a coded error; it never does anything else.
"""

from __future__ import annotations

from enum import StrEnum

from semfed_secure.errors import ConsensusError, IntegrityError


class RoundState(StrEnum):
    """How far a round is."""

    ANNOUNCED = "announced"
    COLLECTING = "collecting"
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
    CONTRIBUTE = "contribute"
    CLOSE = "close"
    FORM = "form"
    REVOKE = "revoke"
    PUBLISH = "publish"
    ABORT = "abort"


_S, _I = RoundState, RoundInput

# The whole state machine. A revocation after the consensus was formed, and before it is published, forms it anew
# without the revoked member; what is published stays published, and aborted rounds stay aborted.
TRANSITIONS: dict[tuple[RoundState, RoundInput], RoundState] = {
    (_S.ANNOUNCED, _I.OPEN): _S.COLLECTING,
    (_S.ANNOUNCED, _I.ABORT): _S.ABORTED,
    (_S.COLLECTING, _I.CONTRIBUTE): _S.COLLECTING,
    (_S.COLLECTING, _I.CLOSE): _S.CLOSED,
    (_S.COLLECTING, _I.ABORT): _S.ABORTED,
    (_S.CLOSED, _I.FORM): _S.CONSENSUS,
    (_S.CLOSED, _I.ABORT): _S.ABORTED,
    (_S.CONSENSUS, _I.REVOKE): _S.CLOSED,
    (_S.CONSENSUS, _I.PUBLISH): _S.PUBLISHED,
    (_S.CONSENSUS, _I.ABORT): _S.ABORTED,
}
FINAL = frozenset({RoundState.PUBLISHED, RoundState.ABORTED})


def after(state: RoundState, happening: RoundInput) -> RoundState:
    """The state that ``happening`` leads to.

    Raises:
        ConsensusError: ``SF403`` in an aborted round, ``SF404`` if the table has no such transition.
    """
    following = TRANSITIONS.get((state, happening))
    if following is not None:
        return following
    if state is RoundState.ABORTED:
        raise ConsensusError("SF403", "the round was aborted", state=str(state), input=str(happening))
    raise ConsensusError(
        "SF404", f"`{happening}` does not follow from `{state}`", state=str(state), input=str(happening)
    )


def due(state: RoundState, *, now_ms: int, opens_at_ms: int, closes_at_ms: int, complete: bool) -> RoundInput | None:
    """What time and the server itself bring about next, or nothing.

    Args:
        state: Where the round is.
        now_ms: The present.
        opens_at_ms: When contributions begin.
        closes_at_ms: When they end.
        complete: Whether no further contribution is expected.
    """
    if state is RoundState.ANNOUNCED and now_ms >= opens_at_ms:
        return RoundInput.OPEN
    if state is RoundState.COLLECTING and (complete or now_ms >= closes_at_ms):
        return RoundInput.CLOSE
    return {RoundState.CLOSED: RoundInput.FORM, RoundState.CONSENSUS: RoundInput.PUBLISH}.get(state)
