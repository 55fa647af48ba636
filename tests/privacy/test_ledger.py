"""The ledger never overspends, never charges twice, never forgets, and never acts without an audit entry."""

import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from semfed_secure.audit.events import EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.errors import BudgetExhausted, IntegrityError
from semfed_secure.privacy.accountant import compose, epsilon_of, gaussian_rdp
from semfed_secure.privacy.budget import Budget
from semfed_secure.storage import ledger_rows
from semfed_secure.units import Mechanism, Period
from tests.privacy.sites import DELTA, Site, histogram, lifetime, room_for

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def site(tmp_path):
    """A site on a new SQLite database."""
    site = Site(tmp_path / "site.db")
    yield site
    site.database.close()


def in_child(work):
    """Fork a child that runs ``work``; returns its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def wait(children):
    """Wait for children to end, all well."""
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


# -- what a charge costs --------------------------------------------------------------------------------------


def test_a_charge_is_reserved_with_its_audit_entry(site):
    """A reserve writes the charge and one entry that names total, cost, remainder, policy and population."""
    row = site.ledger.reserve(histogram("bundle-1"), [lifetime("8")])
    assert (row.state, row.population, row.period) == ("reserved", "patients", "2025-03")
    (event,) = [event for event in site.events() if event.type is EventType.BUDGET_RESERVED]
    total = epsilon_of(gaussian_rdp("5"), DELTA)
    assert (
        Decimal(row.epsilon) == Decimal(event.privacy.epsilon) == Decimal(event.privacy.cost) == total == site.spent()
    )
    assert Decimal(event.privacy.remaining) == 8 - total
    assert (event.privacy.population, event.policy_digest) == ("patients", row.policy_digest)


def test_charges_compose_by_their_curves(site):
    """The total is the epsilon of the summed curves, reserved and committed alike, below the sum of the epsilons."""
    for number in range(3):
        site.ledger.reserve(histogram(f"b{number}"), [lifetime("8")])
    site.ledger.commit("b1")
    total = epsilon_of(compose([gaussian_rdp("5")] * 3), DELTA)
    assert site.spent() == total < 3 * epsilon_of(gaussian_rdp("5"), DELTA)


def test_over_budget_is_refused_with_what_remains(site):
    """SF202 names the remainder and the cost, charges nothing, and leaves the entry budget.refused."""
    budget = room_for(2)
    for number in range(2):
        site.ledger.reserve(histogram(f"b{number}"), [budget])
    before = site.spent()
    with pytest.raises(BudgetExhausted, match="SF202") as caught:
        site.ledger.reserve(histogram("b2"), [budget])
    assert Decimal(caught.value.fields["remaining"]) == budget.epsilon - before == 0
    assert Decimal(caught.value.fields["cost"]) == epsilon_of(compose([gaussian_rdp("5")] * 3), DELTA) - before
    assert site.spent() == before
    refused = site.events()[-1]
    assert (refused.type, refused.outcome, refused.codes) == (EventType.BUDGET_REFUSED, "denied", ("SF202",))
    assert Decimal(refused.privacy.epsilon) == before
    assert site.agrees()


def test_the_very_last_bit_is_usable_and_no_more(site):
    """A charge that meets the budget exactly is covered; a millionth less is not."""
    exact = epsilon_of(gaussian_rdp("5"), DELTA)
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(histogram("b"), [lifetime(exact - Decimal("0.000001"))])
    site.ledger.reserve(histogram("b"), [lifetime(exact)])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["0.8", "1.5", "3", "9", "40"]), max_size=12), st.sampled_from(["1", "3", "8"]))
def test_whatever_is_asked_the_budget_is_never_exceeded(tmp_path_factory, sigmas, epsilon):
    """For any sequence of charges the lifetime epsilon stays within the budget."""
    site = Site(tmp_path_factory.mktemp("ledger") / "site.db")
    for number, sigma in enumerate(sigmas):
        with suppress(BudgetExhausted):
            site.ledger.reserve(histogram(f"b{number}", sigma), [lifetime(epsilon)])
    assert site.spent() <= Decimal(epsilon)
    assert site.agrees()
    site.database.close()


def test_no_noise_needs_an_infinite_budget(site):
    """A release without noise is refused by every finite budget and, where permitted, makes the total infinite."""
    raw = histogram("b", mechanism=Mechanism.UNSAFE_NO_NOISE, parameters={}, population="synthetic-cards")
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(raw, [lifetime("1000")])
    site.ledger.reserve(raw, [lifetime("Infinity")])
    assert site.spent("synthetic-cards") == Decimal("Infinity")
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(replace(raw, idempotency_key="c"), [lifetime("8")])
    site.ledger.reserve(replace(raw, idempotency_key="c"), [lifetime("Infinity")])


# -- populations and periods ----------------------------------------------------------------------------------


def test_a_renamed_data_set_of_the_same_people_does_not_refill(site):
    """The budget belongs to the population: another extract, purpose or key meets the same spending."""
    budget = room_for(1)
    site.ledger.reserve(histogram("b1", purpose="training on extract-2024"), [budget])
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(histogram("b2", purpose="training on extract-2025"), [budget])


def test_populations_do_not_share_a_budget(site):
    """Other people have their own spending."""
    budget = room_for(1)
    site.ledger.reserve(histogram("b1"), [budget])
    site.ledger.reserve(histogram("b2", population="staff"), [budget])
    assert site.spent() == site.spent("staff") == budget.epsilon
    assert site.spent("nobody") == 0


def test_lifetime_epsilon_composes_over_periods(site):
    """A new month, quarter and year start at zero; the lifetime total goes on and refuses."""
    month = Budget(Period.MONTH, room_for(1).epsilon, DELTA)
    site.ledger.reserve(histogram("march"), [room_for(2), month])
    with pytest.raises(BudgetExhausted) as caught:
        site.ledger.reserve(histogram("march-2"), [room_for(2), month])
    assert caught.value.fields["period"] == "month"
    site.clock.advance(86_400)  # the first of April: another month and quarter, the same year
    state = site.ledger.snapshot("patients", delta=DELTA)
    one = month.epsilon
    assert [state.spent[period] for period in (Period.MONTH, Period.QUARTER, Period.YEAR, Period.LIFETIME)] == [
        0, 0, one, one,
    ]  # fmt: skip
    site.ledger.reserve(histogram("april"), [room_for(2), month])
    site.clock.advance(400 * 86_400)
    with pytest.raises(BudgetExhausted) as caught:
        site.ledger.reserve(histogram("next-year"), [room_for(2), month])
    assert caught.value.fields["period"] == "lifetime"
    assert site.ledger.snapshot("patients", delta=DELTA).spent[Period.YEAR] == 0
    assert site.spent() == room_for(2).epsilon


def test_a_clock_that_steps_back_does_not_reopen_a_period(site):
    """After a step back, charges still fall into the newest period that has a charge."""
    month = Budget(Period.MONTH, room_for(1).epsilon, DELTA)
    site.ledger.reserve(histogram("march"), [lifetime("8"), month])
    site.clock.advance(-40 * 86_400)
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(histogram("february"), [lifetime("8"), month])


def test_a_preview_spends_nothing(site):
    """A snapshot with a charge added equals the snapshot after that charge, and adds it once only."""
    charge = histogram("b1", "2")
    preview = site.ledger.snapshot("patients", delta=DELTA, adding=charge)
    assert site.charges() == []
    site.ledger.reserve(charge, [lifetime("8")])
    assert site.ledger.snapshot("patients", delta=DELTA) == preview
    assert site.ledger.snapshot("patients", delta=DELTA, adding=charge) == preview


# -- once, whatever happens -----------------------------------------------------------------------------------


def test_the_same_act_is_charged_once(site):
    """Reserving and committing again returns the same charge, costs nothing, leaves no entry; budget is not asked."""
    first = site.ledger.reserve(histogram("b1"), [room_for(1)])
    assert site.ledger.reserve(histogram("b1"), [room_for(1)]) == first
    done = site.ledger.commit("b1")
    assert done.state == "committed"
    assert site.ledger.commit("b1") == site.ledger.reserve(histogram("b1"), [room_for(1)]) == done
    assert len(site.charges()) == 1
    assert site.agrees()


@pytest.mark.parametrize("changes", [{"parameters": {"sigma": "4"}}, {"population": "staff"}, {"purpose": "other"}])
def test_a_key_that_stands_for_another_act_is_refused(site, changes):
    """The same key with other parameters or population is SF511: one of the two acts would go unpaid."""
    site.ledger.reserve(histogram("b1"), [lifetime("8")])
    with pytest.raises(IntegrityError, match="SF511"):
        site.ledger.reserve(histogram("b1", **changes), [lifetime("8")])
    assert len(site.charges()) == 1


def test_committing_what_was_never_reserved_is_refused(site):
    """A commit without its reserve is SF511."""
    with pytest.raises(IntegrityError, match="SF511"):
        site.ledger.commit("b1")


@pytest.mark.parametrize("column", ["rdp", "epsilon", "period"])
def test_an_edited_charge_is_noticed(site, column):
    """A row whose parts disagree is SF511 wherever it counts."""
    site.ledger.reserve(histogram("b1"), [lifetime("8")])
    with site.database.transaction() as tx:
        tx.connection.execute(text(f"UPDATE ledger_charge SET {column} = '0.1'"))
    with pytest.raises(IntegrityError, match="SF511"):
        site.spent()
    with pytest.raises(IntegrityError, match="SF511"):
        site.ledger.reserve(histogram("b2"), [lifetime("8")])


def test_without_audit_nothing_is_reserved(site, monkeypatch):
    """If the entry cannot be written the charge is not either, and the budget is as before."""

    def full(*_):
        raise IntegrityError("SF502", "the disk is full")

    monkeypatch.setattr(site.log, "append_all", full)
    with pytest.raises(IntegrityError, match="SF502"):
        site.ledger.reserve(histogram("b1"), [lifetime("8")])
    monkeypatch.undo()
    assert site.charges() == []
    assert site.agrees()
    site.ledger.reserve(histogram("b1"), [lifetime("8")])
    monkeypatch.setattr(site.log, "append_all", full)
    with pytest.raises(IntegrityError, match="SF502"):
        site.ledger.commit("b1")
    monkeypatch.undo()
    assert site.charges()[0].state == "reserved"
    assert site.agrees()


def test_a_joined_transaction_that_fails_takes_charge_and_entry_with_it(site):
    """Charge and entry belong to the caller's transaction: outbox, charge and audit stand or fall together."""

    def act():
        with site.database.transaction() as tx:
            site.ledger.reserve(histogram("b1"), [lifetime("8")], tx)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    assert site.charges() == []
    assert site.agrees()
    with site.database.transaction() as tx:
        site.ledger.reserve(histogram("b1"), [lifetime("8")], tx)
        site.ledger.commit("b1", tx)
        assert site.ledger.snapshot("patients", delta=DELTA, tx=tx).charges == 1
    assert site.agrees()


