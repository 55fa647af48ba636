"""Shared runs of words and letters: what they find, what they ignore, and that nothing else of a text matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.detect.overlap import Overlap, letter_runs, plain_words, word_runs

NOTE = "Seen on the ward with crushing chest pain after shovelling snow, troponin raised, known type 2 diabetes."
PROMPTS = (
    "What are the symptoms of anaemia?",
    "What are the symptoms of asthma?",
    "Which code fits: crushing chest pain after shovelling snow, troponin raised?",
    "Which code fits: \N{FULLWIDTH LATIN CAPITAL LETTER C}RUSHING chest\N{SOFT HYPHEN} pain; after-shovelling SNOW!",
)
WORDS = st.lists(st.sampled_from(["chest", "pain", "snow", "fever", "cough", "night"]), min_size=1, max_size=12)


@pytest.mark.parametrize("runs_of", [word_runs, letter_runs])
def test_a_prompt_that_was_cut_from_a_record_stands_out(runs_of) -> None:
    """Most of it stands in the record, style and punctuation aside; of ordinary questions hardly anything does."""
    shares = Overlap.with_prompts(PROMPTS, runs_of).shares([NOTE])[:, 0]
    assert min(shares[2:]) > 0.5
    assert max(shares[:2]) < 0.2


def test_an_opening_that_many_prompts_share_counts_little() -> None:
    """The same words weigh less where every prompt begins with them than where one does."""
    record = "What are the symptoms of this"
    common = [f"What are the symptoms of {thing}?" for thing in ("anaemia", "asthma", "gout", "flu", "croup", "sepsis")]
    rare = ["What are the symptoms of anaemia?", *(f"Tell me about {thing}" for thing in ("asthma", "gout", "flu"))]
    shares = [Overlap.with_prompts(prompts, word_runs).shares([record])[0, 0] for prompts in (common, rare)]
    assert shares[0] < shares[1] - 0.1


@given(WORDS, WORDS, WORDS)
def test_the_share_is_one_exactly_where_all_stands_in_the_text(prompt, before, after) -> None:
    """A text that holds the whole prompt gives 1, whatever stands around it; every share lies between 0 and 1."""
    whole = " ".join(["x", *before, *prompt, *after])
    for runs_of in (word_runs, letter_runs):
        overlap = Overlap.with_prompts([" ".join(prompt)], runs_of)
        full, other = overlap.shares([whole, " ".join(before)])[0]
        assert full == pytest.approx(1)
        assert 0 <= other <= 1 + 1e-9
        if len(prompt) > 1:  # a prompt of one word has no run of two to look for, and is found as that word
            assert (other > 1 - 1e-9) == (runs_of(" ".join(prompt)) <= runs_of(" ".join(before)))


def test_texts_without_words_share_nothing() -> None:
    """An empty text, or a prompt of signs only, is near nothing and breaks nothing."""
    assert plain_words("?! --") == ()
    shares = Overlap.with_prompts(["?!", "chest pain"], word_runs).shares(["", "..."])
    assert np.array_equal(shares, np.zeros((2, 2)))
