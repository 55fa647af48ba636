"""A site whose own state was changed on disk says so by a code and goes no further."""

from __future__ import annotations

import pytest
from sqlalchemy import text, update

from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.storage.schema import outbox as outbox_table
from semfed_secure.testing import Silent, flipped
from semfed_secure.wire.messages import Outcome
from tests.client.world import ROUND, UNSAFE, World, outbox


def test_what_was_changed_in_the_outbox_is_never_sent(world: World) -> None:
    """SF531 before anything leaves: the server would refuse it for good, as this site's answer."""
    world.open_round()
    silent = Silent(world.federation.transport())
    with world.client("bay", mechanism=UNSAFE, transport=silent) as client, pytest.raises(PeerError):
        client.join(ROUND).contribute()
    with world.client("bay", mechanism=UNSAFE) as client:
        (row,) = outbox(client)
        for column, at in (("body", 40), ("body", len(row.body) // 2), ("body", -1), ("statement_digest", 0)):
            with client.site.database.transaction() as tx:
                change = {column: flipped(getattr(row, column), at)}
                tx.connection.execute(update(outbox_table).values(body=row.body, statement_digest=row.statement_digest))
                tx.connection.execute(update(outbox_table).values(change))
            with pytest.raises(IntegrityError) as caught:
                client.join(ROUND).contribute()
            assert caught.value.code == "SF531"
        with client.site.database.transaction() as tx:
            tx.connection.execute(update(outbox_table).values(body=row.body, statement_digest=row.statement_digest))
        assert client.join(ROUND).contribute().outcome is Outcome.ADMITTED


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE pin SET name = 'Policy' WHERE name = 'policy'",
        "UPDATE pin SET value = x'80' WHERE name = 'server-log'",
        "UPDATE progress SET state = 'joinee' WHERE step = 'round'",
    ],
)
def test_a_damaged_state_is_told_by_its_code(world: World, damage: str) -> None:
    """SF531, and nothing is pinned anew or numbered twice."""
    world.open_round()
    world.open_round("round-2")
    with world.client("bay", mechanism=UNSAFE) as client:
        client.join(ROUND).contribute()
        client.join("round-2")
        with client.site.database.transaction() as tx:
            tx.connection.execute(text(damage))
    with pytest.raises(IntegrityError) as caught, world.client("bay", mechanism=UNSAFE) as client:
        client.join("round-2").contribute()
    assert caught.value.code == "SF531"
