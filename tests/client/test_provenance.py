"""What the weights were made from: declared in the site file, and refused where noise would be a promise too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import PolicyDenied
from tests.client.world import DP, HISTOGRAM, ROUND, charges, records

if TYPE_CHECKING:
    from tests.client.world import World

PUBLIC_ONLY = {"limits": {"models": {"provenances": ["public"]}}}


@pytest.mark.parametrize(
    ("policy", "declared"),
    [(PUBLIC_ONLY, {}), (PUBLIC_ONLY, {"provenance": "own_population"}), ({}, {"provenance": "own_population"})],
    ids=["not declared", "own, under a policy that asks", "own, under any policy"],
)
def test_weights_that_may_know_the_population_train_nothing_and_vote_on_nothing(world: World, policy, declared) -> None:
    """MOD-005 before a record is read or anything is charged, for a training run and for a noised release alike."""
    world.open_round()
    sections = {"model": declared}
    with world.client(mechanism=DP, policy=policy, sections=sections) as client:
        with pytest.raises(PolicyDenied, match="MOD-005"):
            client.join(ROUND).train(records("bay"))
        assert charges(client) == []
    with world.client("hill", mechanism=HISTOGRAM, policy=policy, sections=sections) as client:
        with pytest.raises(PolicyDenied, match="MOD-005"):
            client.join(ROUND).contribute(records=records("hill"))
        assert charges(client) == []


def test_public_weights_are_trained(world: World) -> None:
    """Declared public, the same policy permits."""
    world.open_round()
    with world.client(policy=PUBLIC_ONLY, sections={"model": {"provenance": "public"}}) as client:
        client.join(ROUND).train(records("bay"))
        assert len(charges(client)) == 1
