"""A site says in its policy what may move its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.errors import PolicyDenied
from tests.client.world import ROUND, UNSAFE

if TYPE_CHECKING:
    from tests.client.world import World


@pytest.mark.parametrize(("allowed", "joins"), [(["equal"], True), (["agreement", "anchored"], False)])
def test_a_site_refuses_a_round_that_weighs_otherwise_than_its_policy_allows(
    world: World, allowed: list[str], *, joins: bool
) -> None:
    """The manifest says how the round weighs, and the policy is asked before anything is trained."""
    world.open_round()
    policy = {"limits": {"peers": {"weights": allowed}}}
    with world.client(mechanism=UNSAFE, policy=policy) as client:
        if joins:
            client.join(ROUND)
            return
        with pytest.raises(PolicyDenied, match="PEER-007"):
            client.join(ROUND)
