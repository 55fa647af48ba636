"""What a site's own records vote for: the nearest public prompts, and the answer that the record or the model gives.

A record's votes depend on that record, the public prompts and the model alone, so one entity more or less changes
only its own votes; `semfed_secure.privacy.histogram` then counts one vote per entity. A record that carries its answer
never reaches the model. For the others the model must not have been fitted to this population, unless under a charged
mechanism: a model that knows all records would let each entity speak through everybody's votes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import log, sqrt
from typing import TYPE_CHECKING

from semfed_secure.client.answers import best_candidates
from semfed_secure.client.outputs import Ballots
from semfed_secure.wire.messages import ABSTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.llm.model import Model, Record
    from semfed_secure.wire.prompts import PromptSet


LEAST_RESEMBLANCE = 0.2
"""Cosine below which a text resembles a prompt by chance; measured in ``examples/bank_merchants``."""
NEAREST = 2
"""Prompts that a record may vote on: with one alone, half of the prompts of a set are nobody's nearest."""


class NearestPrompts:
    """Finds the public prompts that a text resembles most: cosine of its words and letter groups, rare ones first.

    What is rare is told from the public prompts alone, so the answer depends on the text and on public data only.
    """

    def __init__(self, prompts: PromptSet) -> None:
        """Index the prompts of a round."""
        bags = [_parts(prompt.text) for prompt in prompts.prompts]
        found_in = Counter(part for bag in bags for part in bag)
        self._rarity = {part: log((1 + len(bags)) / count) for part, count in found_in.items()}
        self._unseen = log(1 + len(bags))
        self._lengths = [self._length(bag) for bag in bags]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, bag in enumerate(bags):
            for part in bag:
                self._places[part].append(place)

    def of(self, text: str) -> tuple[int, ...]:
        """Indexes of at most `NEAREST` prompts, nearest first, none below `LEAST_RESEMBLANCE`."""
        shared: dict[int, float] = defaultdict(float)
        parts = _parts(text)
        for part in sorted(parts):  # in one order, so that sums are the same in every process
            for place in self._places.get(part, ()):
                shared[place] += self._rarity[part]
        length = self._length(parts)
        cosines = {place: weight / length / self._lengths[place] for place, weight in shared.items() if weight > 0}
        best = sorted(cosines, key=lambda place: (-cosines[place], place))[:NEAREST]
        return tuple(place for place in best if cosines[place] >= LEAST_RESEMBLANCE)

    def _length(self, parts: set[str]) -> float:
        return sqrt(sum(self._rarity.get(part, self._unseen) for part in sorted(parts)))


def cast_ballots(records: Sequence[Record], prompts: PromptSet, model: Model) -> Ballots:
    """A vote per record and prompt that it resembles: for its own completion if that is a candidate, else the model's.

    Records that resemble no prompt, and those on which the model has no preference, cast none.
    """
    nearest = NearestPrompts(prompts)
    near = {text: nearest.of(text) for text in sorted({record.prompt for record in records})}
    asked = [(record, place) for record in records for place in near[record.prompt]]
    choices = [prompts.candidates_of(prompts.prompts[place]) for _, place in asked]
    open_questions = [
        index
        for index, ((record, _), own) in enumerate(zip(asked, choices, strict=True))
        if record.completion not in own
    ]
    answers = best_candidates(
        model, [asked[index][0].prompt for index in open_questions], [choices[index] for index in open_questions]
    )
    said = dict(zip(open_questions, answers, strict=True))
    votes = []
    for index, (record, place) in enumerate(asked):
        vote = said[index] if index in said else choices[index].index(record.completion)
        if vote != ABSTAIN:
            votes.append((record.entity_id, place, vote))
    return Ballots(tuple(votes))


def _parts(text: str) -> set[str]:
    """Words, and groups of three to five letters."""
    words = "".join(char if char.isalnum() else " " for char in text.casefold()).split()
    padded = f" {' '.join(words)} "
    groups = {padded[at : at + size] for size in (3, 4, 5) for at in range(len(padded) - size + 1)}
    return groups | {f"={word}" for word in words}
