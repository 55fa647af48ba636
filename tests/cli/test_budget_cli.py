"""`semfed budget`: what the ledger holds, what the policy leaves, how far that reaches, and what plans would cost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from semfed_secure import cli
from semfed_secure.audit.log import AuditLog
from semfed_secure.client.config import load_site_config
from semfed_secure.client.protection import sigma_of
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import BudgetExhausted, ExitCode
from semfed_secure.privacy.accountant import RdpCurve, epsilon_of, gaussian_rdp
from semfed_secure.privacy.budget import Budget, Charge
from semfed_secure.privacy.ledger import BudgetLedger
from semfed_secure.privacy.mechanisms import cost_of
from semfed_secure.storage import Database
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation

DELTA = Decimal("1e-6")
KEY = LogSigningKey.generate("first-bank.example/log")
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
    log = AuditLog(database, key=KEY, clock=clock, writer="first-bank")
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


# -- forecast and cost ----------------------------------------------------------------------------------------


def budget(capsys, *arguments):
    """Exit code, stdout, stderr of one command of the group."""
    code = cli.main(["budget", *map(str, arguments)])
    return code, *capsys.readouterr()


@pytest.fixture
def site_file(state):
    """The site file of that state, its ledger's first population being its own."""
    site = state.parent / "site.toml"
    site.write_text(SITE.replace('epsilon = "4"', 'epsilon = "1"'))
    (state.parent / "policy.yaml").write_text(POLICY)
    return site


def test_a_forecast_counts_what_the_ledger_will_cover(site_file, state, capsys):
    """Exactly `fits` further charges as configured are reserved, and the next is refused."""
    code, out, _ = budget(capsys, "forecast", "--config", site_file, "--json")
    document = json.loads(out)
    assert code == ExitCode.OK
    assert document["fits"] == min(line["fits"] for line in document["budgets"]) >= 1
    config = load_site_config(site_file)
    clock = FixedClock(datetime.now(UTC))
    database = Database.open(state / "site.db", kind="client")
    log = AuditLog(database, key=KEY, clock=clock, writer="first-bank")
    ledger = BudgetLedger(database, log, clock, actor="first-bank")
    budgets = [Budget(Period.LIFETIME, Decimal(8), DELTA), Budget(Period.MONTH, Decimal(4), Decimal("1e-7"))]
    for number in range(document["fits"] + 1):
        charge = Charge(
            idempotency_key=f"next-{number}",
            population="customers",
            unit=PrivacyUnit.ENTITY,
            relation=Relation.ADD_OR_REMOVE_ONE,
            purpose="another release",
            mechanism=Mechanism.RECORD_HISTOGRAM,
            parameters={"sigma": repr(sigma_of(config))},
            delta=DELTA,
            policy_digest="sha256:" + "00" * 32,
        )
        with pytest.raises(BudgetExhausted) if number == document["fits"] else nullcontext():
            ledger.reserve(charge, budgets)
    database.close()
    code, out, _ = budget(capsys, "forecast", "--config", site_file, "--json")
    lines = json.loads(out)["budgets"]
    assert min(line["fits"] for line in lines) == 0
    assert "warning" in {line["level"] for line in lines}


