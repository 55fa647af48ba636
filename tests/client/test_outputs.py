"""Outputs before the door: what a site tidies is what a server admits, and ballots may come from a caller."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.client import outputs
from semfed_secure.client.outputs import Ballots, Texts, Votes, tidy
from semfed_secure.detect import scan
from semfed_secure.errors import ConfigurationError
from semfed_secure.server import admission
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import MAX_TEXT_BYTES, Outcome
from tests.client.world import ROUND, VOTES, World, charges, outbox

if TYPE_CHECKING:
    from pathlib import Path


@given(st.text(), st.integers(1, 40))
def test_a_tidied_text_passes_the_servers_content_gate(text: str, max_new_tokens: int) -> None:
    """Whatever a model writes, what is left is printable, short enough and not empty, or an abstention."""
    shown = tidy(text, max_new_tokens=max_new_tokens)
    if shown is None:
        return
    assert len(shown.encode()) <= MAX_TEXT_BYTES
    if not scan(shown):
        terms: Any = SimpleNamespace(decoding=SimpleNamespace(max_new_tokens=max_new_tokens))
        admission._check_content(shown, terms)


@given(st.text(), st.integers(1, 40))
def test_tidying_twice_changes_nothing(text: str, max_new_tokens: int) -> None:
    """A text that a server would admit as it is stays as it is."""
    once = tidy(text, max_new_tokens=max_new_tokens)
    assert tidy(once, max_new_tokens=max_new_tokens) == once


def test_both_sides_allow_a_token_the_same_length() -> None:
    """The site cuts where the server would refuse."""
    assert outputs.MAX_CHARACTERS_PER_TOKEN == admission.MAX_CHARACTERS_PER_TOKEN


def test_a_long_text_is_cut_at_a_whole_character() -> None:
    """The byte limit of the wire never splits a character."""
    assert tidy("é" * 5000, max_new_tokens=1024) == "é" * (MAX_TEXT_BYTES // 2)


def test_outputs_do_not_show_themselves() -> None:
    """A traceback that prints a draft prints no vote, text or entity."""
    for one in (Votes((3, 1)), Texts(("secret",)), Ballots((("entity-7", 0, 0),))):
        assert repr(one) == f"{type(one).__name__}()"


@pytest.mark.parametrize("wrong", [True, False, 1.0, 4, -2, "liver"])
def test_a_vote_that_names_no_candidate_is_refused(tmp_path: Path, wrong: Any) -> None:
    """SF104 for a truth value, which Python takes for an index, as for any other value; nothing is on its way."""
    world = World(tmp_path)
    world.open_round()
    with world.client(mechanism=Mechanism.UNSAFE_NO_NOISE) as client:
        joined = client.join(ROUND)
        with pytest.raises(ConfigurationError) as caught:
            joined.contribute([*VOTES[:5], wrong])
        assert (caught.value.code, charges(client), outbox(client)) == ("SF104", [], [])
    world.federation.close()


def test_a_caller_may_bring_ballots(tmp_path: Path) -> None:
    """Under record_histogram a pipeline of one's own casts the votes; anything else is SF104 and costs nothing."""
    world = World(tmp_path)
    world.open_round()
    with world.client(mechanism=Mechanism.RECORD_HISTOGRAM) as client:
        joined = client.join(ROUND)
        for wrong in (["heart"] * 6, [("a", "0", 0)], [("a", 0)], [("a", True, 0)], [("a", 0, False)]):
            with pytest.raises(ConfigurationError) as caught:
                joined.contribute(wrong)  # type: ignore[arg-type]
            assert caught.value.code == "SF104"
        assert charges(client) == []
        assert joined.contribute([(f"e{n}", n % 6, 0) for n in range(60)]).outcome is Outcome.ADMITTED
    world.federation.close()
