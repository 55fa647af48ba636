"""Candidates that a round of proposals made: granted with the very set, or beforehand for its prompts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy import samples
from tests.policy.samples import GRANTS
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
    facts = samples.change("prompts", digest=digest, proposed_for=proposed_for)
    assert ("PRM-001" not in ask(facts, grants=grants).codes) is permitted
