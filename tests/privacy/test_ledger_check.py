"""A ledger that is not the one which the audit log names charges nothing more, and says nothing that would pass."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from semfed_secure.audit.events import EventType
from semfed_secure.errors import IntegrityError
from semfed_secure.privacy import ledger_check
from semfed_secure.storage import ledger_rows, log_rows
from tests.privacy.sites import Site, histogram, lifetime

BUDGET = [lifetime("100")]
HIDDEN = (
    "DELETE FROM ledger_charge",
    "DELETE FROM ledger_charge WHERE idempotency_key = 'b0'",
    "DELETE FROM ledger_charge WHERE idempotency_key = 'b2'",
    "UPDATE ledger_charge SET population = 'nobody'",
    "UPDATE ledger_charge SET relation = 'replace_one' WHERE idempotency_key = 'b1'",
    "UPDATE ledger_charge SET period = '2024-12', created_at_ms = created_at_ms - 100 * 86400000",
    "UPDATE ledger_charge SET (rdp, epsilon) = (SELECT rdp, epsilon FROM ledger_charge WHERE population = 'staff')",
)


@pytest.fixture
def site(tmp_path):
    """A site with three charges on one population and one, small, on another."""
    site = Site(tmp_path / "site.db")
    site.ledger.reserve(histogram("small", "50", population="staff"), BUDGET)
    for number in range(3):
        site.ledger.reserve(histogram(f"b{number}"), BUDGET)
        site.ledger.commit(f"b{number}")
    yield site
    site.database.close()


def change(site, statement):
    """Do to the ledger what no code of ours does."""
    with site.database.transaction() as tx:
        tx.connection.execute(text(statement))


@pytest.mark.parametrize("statement", HIDDEN)
def test_charges_that_were_removed_or_changed_are_noticed(site, statement):
    """SF511 before anything more is charged, in `reserve` and `snapshot` alike, with an entry that says why."""
    change(site, statement)
    before = site.charges()
    for act in (lambda: site.ledger.reserve(histogram("next"), BUDGET), site.spent):
        with pytest.raises(IntegrityError, match="SF511"):
            act()
        entry = site.events()[-1]
        assert (entry.type, entry.outcome, entry.codes) == (EventType.BUDGET_RESERVED, "failed", ("SF511",))
        assert (entry.target, "audit log" in entry.reason) == ("patients", True)
    assert site.charges() == before


@pytest.mark.parametrize("population", ["patients", "visitors"])
def test_a_charge_that_the_log_does_not_know_is_noticed(site, population):
    """A row that nobody reserved is no charge of ours, also where there is no other."""
    with site.database.transaction() as tx:
        (row,) = ledger_rows.charges_of(tx, population="staff", unit="entity", relation="add_or_remove_one")
        ledger_rows.insert_charge(tx, replace(row, idempotency_key="forged", population=population))
    with pytest.raises(IntegrityError, match="SF511"):
        site.spent(population)


def test_a_ledger_that_was_set_back_under_its_log_is_noticed(site):
    """The charges of an older copy are too few for the log of today, though every one of them is genuine."""
    change(site, "CREATE TABLE older AS SELECT * FROM ledger_charge")
    site.ledger.reserve(histogram("b3"), BUDGET)
    site.ledger.reserve(histogram("b4"), BUDGET)
    change(site, "DELETE FROM ledger_charge")
    change(site, "INSERT INTO ledger_charge SELECT * FROM older")
    with pytest.raises(IntegrityError, match="SF511"):
        site.ledger.reserve(histogram("b5"), BUDGET)


def test_other_accounts_of_the_same_ledger_go_on(site):
    """What was done to one population says nothing about another."""
    change(site, "DELETE FROM ledger_charge WHERE population = 'patients'")
    site.ledger.reserve(histogram("more", population="staff"), BUDGET)
    site.ledger.reserve(histogram("first", population="visitors"), BUDGET)
    with pytest.raises(IntegrityError, match="SF511"):
        site.spent()


def test_a_resumed_act_is_held_to_the_log_too(site):
    """A standing charge does not excuse the ones that are gone."""
    change(site, "DELETE FROM ledger_charge WHERE idempotency_key = 'b0'")
    with pytest.raises(IntegrityError, match="SF511"):
        site.ledger.reserve(histogram("b2"), BUDGET)


def test_the_log_is_read_no_further_than_the_newest_charge(site, monkeypatch):
    """Many entries before it cost nothing; many after it are read page by page."""
    monkeypatch.setattr(ledger_check, "_PAGE", 4)
    read = []
    entries = log_rows.read_entries

    def counting(tx, start, stop):
        read.append(stop - start)
        return entries(tx, start, stop)

    monkeypatch.setattr(log_rows, "read_entries", counting)
    site.spent()
    assert sum(read) <= 4
    for number in range(20):
        site.ledger.reserve(histogram(f"s{number}", "500", population="staff"), BUDGET)
    read.clear()
    site.spent()
    assert 20 <= sum(read) <= 28
