"""What a site's own records vote for: the nearest public prompt, and the answer that the record or the model gives.

A record's vote depends on that record, the public prompts and the model alone, so one entity more or less changes
only its own votes; `semfed_secure.privacy.histogram` then counts one vote per entity.
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

    from semfed_secure.client.model import Model, Record
    from semfed_secure.wire.prompts import PromptSet


class NearestPrompt:
    """Finds the public prompt that a text resembles most: cosine of rare letter triples, public parts only."""

    def __init__(self, prompts: PromptSet) -> None:
        """Index the prompts of a round."""
        bags = [_triples(prompt.text) for prompt in prompts.prompts]
        found_in = Counter(triple for bag in bags for triple in bag)
        self._rarity = {triple: log((1 + len(bags)) / count) for triple, count in found_in.items()}
        self._places: dict[str, list[int]] = defaultdict(list)
        self._lengths = [sqrt(sum(self._rarity[triple] ** 2 for triple in bag)) for bag in bags]
        for place, bag in enumerate(bags):
            for triple in bag:
                self._places[triple].append(place)

    def of(self, text: str) -> int | None:
        """Index of the nearest prompt, the first among equals; None for a text that resembles none."""
        shared: dict[int, float] = defaultdict(float)
        for triple in _triples(text):
            for place in self._places.get(triple, ()):
                shared[place] += self._rarity[triple] ** 2
        if not shared:
            return None
        return min(shared, key=lambda place: (-shared[place] / self._lengths[place], place))


def cast_ballots(records: Sequence[Record], prompts: PromptSet, model: Model) -> Ballots:
    """One vote per record that resembles a prompt: for its own completion if that is a candidate, else the model's.

    Records without a nearest prompt, and those on which the model has no preference, cast none.
    """
    nearest = NearestPrompt(prompts)
    placed = [(record, nearest.of(record.prompt)) for record in records]
    asked = [(record, place) for record, place in placed if place is not None]
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


def _triples(text: str) -> set[str]:
    padded = f"  {' '.join(text.casefold().split())} "
    return {padded[at : at + 3] for at in range(len(padded) - 2)}
