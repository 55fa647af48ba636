"""Rounds of proposals: who takes part, and candidates that are granted with the very set, or beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from semfed_secure.policy.document import Limits
from semfed_secure.policy.facts import Action
from tests.policy import samples
from tests.policy.samples import GRANTS, change, with_value
from tests.policy.test_engine import ask

OTHER = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("digest", "proposed_for", "permitted"),
    [
        (samples.PROMPTS, None, True),
        (samples.PROMPTS, OTHER, True),
        (OTHER, None, False),
        (OTHER, samples.PROMPTS, False),
        (OTHER, samples.KEY, True),
        (OTHER, 7, False),
    ],
)
def test_proposed_candidates_are_granted_with_the_set_or_beforehand(
    digest: str, proposed_for: Any, permitted: bool
) -> None:
    """Prompts that are granted as they stand are not granted with candidates that nobody has seen."""
    grants = GRANTS.model_copy(update={"proposed_candidates": frozenset({samples.KEY})})
    facts = change("prompts", digest=digest, proposed_for=proposed_for)
    assert ("PRM-001" not in ask(facts, grants=grants).codes) is permitted


@pytest.mark.parametrize("action", [Action.JOIN, Action.RELEASE, Action.LEARN])
@pytest.mark.parametrize(("rule", "permitted"), [(None, False), ("proposals", False), ("semantic_group", True)])
def test_a_site_says_whether_a_text_of_its_own_alone_may_be_published(
    action: Action, rule: str | None, permitted: bool
) -> None:
    """A round of texts is one thing, a round of proposals another; a rule that is not told is refused."""
    limits = with_value(Limits(), "peers.rules", frozenset({"weighted_plurality", "semantic_group"}))
    facts = replace(change("peer", rule=rule), action=action)
    assert ask(facts, limits=limits).codes == (() if permitted else ("PEER-008",))
