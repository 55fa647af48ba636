"""Outputs before the door: votes, texts and ballots, and whether they answer the round's prompt set.

None of them is shown by ``repr``, so none gets into a log or traceback that prints what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.histogram import valid_shape
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.messages import ABSTAIN, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from semfed_secure.client.adapters import Adapter
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.ids import Digest
    from semfed_secure.llm.model import Record
    from semfed_secure.privacy.histogram import Vote
    from semfed_secure.wire.prompts import PromptSet

MAX_CHARACTERS_PER_TOKEN = 32
"""What the server's content gate allows one generated token; a longer answer would be refused with its bundle."""


@dataclass(frozen=True, slots=True)
class Votes:
    """Index of the chosen candidate per prompt, `ABSTAIN` for none."""

    indexes: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Texts:
    """Answer per prompt, None to abstain."""

    answers: tuple[str | None, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ballots:
    """What the site's own entities vote for, raw: only ``record_histogram`` takes them further."""

    votes: tuple[Vote, ...] = field(repr=False)


Outputs: TypeAlias = Votes | Texts | Ballots


@dataclass(frozen=True, slots=True)
class Unread:
    """Private records that would vote: none is read, and no model sees one, before the policy permits the release.

    ``cast`` makes ballots of those that count.
    """

    records: Iterable[Record] = field(repr=False)
    cast: Callable[[Sequence[Record]], Ballots] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DraftOutputs:
    """What a model said, or a caller brought; nobody has permitted it.

    Attributes:
        round: The round that is answered.
        outputs: In the order of its prompt set.
        adapter: The adapter that answered; None is the untrained model.
        model_digest: Of the weights that answered; None behind an endpoint.
        from_caller: Whether a caller brought the outputs and says that this model made them.
        alike: Prompts on which some candidates read the same to the site's model.
    """

    round: VerifiedRound
    outputs: Outputs | Unread
    adapter: Adapter | None
    model_digest: Digest | None
    from_caller: bool = False
    alike: int = 0


def require_fit(draft: DraftOutputs, mechanism: Mechanism) -> None:
    """Accept only outputs of the round's kind, one per prompt, each possible, that ``mechanism`` can protect.

    Raises:
        ConfigurationError: SF104; SF141 for ballots over more prompts and candidates than one histogram has cells.
    """
    prompts, kind, outputs = draft.round.prompts, draft.round.manifest.kind, draft.outputs
    match outputs:
        case Ballots() | Unread():
            fits = kind is OutputKind.VOTES and mechanism is Mechanism.RECORD_HISTOGRAM
        case Votes(indexes):
            limits = [len(prompts.candidates_of(prompt)) for prompt in prompts.prompts]
            fits = kind is OutputKind.VOTES and mechanism is not Mechanism.RECORD_HISTOGRAM
            fits = fits and len(indexes) == len(limits)
            fits = fits and all(ABSTAIN <= vote < limit for vote, limit in zip(indexes, limits, strict=True))
        case Texts(answers):
            fits = kind is OutputKind.TEXT and mechanism is not Mechanism.RECORD_HISTOGRAM
            fits = fits and len(answers) == len(prompts.prompts)
    if not fits:
        expected = "ballots of entities" if mechanism is Mechanism.RECORD_HISTOGRAM else f"one of {kind} per prompt"
        raise ConfigurationError("SF104", f"outputs for round {draft.round.manifest.round_id}: {expected} expected")
    if mechanism is Mechanism.RECORD_HISTOGRAM:
        valid_shape(histogram_shape(prompts))


def histogram_shape(prompts: PromptSet) -> tuple[int, int]:
    """Prompts, and candidates of the prompt that has most: the cells of a histogram of votes on them."""
    return len(prompts.prompts), max(len(prompts.candidates_of(prompt)) for prompt in prompts.prompts)


def within_topics(outputs: Votes | Texts, prompts: PromptSet, topics: Collection[str] | None) -> Votes | Texts:
    """``outputs`` with an abstention on every prompt of another topic; without ``topics`` as they are.

    Which prompts these are follows from the public prompts and the declared topics alone, so it tells of no record.
    """
    if topics is None:
        return outputs
    answers = [prompt.topic is None or prompt.topic in topics for prompt in prompts.prompts]
    if isinstance(outputs, Votes):
        return Votes(tuple(vote if own else ABSTAIN for vote, own in zip(outputs.indexes, answers, strict=True)))
    return Texts(tuple(text if own else None for text, own in zip(outputs.answers, answers, strict=True)))


def tidy(text: str | None, *, max_new_tokens: int) -> str | None:
    """``text`` as a server admits it: printable, on one line, no longer than the round's decoding can make.

    What cannot be shown becomes a space; nothing is left of a text of white space only.
    """
    if text is None:
        return None
    shown = "".join(char if char.isprintable() else " " for char in text)
    cut = " ".join(shown.split())[: MAX_CHARACTERS_PER_TOKEN * max_new_tokens]
    return cut.encode()[:MAX_TEXT_BYTES].decode(errors="ignore").strip() or None
