"""Comparing a prompt set with the site's own records: offline, before joining, for a person's decision.

Prompts that are chosen near a person's record expose that person, and so do candidates. So somebody looks at a new
prompt set before the site answers it, and this says where to look first: prompts with a planted canary, prompts that
carry an identifier, then the others by how near a record they are. No text of a record is in the result: a record is
named by its line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from semfed_secure.client.opening import ask_to_open, opened_event
from semfed_secure.detect import scan, summarise
from semfed_secure.detect.overlap import Overlap, letter_runs, plain_words, word_runs
from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.engine import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from semfed_secure.client.site import Site
    from semfed_secure.llm.model import Record
    from semfed_secure.wire.prompts import Prompt, PromptSet

NEAR: Mapping[str, float] = {"words": 0.5, "letters": 0.85, "embedding": 0.8}
"""From where on a prompt is called near a record, by each measure. It orders the report, and decides nothing."""
SHORTEST_CANARY = 8
"""Letters and digits of a canary; a shorter one stands in ordinary text by chance."""
_BLOCK = 256


class Embeds(Protocol):
    """What the review asks of a sentence embedder: one unit vector per text."""

    name: str

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``(len(texts), dimension)``."""
        ...


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest record by one measure: how near, the line where it stands, and how many records are near.

    ``candidate`` is what of the prompt is near; None is the question itself.
    """

    measure: str
    value: float
    line: int
    near: int
    candidate: str | None = None

    @property
    def nearness(self) -> float:
        """How near in terms of what is called near: 1 or more is."""
        return self.value / NEAR[self.measure]


@dataclass(frozen=True, slots=True)
class PromptReview:
    """What is known about one prompt; ``canaries`` are lines of the file of canaries."""

    prompt: Prompt
    canaries: tuple[int, ...]
    identifiers: Mapping[str, int]
    nearest: tuple[Nearest, ...]

    @property
    def nearness(self) -> float:
        """The highest of all measures."""
        return max((one.nearness for one in self.nearest), default=0.0)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why somebody should look at it, strongest first; empty where nothing was found."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.identifiers.items())
        return (
            *(f"holds the canary of line {line}: somebody has read the records" for line in self.canaries),
            *((f"asks with identifiers: {kinds}",) if kinds else ()),
            *(_sentence(one) for one in self.nearest if one.nearness >= 1),
        )


@dataclass(frozen=True, slots=True)
class Review:
    """A prompt set against the records of a site, the prompts to look at first in front."""

    prompts: PromptSet
    ranked: tuple[PromptReview, ...]
    records: int
    canaries: int
    embedder: str | None


def review_prompts(
    site: Site,
    prompts: PromptSet,
    records: Iterable[tuple[int, Record]],
    *,
    canaries: Mapping[int, str],
    embedder: Embeds | None,
) -> Review:
    """Compare every prompt, and every candidate of its own, with every record, once the policy permits to open them.

    Nothing is sent and nothing is spent. The log gets the same two entries whatever is found: that the opening was
    permitted, and that the data set was opened.

    Args:
        site: Whose policy is asked, and whose log is written.
        prompts: The set.
        records: Line and record; nothing is read before the policy permits it.
        canaries: Line and text of what was planted among the records.
        embedder: Compares by meaning; without it only words and letters are compared.

    Raises:
        PolicyDenied: SF201; ApprovalNeeded: SF203.
        ConfigurationError: SF102 or SF104, the records cannot be read; SF142, there are none.
    """
    require(ask_to_open(site, None, dry_run=False))
    site.audit.append(opened_event(site, None))
    texts = [prompt.text for prompt in prompts.prompts]
    proposed = {text: None for prompt in prompts.prompts for text in prompt.candidates if len(plain_words(text)) > 1}
    texts += proposed  # a single word stands in the records of many
    measures: dict[str, Callable[[Sequence[str]], NDArray[np.floating]]] = {
        "words": Overlap.with_prompts(texts, word_runs).shares,
        "letters": Overlap.with_prompts(texts, letter_runs).shares,
    }
    if embedder is not None:
        measures["embedding"] = _by_meaning(embedder, texts)
    nearest, count = _nearest(measures, len(texts), records)
    near_candidate = dict(zip(proposed, nearest[len(prompts.prompts) :], strict=True))
    found = [
        _reviewed(prompt, canaries, own, {text: near_candidate.get(text, ()) for text in prompt.candidates})
        for prompt, own in zip(prompts.prompts, nearest, strict=False)
    ]
    ranked = sorted(found, key=lambda one: (not one.canaries, not one.identifiers, -one.nearness))
    return Review(prompts, tuple(ranked), count, len(canaries), None if embedder is None else embedder.name)


def _reviewed(
    prompt: Prompt,
    canaries: Mapping[int, str],
    nearest: tuple[Nearest, ...],
    candidates: Mapping[str, tuple[Nearest, ...]],
) -> PromptReview:
    """What is found of the question and of its own candidates: for each measure what is nearest of all these."""
    best = {one.measure: one for one in nearest}
    for text, near in candidates.items():
        closer = {one.measure: replace(one, candidate=text) for one in near if one.value > best[one.measure].value}
        best |= closer
    texts = (prompt.text, *prompt.candidates)
    planted = sorted({line for text in texts for line in _canaries_in(text, canaries)})
    identifiers = sum((Counter(summarise(scan(text))) for text in texts), Counter[str]())
    return PromptReview(prompt, tuple(planted), dict(identifiers), tuple(best.values()))


def read_canaries(path: Path) -> Mapping[int, str]:
    """Planted texts, one a line, by line number.

    Raises:
        ConfigurationError: SF102, it cannot be read; SF104, a line that may stand in ordinary text by chance.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError:
        raise ConfigurationError("SF104", f"{path.name} is not UTF-8") from None
    found = {number: line for number, line in enumerate(lines, 1) if line.strip()}
    for number, line in found.items():
        if len("".join(plain_words(line))) < SHORTEST_CANARY:
            message = f"{path.name} line {number}: a canary of at least {SHORTEST_CANARY} letters or digits is needed"
            raise ConfigurationError("SF104", message, line=number)
    return found