def test_a_forecast_says_when_the_budget_runs_out(site_file, state, capsys):
    """A site that spent its charge ten days ago goes on like that, until the lifetime budget is gone."""
    later = datetime.now(UTC) + timedelta(days=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("semfed_secure.clock.SystemClock.now", lambda _clock: later)
        code, out, _ = budget(capsys, "forecast", "--config", site_file, "--json")
        text = budget(capsys, "forecast", "--config", site_file)[1]
    assert code == ExitCode.OK
    lifetime = next(line for line in json.loads(out)["budgets"] if line["period"] == "lifetime")
    when = datetime.fromisoformat(lifetime["runs_out"])
    days = (when - later) / timedelta(days=1)
    at = {
        more: RdpCurve(tuple(value * (1 + more / 10) for value in gaussian_rdp(3).values))
        for more in (days - 0.1, days + 0.1)
    }
    assert [epsilon_of(curve, DELTA) <= 8 for curve in at.values()] == [True, False]
    for word in ("customers", "per entity", "rdp", "record_histogram", f"{when:%Y-%m-%d}", "as configured fit"):
        assert word in text


def test_a_forecast_without_a_rate_says_so(site_file, capsys):
    """A ledger of the same day has no rate; nothing is made up."""
    code, out, _ = budget(capsys, "forecast", "--config", site_file, "--json")
    assert code == ExitCode.OK
    assert {(line["rate_known"], line["runs_out"]) for line in json.loads(out)["budgets"]} == {(False, None)}


def test_a_cost_names_unit_relation_delta_scope_and_every_accountant(capsys):
    """The figures of the example, each with when it holds; the enforced one is never the least."""
    arguments = ["cost", "--mechanism", "gaussian", "--noise-multiplier", "50", "--count", "512", "--delta", "1e-6"]
    code, out, _ = budget(capsys, *arguments, "--json")
    document = json.loads(out)
    assert code == ExitCode.OK
    assert (document["unit"], document["relation"]) == ("entity", "add_or_remove_one")
    assert Decimal(document["delta"]) == DELTA
    assert "512 releases" in document["scope"]
    figures = {row["accountant"]: Decimal(row["epsilon"]) for row in document["epsilon"]}
    assert figures == {
        "rdp": Decimal("2.171844"),
        "zcdp": Decimal("2.169773"),
        "pld": Decimal("2.020586"),
        "closed form": Decimal("2.020586"),
    }
    assert [row["accountant"] for row in document["epsilon"] if row["enforced"]] == ["rdp"]
    text = budget(capsys, *arguments)[1]
    for word in ("per entity", "add_or_remove_one", "512 releases", "2.171844", "fixed before its first release"):
        assert word in text


@pytest.mark.parametrize(
    "arguments",
    [
        "--mechanism dp_sgd --noise-multiplier 1 --sample-rate 0.1 --steps 5",
        "--mechanism record_histogram --sigma 3",
    ],
)
def test_a_cost_is_what_the_ledger_would_charge(arguments, capsys):
    """The enforced figure equals the epsilon of the mechanism's own curve."""
    code, out, _ = budget(capsys, "cost", *arguments.split(), "--json")
    assert code == ExitCode.OK
    document = json.loads(out)
    parameters = {name: value for name, value in document["parameters"].items() if name != "count"}
    (enforced,) = [row["epsilon"] for row in document["epsilon"] if row["enforced"]]
    assert Decimal(enforced) == epsilon_of(cost_of(Mechanism(document["mechanism"]), parameters), DELTA)


@pytest.mark.parametrize(
    "arguments",
    [
        "--mechanism gaussian --noise-multiplier 0",
        "--mechanism gaussian --noise-multiplier nan",
        "--mechanism gaussian --noise-multiplier 1 --delta 1",
        "--mechanism gaussian --noise-multiplier 1 --delta 0",
        "--mechanism gaussian --noise-multiplier 1 --count 0",
        "--mechanism gaussian --noise-multiplier inf",
        "--mechanism gaussian --sigma 1",
        "--mechanism gaussian",
        "--mechanism dp_sgd --noise-multiplier 1 --sample-rate 1.1 --steps 5",
        "--mechanism dp_sgd --noise-multiplier 1 --sample-rate 0.1",
        "--mechanism record_histogram --sigma -1",
        "--mechanism record_histogram --sigma 3 --steps 5",
    ],
)
def test_a_hostile_cost_is_a_coded_refusal(arguments, capsys):
    """Exit 2 with SF141 or SF101, and no figure."""
    code, out, err = budget(capsys, "cost", *arguments.split())
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith(("semfed: [SF141]", "semfed: [SF101]"))
