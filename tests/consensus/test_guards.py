"""What embeddings cannot see, and the guard does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.consensus.guards import guard


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("give 5 mg daily", "give 50 mg daily"),
        ("give 5 mg daily", "give 5 g daily"),
        ("fracture of the hip", "no fracture of the hip"),
        ("the drug is indicated", "the drug is contraindicated"),
        ("it doesn't help", "it does help"),
        ("within 2 days", "within 2 weeks"),
        ("balance of $1,200", "balance of $1,300"),
        ("balance of $12", "balance of €12"),
        ("minus: -3", "plus: 3"),
        ("two episodes", "three episodes"),
        ("type 1", "type 2"),
    ],
)
def test_a_different_fact_has_a_different_guard(one: str, other: str) -> None:
    """Numbers, doses, units and negation tell texts apart."""
    assert guard(one) != guard(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("give 5 mg daily", "5 milligrams every day"),
        ("give 500 mg", "give 0.5 g"),
        ("give 1,000 ml", "one litre is 1 l"),
        ("no fracture", "without a fracture"),
        ("5.0 mg", "5mg"),
        ("two episodes", "2 episodes"),
        ("10 %", "10 percent"),
        ("it doesn\u2019t help", "it doesn't help"),
        ("14 days", "2 weeks"),
        ("\uff15 mg", "5 mg"),
    ],
)
def test_the_same_fact_in_other_words_has_the_same_guard(one: str, other: str) -> None:
    """Spelling of numbers and units does not tell texts apart."""
    assert guard(one) == guard(other)


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    """Every text has a signature, and it is a value."""
    assert guard(text) == guard(text)
