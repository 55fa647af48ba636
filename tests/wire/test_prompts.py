"""What a prompt set may ask: texts that a reader sees whole, and answers that can be told apart."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.wire import cbor, prompts
from tests.wire import wire_examples as examples

hidden = st.characters(categories=["C"]).filter(lambda char: char not in "\n\t")
blanks = st.text(st.sampled_from(" \n\t\u3000"))
disguises = st.sampled_from([str.upper, lambda label: "".join(chr(ord(char) + 0xFEE0) for char in label)])


def unchecked(prompt_set: prompts.PromptSet) -> bytes:
    """The bytes that a peer without checks sends."""
    rows = [{1: row.id, 2: row.text, 3: list(row.candidates), 4: row.topic} for row in prompt_set.prompts]
    return cbor.encode({0: "semfed/prompt-set", 1: 1, 2: prompt_set.name, 3: rows, 4: list(prompt_set.candidates)})


def refused_both_ways(prompt_set: prompts.PromptSet) -> None:
    """Neither sent nor taken."""
    with pytest.raises(ConfigurationError, match="SF105"):
        prompts.encode_prompt_set(prompt_set)
    with pytest.raises(PeerError, match="SF302"):
        prompts.parse_prompt_set(unchecked(prompt_set))


def test_an_unchecked_prompt_set_has_the_same_bytes() -> None:
    """What the tests below refuse is refused for its texts, not for its form."""
    assert unchecked(examples.PROMPT_SET) == prompts.encode_prompt_set(examples.PROMPT_SET)


@given(examples.readable, hidden, st.integers(0, 20))
@example("heart", "\x1b", 2)
@example("heart", "\0", 2)
@example("heart", "\u202e", 2)
def test_a_hidden_character_is_refused_in_prompts_and_candidates(text: str, char: str, place: int) -> None:
    """Whatever of Unicode's category C it is, and wherever it stands; line end and tab are taken."""
    assume(unicodedata.category(char) != "Cs")  # which is no UTF-8 either
    spoilt = text[:place] + char + text[place:]
    assert not prompts.is_readable(spoilt)
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", spoilt),)))
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", "b", (spoilt,)),)))
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", "b"),), (spoilt,)))


@given(blanks)
def test_a_blank_prompt_or_candidate_is_refused(blank: str) -> None:
    """Nobody can answer it, or choose it knowingly."""
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", blank),)))
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", "b"),), (blank,)))


@given(st.from_regex(r"[a-z]{1,8}", fullmatch=True), disguises, blanks, blanks)
@example("heart", str, "", " ")
def test_candidates_that_only_look_different_are_refused(label: str, disguise, before: str, after: str) -> None:
    """Case, style and outer blanks tell no two answers apart, among shared candidates and a prompt's own."""
    twice = (label, "another label", before + disguise(label) + after)
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", "b"),), twice))
    refused_both_ways(prompts.PromptSet("x", (prompts.Prompt("a", "b", twice),)))