def test_a_refusal_in_a_joined_transaction_is_recorded_afterwards(site):
    """The caller's rollback takes nothing from the record: `record_refusal` appends it."""
    charge = histogram("b1", "0.5")
    with pytest.raises(BudgetExhausted) as caught, site.database.transaction() as tx:
        site.ledger.reserve(charge, [lifetime("1")], tx)
    site.ledger.record_refusal(charge, caught.value)
    assert [event.type for event in site.events()] == [EventType.BUDGET_REFUSED]


POINTS = {
    "before the charge is written": (ledger_rows, "insert_charge", "before", 0),
    "between charge and entry": (ledger_rows, "insert_charge", "after", 0),
    "between entry and transaction end": (AuditLog, "append", "after", 0),
    "between reserve and commit": (ledger_rows, "mark_committed", "before", 1),
    "between mark and its entry": (ledger_rows, "mark_committed", "after", 1),
    "after both": (None, "", "", 1),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_any_two_steps_a_charge_is_kept_and_never_doubled(tmp_path, monkeypatch, point):
    """Kill -9 at each step: charge and entry agree, a durable charge survives, and resuming charges once."""
    owner, name, when, durable = POINTS[point]
    site = Site(tmp_path / "site.db")

    def act():
        site.ledger.reserve(histogram("b1"), [room_for(1)])
        site.ledger.commit("b1")

    def die(real):
        def dying(*args, **kwargs):
            if when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return dying

    def child():
        if owner is not None:
            monkeypatch.setattr(owner, name, die(getattr(owner, name)))
        act()
        os.kill(os.getpid(), signal.SIGKILL)

    _, status = os.waitpid(in_child(child), 0)
    assert os.WIFSIGNALED(status)
    assert len(site.charges()) == durable
    assert site.agrees()
    act()
    assert [row.state for row in site.charges()] == ["committed"]
    assert site.agrees()
    with pytest.raises(BudgetExhausted):
        site.ledger.reserve(histogram("b2"), [room_for(1)])
    site.database.close()


def test_killed_at_random_charges_are_kept_and_never_doubled(tmp_path):
    """Killed at any moment, many times over, the same work always ends in the same charges, each with its entry."""
    site, keys, dice = Site(tmp_path / "site.db"), [f"b{number}" for number in range(40)], random.Random(7)

    def work():
        for key in keys:
            site.ledger.reserve(histogram(key, "60"), [lifetime("8")])
            site.ledger.commit(key)

    kept: list[str] = []
    for _ in range(25):
        child = in_child(work)
        time.sleep(dice.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        now = [row.idempotency_key for row in site.charges()]
        assert now[: len(kept)] == kept
        assert site.agrees()
        kept = now
    wait([in_child(work)])
    assert [row.idempotency_key for row in site.charges()] == keys
    assert site.agrees()
    assert site.spent() == epsilon_of(compose([gaussian_rdp("60")] * 40), DELTA)
    site.database.close()


def test_processes_racing_for_the_last_bit_never_exceed_it(database_url):
    """Six processes ask for sixty charges where twenty fit: exactly twenty are granted, each with its entry."""
    site, budget = Site(database_url), room_for(20)

    def ask(name):
        for number in range(10):
            try:
                site.ledger.reserve(histogram(f"{name}-{number}"), [budget])
            except BudgetExhausted:
                continue

    wait([in_child(lambda name=name: ask(name)) for name in range(6)])
    assert len(site.charges()) == 20
    assert site.spent() == budget.epsilon
    assert site.agrees()
    assert [event.type for event in site.events()].count(EventType.BUDGET_REFUSED) == 40
    site.database.close()


def test_processes_racing_with_one_key_charge_once(database_url):
    """Six processes that resume the same act at once pay for it once."""
    site = Site(database_url)

    def act():
        site.ledger.reserve(histogram("bundle"), [room_for(1)])
        site.ledger.commit("bundle")

    wait([in_child(act) for _ in range(6)])
    assert [row.state for row in site.charges()] == ["committed"]
    assert site.agrees()
    site.database.close()
