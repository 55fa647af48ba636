"""Released bundles are kept no longer than the policy allows: their bytes go when the site is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.audit.verify import verify_log
from semfed_secure.client.progress import RoundState
from tests.client.world import ROUND, UNSAFE, World, events, outbox

if TYPE_CHECKING:
    from semfed_secure.client.session import Client

DAY = 86_400
NINETY_DAYS = {"limits": {"retention": {"bundle_days": 90}}}


def opened(world: World, policy: Any = NINETY_DAYS) -> Client:
    """The site, under a policy."""
    return world.client(mechanism=UNSAFE, policy=policy)


def released(world: World, policy: Any = NINETY_DAYS) -> bytes:
    """What the site contributed to a round of votes, which was answered."""
    world.open_round()
    with opened(world, policy) as client:
        client.join(ROUND).contribute()
        return outbox(client)[0].body


def test_bytes_of_an_answered_bundle_are_deleted_when_their_time_is_over(world: World) -> None:
    """Not a second before, and once; receipt and digest stay, and the log says what was deleted."""
    body = released(world)
    world.clock.advance(90 * DAY - 1)
    with opened(world) as client:
        before = outbox(client)[0]
        assert before.body == body
    world.clock.advance(1)
    for _ in range(2):
        with opened(world) as client:
            after = outbox(client)[0]
            assert (after.body, after.state, after.receipt) == (b"", "answered", before.receipt)
            assert events(client).count(("bundle.deleted", "success")) == 1
            state = client.site.config.site.state
            verify_log(state, key=client.site.keys.log.public.encode())
            assert body[-200:] not in b"".join(file.read_bytes() for file in state.glob("site.db*"))


def test_a_bundle_that_may_have_to_be_sent_again_is_kept_until_its_round_is_over(world: World) -> None:
    """Without an answer the same bytes are sent once more; of an aborted round nobody asks for them."""
    body = released(world)
    with opened(world) as client, client.site.database.transaction() as tx:
        tx.connection.exec_driver_sql("UPDATE outbox SET state = 'sent', receipt = NULL")
    world.clock.advance(91 * DAY)
    with opened(world) as client:
        assert outbox(client)[0].body == body
        with client.site.database.transaction() as tx:
            tx.connection.exec_driver_sql(f"UPDATE progress SET state = '{RoundState.ABORTED}' WHERE step = 'round'")
    with opened(world) as client:
        assert outbox(client)[0].body == b""


def test_without_such_a_limit_nothing_is_deleted(world: World) -> None:
    """However old it is."""
    body = released(world, {})
    world.clock.advance(9_000 * DAY)
    with opened(world, {}) as client:
        assert outbox(client)[0].body == body
