"""Token buckets: a burst, then a steady drip; for each caller its own, and no memory for those who change names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.ids import MemberId
from semfed_secure.server import rates
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.rates import Buckets, Rates

LIMITS = LimitsSection(address_rate=10, address_burst=5, member_rate=1, member_burst=2)


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        """At zero."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """The present."""
        return self.seconds


def test_after_the_burst_one_waits_for_the_drip() -> None:
    """The wait is as long as it says: then, and not before, there is one more."""
    watch = Watch()
    buckets = Buckets(rate=4, burst=3, now=watch)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.25]
    watch.seconds = 0.24
    assert buckets.take("a") > 0
    watch.seconds = 0.25
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0, "another caller has a bucket of its own"


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 20), st.integers(1, 20))
def test_no_caller_ever_gets_more_than_burst_and_drip(pauses: list[float], rate: int, burst: int) -> None:
    """However it spreads its requests."""
    watch = Watch()
    buckets, taken = Buckets(rate=rate, burst=burst, now=watch), 0
    for pause in pauses:
        watch.seconds += pause
        taken += buckets.take("a") == 0
        assert taken <= burst + watch.seconds * rate + 1e-6


def test_ever_new_names_take_no_memory(monkeypatch) -> None:
    """The names that called longest ago are forgotten, not the busy ones."""
    monkeypatch.setattr(rates, "REMEMBERED", 10)
    buckets = Buckets(rate=1, burst=2, now=Watch())
    for number in range(100):
        buckets.take("busy")
        buckets.take(f"name-{number}")
    assert len(buckets._held) == 10
    assert buckets.take("busy") > 0


def test_a_member_is_held_to_its_rate_from_every_address() -> None:
    """Many addresses do not help it; and one address does not speak for all members behind it."""
    limits = Rates(LIMITS, now=Watch())
    bay, hill = MemberId("bay"), MemberId("hill")
    assert [limits.take(f"192.0.2.{number}", bay) == 0 for number in range(3)] == [True, True, False]
    assert limits.take("192.0.2.9", hill) == 0
    assert [limits.take("192.0.2.77", None) == 0 for _ in range(6)] == [True] * 5 + [False]