def _canaries_in(text: str, canaries: Mapping[int, str]) -> tuple[int, ...]:
    line = "".join(plain_words(text))
    return tuple(number for number, canary in canaries.items() if "".join(plain_words(canary)) in line)


def _by_meaning(embedder: Embeds, prompts: Sequence[str]) -> Callable[[Sequence[str]], NDArray[np.floating]]:
    vectors = embedder.embed(prompts)

    def cosines(texts: Sequence[str]) -> NDArray[np.floating]:
        found: NDArray[np.floating] = vectors @ embedder.embed(texts).T
        return found

    return cosines


def _nearest(
    measures: Mapping[str, Callable[[Sequence[str]], NDArray[np.floating]]],
    prompts: int,
    records: Iterable[tuple[int, Record]],
) -> tuple[list[tuple[Nearest, ...]], int]:
    """For every prompt the nearest record by each measure, and how many records there were; read block by block."""
    value = {name: np.zeros(prompts) for name in measures}
    line = {name: np.zeros(prompts, np.int64) for name in measures}
    near = {name: np.zeros(prompts, np.int64) for name in measures}
    count = 0
    for block in _blocks(records):
        count += len(block)
        lines = np.array([number for number, _ in block])
        for name, shares in measures.items():
            # What was asked and what was answered count each by itself: a long answer must not hide a near question.
            asked, said = shares([r.prompt for _, r in block]), shares([r.completion for _, r in block])
            found = np.maximum(asked, said)
            best = found.argmax(axis=1)
            highest = found[np.arange(prompts), best]
            higher = highest > value[name]
            value[name] = np.where(higher, highest, value[name])
            line[name] = np.where(higher, lines[best], line[name])
            near[name] += (found >= NEAR[name]).sum(axis=1)
    if count == 0:
        raise ConfigurationError("SF142", "at least one record was expected")
    return [
        tuple(Nearest(name, float(value[name][at]), int(line[name][at]), int(near[name][at])) for name in measures)
        for at in range(prompts)
    ], count


def _blocks(records: Iterable[tuple[int, Record]]) -> Iterator[list[tuple[int, Record]]]:
    left = iter(records)
    while block := list(islice(left, _BLOCK)):
        yield block


def _sentence(one: Nearest) -> str:
    others = f", and {one.near - 1} more are near" if one.near > 1 else ", the only one near"
    of = "" if one.candidate is None else f"candidate `{one.candidate}`: "
    if one.measure == "embedding":
        return f"{of}means nearly what the record of line {one.line} says (cosine {one.value:.2f}){others}"
    runs = f"{one.value:.0%} of its {'runs of words' if one.measure == 'words' else 'letters'}"
    return f"{of}{runs} stand in the record of line {one.line}{others}"
