"""Outputs that a caller brings, as the round's kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeGuard

from semfed_secure.client.outputs import Ballots, Outputs, Texts, Votes
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.parameters import is_entity_id
from semfed_secure.units import Mechanism, OutputKind

if TYPE_CHECKING:
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.privacy.histogram import Vote

GivenOutputs = Iterable["int | str | None"] | Iterable["Vote"]
"""Votes (candidate or its index, None to abstain), texts, or ballots ``(entity, prompt index, candidate index)``."""


def given_outputs(outputs: GivenOutputs, round_: VerifiedRound, mechanism: Mechanism) -> Outputs:
    """A caller's outputs as the round's kind; a vote may be the candidate itself or its index, None abstains.

    Raises:
        ConfigurationError: SF104, an output is of another type or no candidate of its prompt.
    """
    items = list(outputs)
    if mechanism is Mechanism.RECORD_HISTOGRAM:
        return Ballots(tuple(_ballot(item) for item in items))
    if round_.manifest.kind is OutputKind.TEXT:
        return Texts(tuple(_text(item) for item in items))
    prompts = round_.prompts
    if len(items) != len(prompts.prompts):
        raise ConfigurationError("SF104", f"{len(prompts.prompts)} outputs were expected, got {len(items)}")
    choices = [prompts.candidates_of(prompt) for prompt in prompts.prompts]
    return Votes(tuple(_vote(item, own) for item, own in zip(items, choices, strict=True)))


def _ballot(item: object) -> Vote:
    match item:
        case (str() as entity, prompt, vote) if is_entity_id(entity) and _is_index(prompt) and _is_index(vote):
            return entity, prompt, vote
    raise ConfigurationError("SF104", "ballots (entity id, prompt index, candidate index) were expected")


def _text(item: object) -> str | None:
    if item is None or isinstance(item, str):
        return item
    raise ConfigurationError("SF104", "texts, or None to abstain, were expected")


def _vote(item: object, candidates: Sequence[str]) -> int:
    if item is None:
        return -1
    if isinstance(item, str) and item in candidates:
        return candidates.index(item)
    if _is_index(item) and -1 <= item < len(candidates):
        return item
    raise ConfigurationError("SF104", "votes for candidates of their prompt, or None to abstain, were expected")


def _is_index(item: object) -> TypeGuard[int]:
    # True is 1 to Python: whoever says yes has named no candidate.
    return isinstance(item, int) and not isinstance(item, bool)
