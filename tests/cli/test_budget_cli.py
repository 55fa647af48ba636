"""`semfed budget show` tells what the ledger holds, and what the policy leaves."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from semfed_secure import cli
from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ExitCode
from semfed_secure.privacy.accountant import epsilon_of, gaussian_rdp
from semfed_secure.privacy.budget import Budget, Charge
from semfed_secure.privacy.ledger import BudgetLedger
from semfed_secure.storage import Database
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation

DELTA = Decimal("1e-6")
SITE = """
[site]
federation = "banks"
member = "first-bank"
state = "state"
[identity]
keys = "keys"
[federation]
root = "root.cbor"
server_id = "server"
[server]
url = "http://127.0.0.1:8100"
[policy]
file = "policy.yaml"
[data]
dataset = "cards"
population = "customers"
classification = "npi"
population_bound = 5000
[model]
kind = "openai"
source = "http://127.0.0.1:8200/v1"
name = "scorer"
family = "scorer"
[privacy]
mechanism = "record_histogram"
epsilon = "4"
delta = "1e-6"
"""
POLICY = """
format: semfed/policy/1
id: first-bank
version: 1.0.0
title: First Bank
default: deny
domain: finance
owner: First Bank
extends: ["pack:finance/glba"]
grants:
  datasets:
    - id: cards
      population: customers
      classification: npi
      budgets:
        - {period: lifetime, epsilon: "8", delta: "1e-6"}
        - {period: month, epsilon: "4", delta: "1e-7"}
"""


@pytest.fixture
def state(tmp_path):
    """The state directory of a site that released one histogram for each of two populations, one committed."""
    directory = tmp_path / "state"
    directory.mkdir()
    clock = FixedClock(datetime.now(UTC))
    database = Database.open(directory / "site.db", kind="client")
    log = AuditLog(database, key=LogSigningKey.generate("first-bank.example/log"), clock=clock, writer="first-bank")
    ledger = BudgetLedger(database, log, clock, actor="first-bank")
    for population in ("customers", "staff"):
        charge = Charge(
            idempotency_key=f"release-{population}",
            population=population,
            unit=PrivacyUnit.ENTITY,
            relation=Relation.ADD_OR_REMOVE_ONE,
            purpose="release of round-1",
            mechanism=Mechanism.RECORD_HISTOGRAM,
            parameters={"sigma": "3"},
            delta=DELTA,
            policy_digest="sha256:" + "00" * 32,
        )
        ledger.reserve(charge, [Budget(Period.LIFETIME, Decimal(8), DELTA)])
    ledger.commit("release-staff")
    database.close()
    return directory


def run(capsys, *arguments):
    """Exit code, stdout, stderr of one command."""
    code = cli.main(["budget", "show", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_a_state_directory_shows_every_population(state, capsys):
    """Spent epsilons per period, with delta, unit, relation and accountant, and what is not committed."""
    code, out, _ = run(capsys, "--state", state, "--json")
    document = json.loads(out)
    spent = str(epsilon_of(gaussian_rdp(3), DELTA))
    assert code == ExitCode.OK
    assert document["accountant"] == "rdp"
    first, second = document["ledgers"]
    assert (first["population"], first["unit"], first["relation"]) == ("customers", "entity", "add_or_remove_one")
    assert (first["charges"], first["uncommitted"], second["uncommitted"]) == (1, 1, 0)
    assert [line["period"] for line in first["periods"]] == ["lifetime", "year", "quarter", "month"]
    assert all(line["epsilon_spent"] == spent and Decimal(line["delta"]) == DELTA for line in first["periods"])
    assert all(line["epsilon_budget"] is None for line in first["periods"])


def test_a_site_file_adds_its_policys_budgets(state, capsys):
    """Each budget at its own delta, and what it leaves, for the population that the site file names only."""
    site = state.parent / "site.toml"
    site.write_text(SITE)
    (state.parent / "policy.yaml").write_text(POLICY)
    code, out, _ = run(capsys, "--config", site, "--json")
    assert code == ExitCode.OK
    own, other = json.loads(out)["ledgers"]
    lines = {line["period"]: line for line in own["periods"]}
    for period, limit, delta in (("lifetime", 8, "1e-6"), ("month", 4, "1e-7")):
        spent = epsilon_of(gaussian_rdp(3), delta)
        assert Decimal(lines[period]["epsilon_spent"]) == spent
        assert Decimal(lines[period]["epsilon_budget"]) == limit
        assert Decimal(lines[period]["epsilon_remaining"]) == limit - spent
    assert lines["year"]["epsilon_budget"] is None
    assert all(line["epsilon_budget"] is None for line in other["periods"])


def test_text_says_what_an_epsilon_is_of(state, capsys):
    """A person reads population, unit, relation, accountant and delta beside each figure."""
    code, out, _ = run(capsys, "--state", state / "site.db")
    assert code == ExitCode.OK
    for word in ("customers", "per entity", "add_or_remove_one", "rdp", "0.000001", "lifetime", "not committed yet"):
        assert word in out


def test_showing_changes_nothing(state, capsys):
    """The database holds the same bytes before and after."""
    before = (state / "site.db").read_bytes()
    run(capsys, "--state", state)
    assert (state / "site.db").read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["--config", "a.toml", "--state", "b"], ["--state", "/nonexistent/place"]])
def test_a_wrong_call_is_a_coded_refusal(arguments, capsys):
    """Neither, both, or a place without a ledger: exit 2 and a code, no traceback."""
    code, _, err = run(capsys, *arguments)
    assert code == ExitCode.USAGE
    assert err.startswith("semfed: [SF1")


def test_an_edited_ledger_is_exit_12(state, capsys):
    """A ledger that does not add up is an integrity failure, not a figure."""
    from sqlalchemy import text

    database = Database.open(state / "site.db", kind="client")
    with database.transaction() as tx:
        tx.connection.execute(text("UPDATE ledger_charge SET epsilon = '0.000001'"))
    database.close()
    code, _, err = run(capsys, "--state", state)
    assert code == ExitCode.INTEGRITY
    assert "SF511" in err


@pytest.mark.parametrize("gone", ["", "WHERE population = 'staff'"])
def test_a_ledger_that_is_not_the_one_of_the_log_is_not_shown(state, capsys, gone):
    """Exit 12 with SF511, also where nothing is left that could be shown."""
    with sqlite3.connect(state / "site.db") as database:
        database.execute(f"DELETE FROM ledger_charge {gone}")
    code, out, error = run(capsys, "--state", state)
    assert (code, out) == (ExitCode.INTEGRITY, "")
    assert "SF511" in error
