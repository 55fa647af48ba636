"""What records vote for depends on themselves and on public prompts, and labelled records never reach a model."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.client.ballots import NEAREST, NearestPrompts, cast_ballots
from semfed_secure.ids import PromptId
from semfed_secure.llm.model import Record
from semfed_secure.wire.prompts import Prompt, PromptSet

LABELS = ("airlines", "clothing", "lodging")
TEXTS = ("Merchant: Alaska Airlines", "Merchant: Shoe stores", "Merchant: Hilton hotels", "Merchant: Holiday Inns")
PROMPTS = PromptSet(
    "votes", tuple(Prompt(PromptId(f"p{place}"), text) for place, text in enumerate(TEXTS)), candidates=LABELS
)


class Oracle:
    """Prefers the last candidate, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, prompts, *, max_new_tokens):
        raise AssertionError("votes need no text")

    def score(self, prompts, candidates):
        self.asked += prompts
        return np.tile(np.arange(len(candidates), dtype=np.float32), (len(prompts), 1))


def test_the_nearest_prompt_comes_first() -> None:
    """Rare words and letter groups decide; words that every prompt holds do not."""
    nearest = NearestPrompts(PROMPTS)
    assert nearest.of("Merchant: HILTON GARDEN HOTEL")[0] == 2
    assert nearest.of("Merchant: shoe shops")[0] == 1
    assert nearest.of(TEXTS[3])[0] == 3


def test_what_resembles_no_prompt_finds_none() -> None:
    """A text that shares nothing with a prompt, or only the words of the template, is nobody's neighbour."""
    shops = (
        f"Merchant: {a} {b} stores" for a in ("book", "tyre", "shoe", "wine", "camera") for b in ("old", "new", "big")
    )
    asked = tuple(Prompt(PromptId(f"q{place}"), text) for place, text in enumerate(shops))
    nearest = NearestPrompts(PromptSet("votes", asked, LABELS))
    assert nearest.of("Merchant: old book stores")[0] == 0
    for text in ("", "!!!", "Merchant:", "Merchant: xyzzyq plugh", "quantum chromodynamics"):
        assert nearest.of(text) == ()


@given(st.text(max_size=60))
def test_any_text_has_at_most_two_neighbours(text) -> None:
    """Each once, each a prompt, and the same for the same text whatever was asked before."""
    nearest = NearestPrompts(PROMPTS)
    found = nearest.of(text)
    assert len(found) == len(set(found)) <= NEAREST
    assert all(0 <= place < len(TEXTS) for place in found)
    assert NearestPrompts(PROMPTS).of(text) == nearest.of(text) == found


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(TEXTS), st.sampled_from([*LABELS, ""])), max_size=12),
    st.sampled_from("abcd"),
)
def test_an_entity_moves_its_own_votes_only(rows, leaver) -> None:
    """Without one entity's records, the votes are the same but for that entity's: the premise of the mechanism."""
    records = [Record(*row) for row in rows]
    others = [record for record in records if record.entity_id != leaver]
    everyone = cast_ballots(records, PROMPTS, Oracle()).votes
    assert cast_ballots(others, PROMPTS, Oracle()).votes == tuple(vote for vote in everyone if vote[0] != leaver)


def test_a_labelled_record_votes_for_its_own_label_and_never_reaches_the_model() -> None:
    """The model sees a record only where the record itself has no answer."""
    oracle = Oracle()
    records = [Record("a", TEXTS[1], "clothing"), Record("b", TEXTS[2], ""), Record("c", TEXTS[0], "no candidate")]
    votes = cast_ballots(records, PROMPTS, oracle).votes
    assert ("a", 1, LABELS.index("clothing")) in votes
    assert {vote for entity, _, vote in votes if entity in {"b", "c"}} == {len(LABELS) - 1}
    assert set(oracle.asked) == {TEXTS[2], TEXTS[0]}
