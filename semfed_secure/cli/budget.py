"""``semfed budget``: what a site has spent of its privacy budget, how far it reaches, and what plans would cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.cli.budget_cost import cost
from semfed_secure.cli.budget_forecast import forecast
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.client.config import load_site_config
from semfed_secure.client.site import DATABASE_FILE, read_policy
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.accountant import ACCOUNTANT
from semfed_secure.privacy.ledger_check import require_all_logged
from semfed_secure.privacy.ledger_entries import state_of
from semfed_secure.privacy.outlook import level_of
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import ChargeRow, list_charges
from semfed_secure.units import Period, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from semfed_secure.client.config import SiteConfig
    from semfed_secure.policy.document import BudgetGrant
    from semfed_secure.privacy.budget import BudgetState
    from semfed_secure.privacy.outlook import Level

SiteOption = Annotated[
    Path | None, typer.Option("--config", help="The site file: shows its policy's budgets too.", show_default=False)
]
StateOption = Annotated[
    Path | None, typer.Option("--state", help="A site's state directory, or its database.", show_default=False)
]
app = typer.Typer(
    help="Show what a site has spent, how far its budget reaches, and what plans would cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(forecast)
app.command()(cost)


@app.command()
def show(
    config: SiteOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every population's spending, by period and over its lifetime; needs no keys and changes nothing.

    Charges that are not the ones which the site's audit log names, and another policy than the pinned one, end in exit
    12.
    """
    require_one(config, state)
    site = None if config is None else load_site_config(config)
    directory = state if site is None else site.site.state
    assert directory is not None  # one of the two was given
    ledgers = list(_ledgers(*_read(directory, site), SystemClock().now()))
    emit(
        {"accountant": ACCOUNTANT, "ledgers": [ledger.document() for ledger in ledgers]},
        as_json=as_json,
        text=lambda: "\n\n".join(ledger.text() for ledger in ledgers) or "no population has spent anything",
    )


def require_one(config: Path | None, state: Path | None) -> None:
    """A site is named by its file or by its state, not by both.

    Raises:
        ConfigurationError: ``SF101``.
    """
    if (config is None) == (state is None):
        raise ConfigurationError("SF101", "exactly one of --config and --state is expected")


@dataclass(frozen=True, slots=True)
class _Line:
    """One period of one population; ``limit`` and ``remaining`` only where a policy says so."""

    period: Period
    delta: Decimal
    spent: Decimal
    limit: Decimal | None

    @property
    def remaining(self) -> Decimal | None:
        if self.limit is None:
            return None
        return max(Decimal(0), self.limit - self.spent) if self.spent.is_finite() else Decimal(0)

    @property
    def level(self) -> Level | None:
        return None if self.limit is None else level_of(self.spent, self.limit)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """One population's account, as it is shown."""

    population: str
    unit: PrivacyUnit
    relation: Relation
    charges: int
    uncommitted: int
    lines: tuple[_Line, ...]

    def document(self) -> dict[str, object]:
        lines = [
            {
                "period": line.period,
                "epsilon_spent": str(line.spent),
                "delta": str(line.delta),
                "epsilon_budget": None if line.limit is None else str(line.limit),
                "epsilon_remaining": None if line.remaining is None else str(line.remaining),
                "level": line.level,
            }
            for line in self.lines
        ]
        return {
            "population": self.population,
            "unit": self.unit,
            "relation": self.relation,
            "charges": self.charges,
            "uncommitted": self.uncommitted,
            "periods": lines,
        }

    def text(self) -> str:
        rows = [
            [line.period, line.spent, line.delta, _shown(line.limit), _shown(line.remaining), _shown(line.level)]
            for line in self.lines
        ]
        head = (
            f"{self.population}: epsilon per {self.unit} ({self.relation}) by {ACCOUNTANT}, over {self.charges} "
            f"charges, {self.uncommitted} of them not committed yet"
        )
        return head + "\n" + table(["period", "spent", "at delta", "budget", "remains", "level"], rows)


def _shown(value: object | None) -> str:
    return "-" if value is None else str(value)


def _read(place: Path, site: SiteConfig | None) -> tuple[list[ChargeRow], str | None, tuple[BudgetGrant, ...]]:
    """Every charge of a state directory or database file, as its log names them; the site's population and budgets."""
    database = Database.open_read_only(place / DATABASE_FILE if place.is_dir() else place)
    with database, database.snapshot() as tx:
        rows = list_charges(tx)
        require_all_logged(tx, rows)
        if site is None:
            return rows, None, ()
        return rows, site.data.population, read_policy(site, tx).budgets(site.data.dataset)


def _ledgers(
    rows: Iterable[ChargeRow], own: str | None, grants: Sequence[BudgetGrant], now: datetime
) -> Iterable[_Ledger]:
    """One account per population, unit and relation; the configured population comes even if it spent nothing."""
    accounts = {key: list(group) for key, group in groupby(sorted(rows, key=_key), key=_key)}
    if own is not None and grants:
        accounts.setdefault((own, PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE), [])
    for (population, unit, relation), charges in sorted(accounts.items()):
        limits = grants if population == own else ()
        of = (population, PrivacyUnit(unit), Relation(relation))
        lines = tuple(_lines(charges, of, limits, now))
        uncommitted = sum(row.state == "reserved" for row in charges)
        yield _Ledger(*of, len(charges), uncommitted, lines)


def _key(row: ChargeRow) -> tuple[str, str, str]:
    return row.population, row.unit, row.relation


def _lines(
    charges: Sequence[ChargeRow],
    of: tuple[str, PrivacyUnit, Relation],
    limits: Sequence[BudgetGrant],
    now: datetime,
) -> Iterable[_Line]:
    """A line for every period: at its budget's delta where there is one, else at the strictest delta of the charges."""
    granted = {limit.period: limit for limit in limits}
    strictest = min((Decimal(row.delta) for row in charges), default=None)
    states: dict[Decimal, BudgetState] = {}
    for period in Period:
        limit = granted.get(period)
        delta = strictest if limit is None else limit.delta
        if delta is None:
            continue
        if delta not in states:
            states[delta] = state_of(charges, of, delta=delta, now=now)
        yield _Line(period, delta, states[delta].spent[period], None if limit is None else limit.epsilon)
