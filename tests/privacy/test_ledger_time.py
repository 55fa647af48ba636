"""Neither a clock that moves nor a copy that is put back refills a budget without being noticed."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import FixedClock
from semfed_secure.errors import BudgetExhausted, IntegrityError
from semfed_secure.privacy.accountant import compose, epsilon_of, gaussian_rdp
from semfed_secure.privacy.budget import Budget, period_name
from semfed_secure.storage import ledger_rows
from semfed_secure.units import Period
from tests.privacy.sites import DELTA, START, Site, histogram, lifetime, room_for

POLICIES = {
    period: Budget(period, room_for(count).epsilon, DELTA)
    for period, count in {Period.MONTH: 1, Period.QUARTER: 2, Period.YEAR: 3, Period.LIFETIME: 5}.items()
}
HISTORY = [histogram(f"b{number}") for number in range(4)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-500, 500), min_size=1, max_size=10))
def test_wherever_the_clock_goes_no_period_gets_more_than_its_budget(tmp_path_factory, days):
    """Forward, back, and forward again: time in the ledger never falls, and each period's charges fit its budget."""
    site = Site(tmp_path_factory.mktemp("ledger") / "site.db", FixedClock(START))
    for number, step in enumerate(days):
        site.clock.advance(step * 86_400)
        with suppress(BudgetExhausted):
            site.ledger.reserve(histogram(f"b{number}"), list(POLICIES.values()))
    rows = site.charges()
    assert [row.created_at_ms for row in rows] == sorted(row.created_at_ms for row in rows)
    for period, budget in POLICIES.items():
        for name in {period_name(period, row.period) for row in rows}:
            inside = sum(period_name(period, row.period) == name for row in rows)
            assert epsilon_of(compose([gaussian_rdp("5")] * inside), DELTA) <= budget.epsilon
    site.database.close()


@pytest.mark.parametrize("forward", [1, 40, 400])
def test_a_clock_that_went_ahead_and_came_back_refills_nothing(tmp_path, forward):
    """What was spent in a period that had not begun is spent in it, now and when it comes; the old one stays over."""
    site = Site(tmp_path / "site.db", FixedClock(START))
    month = [lifetime("8"), Budget(Period.MONTH, room_for(1).epsilon, DELTA)]
    site.ledger.reserve(histogram("march"), month)
    site.clock.advance(forward * 86_400)
    site.ledger.reserve(histogram("ahead"), month)
    site.clock.advance(-forward * 86_400)
    for back_then in (0, forward):
        site.clock.advance(back_then * 86_400)
        with pytest.raises(BudgetExhausted) as refused:
            site.ledger.reserve(histogram(f"again-{back_then}"), month)
        assert refused.value.fields["period"] == "month"
    assert site.spent() == room_for(2).epsilon
    site.database.close()


def test_periods_and_populations_are_kept_apart_and_the_lifetime_is_always_among_them(tmp_path):
    """Two populations under two policies over two months: each has its own periods, and both their lifetime."""
    site = Site(tmp_path / "site.db", FixedClock(START))
    strict, loose = [room_for(2), POLICIES[Period.MONTH]], [room_for(3)]
    site.ledger.reserve(histogram("p1"), strict)
    site.ledger.reserve(histogram("s1", population="staff", policy_digest="sha256:" + "cd" * 32), loose)
    site.clock.advance(86_400)
    site.ledger.reserve(histogram("p2"), strict)
    for population, charges in (("patients", 2), ("staff", 1)):
        state = site.ledger.snapshot(population, delta=DELTA)
        assert (state.charges, set(state.spent)) == (charges, set(Period))
        assert state.spent[Period.LIFETIME] == room_for(charges).epsilon
    with pytest.raises(BudgetExhausted) as refused:
        site.ledger.reserve(histogram("p3"), strict)
    assert refused.value.fields["period"] in {"month", "lifetime"}
    site.database.close()


def test_a_new_policy_with_more_budget_does_not_forget_what_was_spent(tmp_path):
    """The budget is the policy's, the spending the population's: a wider policy covers only what it adds."""
    site = Site(tmp_path / "site.db")
    site.ledger.reserve(histogram("b1"), [room_for(1)])
    site.ledger.reserve(histogram("b2", policy_digest="sha256:" + "ef" * 32), [room_for(2)])
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(histogram("b3", policy_digest="sha256:" + "ef" * 32), [room_for(2)])
    site.database.close()


# -- restored copies --------------------------------------------------------------------------------------------------


@pytest.fixture
def restored(tmp_path):
    """A site with two charges, a copy of its database, and two more charges and a checkpoint that somebody kept."""
    site = Site(tmp_path / "site.db", FixedClock(START))
    for charge in HISTORY[:2]:
        site.ledger.reserve(charge, [lifetime("100")])
    site.database.close()
    shutil.copy(tmp_path / "site.db", tmp_path / "backup.db")
    site = Site(tmp_path / "site.db", FixedClock(START + timedelta(days=1)))
    for charge in HISTORY[2:]:
        site.ledger.reserve(charge, [lifetime("100")])
    yield site, tmp_path / "backup.db", site.log.checkpoint()
    site.database.close()


def test_a_ledger_restored_alone_is_detected_by_its_own_log(restored):
    """The older charges under the newer log are SF511 at the next look, without anybody's help."""
    site, backup, _ = restored
    with site.database.transaction() as tx:
        tx.connection.execute(text("DELETE FROM ledger_charge"))
        old = Site(backup)
        for row in old.charges():
            ledger_rows.insert_charge(tx, row)
        old.database.close()
    with pytest.raises(IntegrityError, match="SF511"):
        site.ledger.reserve(histogram("next"), [lifetime("100")])
    with pytest.raises(IntegrityError, match="SF511"):
        site.spent()


def test_a_log_restored_alone_is_detected_by_the_ledger(restored):
    """The newer charges over the older log are SF511 too: its newest entry names fewer."""
    site, backup, _ = restored
    old = Site(backup)
    with old.database.transaction() as tx:
        for row in site.charges()[2:]:
            ledger_rows.insert_charge(tx, row)
    with pytest.raises(IntegrityError, match="SF511"):
        old.spent()
    old.database.close()


def test_a_ledger_restored_with_its_log_is_detected_by_a_checkpoint_that_others_kept(restored):
    """Nothing inside disagrees: the site itself cannot tell; whoever holds a later checkpoint can, by SF504."""
    site, backup, checkpoint = restored
    old = Site(backup)
    assert old.spent() == room_for(2).epsilon < site.spent()
    old.database.close()
    verify_log(backup, key=None)
    with pytest.raises(IntegrityError, match="SF504"):
        verify_log(backup, key=None, known=[checkpoint])


def test_a_restored_site_that_went_on_is_a_second_history(restored):
    """New charges after the restore do not hide it: the kept checkpoint is of another log, SF505."""
    _, backup, checkpoint = restored
    old = Site(backup, FixedClock(START + timedelta(days=2)))
    for number in range(8):
        old.ledger.reserve(histogram(f"second-{number}", "50"), [lifetime(Decimal(100))])
    old.database.close()
    with pytest.raises(IntegrityError, match="SF505"):
        verify_log(backup, key=None, known=[checkpoint])
