"""Where a client is in a round: one transition table, and the durable row that remembers it."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import ConsensusError, IntegrityError
from semfed_secure.ids import RoundId, parse_digest
from semfed_secure.storage.progress_rows import ProgressRow, list_progress, read_progress, write_progress

if TYPE_CHECKING:
    from semfed_secure.ids import Digest
    from semfed_secure.storage import Transaction


class RoundState(StrEnum):
    """How far this client is in a round."""

    NEW = "new"
    JOINED = "joined"
    TRAINED = "trained"
    RELEASED = "released"
    OPENED = "opened"
    COLLECTED = "collected"
    LEARNED = "learned"
    ABORTED = "aborted"


FINISHED = frozenset({RoundState.LEARNED, RoundState.ABORTED})
"""Where a round is over for a site."""


class Step(StrEnum):
    """What moves a client on; also the name of the row that holds the step's result."""

    JOIN = "join"
    TRAIN = "train"
    RELEASE = "release"
    OPEN = "open"
    COLLECT = "collect"
    LEARN = "learn"
    ABORT = "abort"


_S = RoundState
_ROUND = "round"
"""The row that holds a round's state; the other rows of a round are named after their steps."""

# The whole state machine. A site that declines to contribute may still collect and learn; nothing trains after its
# release, so that what a bundle's statement declares about the model stays true; finished rounds take no step.
# A release of texts is a commitment; it is opened once this site has seen that no more commitments are taken, and it
# is in that state before the first byte of its outputs leaves. Receipts are no states: they belong to the outbox and
# may come at any later time.
TRANSITIONS: dict[tuple[RoundState, Step], RoundState] = {
    (_S.NEW, Step.JOIN): _S.JOINED,
    (_S.JOINED, Step.TRAIN): _S.TRAINED,
    (_S.JOINED, Step.RELEASE): _S.RELEASED,
    (_S.JOINED, Step.COLLECT): _S.COLLECTED,
    (_S.JOINED, Step.ABORT): _S.ABORTED,
    (_S.TRAINED, Step.RELEASE): _S.RELEASED,
    (_S.TRAINED, Step.COLLECT): _S.COLLECTED,
    (_S.TRAINED, Step.ABORT): _S.ABORTED,
    (_S.RELEASED, Step.OPEN): _S.OPENED,
    (_S.RELEASED, Step.COLLECT): _S.COLLECTED,
    (_S.RELEASED, Step.ABORT): _S.ABORTED,
    (_S.OPENED, Step.COLLECT): _S.COLLECTED,
    (_S.OPENED, Step.ABORT): _S.ABORTED,
    (_S.COLLECTED, Step.LEARN): _S.LEARNED,
}


def after(state: RoundState, step: Step) -> RoundState:
    """The state that ``step`` leads to.

    Raises:
        ConsensusError: SF403 in an aborted round, SF404 if the step does not follow.
    """
    following = TRANSITIONS.get((state, step))
    if following is not None:
        return following
    if state is RoundState.ABORTED:
        raise ConsensusError("SF403", "the server aborted this round")
    raise ConsensusError("SF404", f"`{step}` does not follow from `{state}`", state=str(state), step=str(step))


def state_of(tx: Transaction, round_id: RoundId) -> RoundState:
    """The state of ``round_id``, `RoundState.NEW` if this site never joined it."""
    row = read_progress(tx, round_id, _ROUND)
    return RoundState.NEW if row is None else _stored(row)


def list_states(tx: Transaction) -> list[tuple[RoundId, RoundState]]:
    """Every round that this site joined and its state, in the order of their last change."""
    return [(RoundId(row.round_id), _stored(row)) for row in list_progress(tx) if row.step == _ROUND]


def _stored(row: ProgressRow) -> RoundState:
    try:
        return RoundState(row.state)
    except ValueError as error:
        raise IntegrityError("SF531", f"the stored state of {row.round_id} is damaged") from error


def advance(tx: Transaction, round_id: RoundId, step: Step, result: dict[str, Any], *, at_ms: int) -> RoundState:
    """Take ``step`` and remember its ``result``, inside the caller's transaction.

    The new state and the result become visible together with whatever else the transaction holds, or not at all.

    Raises:
        ConsensusError: as `after`; nothing is written.
    """
    following = after(state_of(tx, round_id), step)
    write_progress(tx, ProgressRow(round_id, _ROUND, following, "{}", at_ms))
    write_progress(tx, ProgressRow(round_id, step, "done", json.dumps(result), at_ms))
    return following


def result_of(tx: Transaction, round_id: RoundId, step: Step) -> dict[str, Any] | None:
    """What ``step`` left behind, or nothing if it was not taken.

    Raises:
        IntegrityError: SF531 if the row is damaged.
    """
    row = read_progress(tx, round_id, step)
    if row is None:
        return None
    try:
        document = json.loads(row.data)
    except json.JSONDecodeError as error:
        raise IntegrityError("SF531", f"the stored result of `{step}` is damaged") from error
    if not isinstance(document, dict):
        raise IntegrityError("SF531", f"the stored result of `{step}` is damaged")
    return document


def seen_root(tx: Transaction, round_id: RoundId) -> Digest | None:
    """The root of the closed commitments under which this site opened its own, or None if it did not.

    Raises:
        IntegrityError: SF531 if the row is damaged.
    """
    opened = result_of(tx, round_id, Step.OPEN)
    if opened is None:
        return None
    try:
        return parse_digest(str(opened["root"]))
    except (KeyError, ValueError) as error:
        raise IntegrityError("SF531", "the stored root of the commitments is damaged") from error
