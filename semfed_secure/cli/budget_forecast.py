"""``semfed budget forecast``: how much further a site's budgets reach; reads the ledger and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.client.config import load_site_config
from semfed_secure.client.costs import configured_cost
from semfed_secure.client.site import DATABASE_FILE, read_policy
from semfed_secure.clock import SystemClock, from_ms
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.accountant import ACCOUNTANT, compose, epsilon_of
from semfed_secure.privacy.budget import Budget, month_of, period_end, period_name
from semfed_secure.privacy.ledger_check import require_all_logged
from semfed_secure.privacy.ledger_entries import from_row, present
from semfed_secure.privacy.outlook import MANY, WARN_SHARE, level_of, outlook
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import list_charges
from semfed_secure.units import Mechanism, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from semfed_secure.client.config import SiteConfig
    from semfed_secure.privacy.accountant import RdpCurve
    from semfed_secure.privacy.outlook import Level, Outlook
    from semfed_secure.storage.ledger_rows import ChargeRow

UNIT, RELATION = PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE


@dataclass(frozen=True, slots=True)
class _Line:
    """One budget, what is gone of it, and what is ahead."""

    budget: Budget
    spent: Decimal
    level: Level
    ahead: Outlook
    ends: datetime | None

    @property
    def runs_out(self) -> datetime | None:
        """Only before the period is over: then the next one begins."""
        when = self.ahead.runs_out
        return when if when is not None and (self.ends is None or when < self.ends) else None

    def document(self) -> dict[str, object]:
        budget, runs_out = self.budget, self.runs_out
        return {
            "period": budget.period,
            "delta": str(budget.delta),
            "epsilon_budget": str(budget.epsilon),
            "epsilon_spent": str(self.spent),
            "level": self.level,
            "fits": self.ahead.fits,
            "rate_known": self.ahead.rate_known,
            "runs_out": None if runs_out is None else runs_out.isoformat(),
            "period_ends": None if self.ends is None else self.ends.isoformat(),
        }

    def cells(self) -> list[object]:
        fits = f"{MANY} or more" if self.ahead.fits == MANY else str(self.ahead.fits)
        when = f"{self.runs_out:%Y-%m-%d}" if self.runs_out else "not at this rate"
        ends = f"{self.ends:%Y-%m-%d}" if self.ends else "never"
        shown = when if self.ahead.rate_known else "no rate in the first day"
        return [self.budget.period, self.spent, self.budget.epsilon, self.budget.delta, self.level, fits, shown, ends]


def forecast(
    config: Annotated[Path, typer.Option("--config", help="The site file.")], as_json: JsonOption = False
) -> None:
    """Show how many more charges as configured each budget covers, and when it runs out at the present rate.

    A budget warns from 80 % on. The rate is all that was spent since the first charge of the period. Needs no keys and
    changes nothing; a ledger that is not the one of the log is exit 12, as for `show`.
    """
    site = load_site_config(config)
    now = SystemClock().now()
    with Database.open_read_only(site.site.state / DATABASE_FILE) as database, database.snapshot() as tx:
        rows = list_charges(tx)
        require_all_logged(tx, rows)
        granted = read_policy(site, tx).budgets(site.data.dataset)
    if not granted:
        raise ConfigurationError("SF101", f"the policy grants data set {site.data.dataset} no budget to forecast")
    budgets = [Budget(grant.period, grant.epsilon, grant.delta) for grant in granted]
    own = [row for row in rows if (row.population, row.unit, row.relation) == (site.data.population, UNIT, RELATION)]
    cost = configured_cost(site)
    lines = [_line(budget, own, cost, now) for budget in budgets]
    emit(_document(site, cost, lines), as_json=as_json, text=lambda: _text(site, lines))


def _line(budget: Budget, rows: Sequence[ChargeRow], cost: RdpCurve, now: datetime) -> _Line:
    month = month_of(present(rows, now))
    name = period_name(budget.period, month)
    inside = [row for row in rows if period_name(budget.period, row.period) == name]
    curves = [from_row(row).curve for row in inside]
    spent = epsilon_of(compose(curves), budget.delta)
    first = min((from_ms(row.created_at_ms) for row in inside), default=None)
    ahead = outlook(budget, curves, cost, first=first, now=now)
    return _Line(budget, spent, level_of(spent, budget.epsilon), ahead, period_end(budget.period, month))


def _document(site: SiteConfig, cost: RdpCurve, lines: Sequence[_Line]) -> dict[str, object]:
    return {
        "accountant": ACCOUNTANT,
        "population": site.data.population,
        "unit": UNIT,
        "relation": RELATION,
        "mechanism": site.privacy.mechanism,
        "charge": {"epsilon": str(epsilon_of(cost, lines[0].budget.delta)), "delta": str(lines[0].budget.delta)},
        "fits": min(line.ahead.fits for line in lines),
        "warn_from": str(WARN_SHARE),
        "budgets": [line.document() for line in lines],
    }


def _text(site: SiteConfig, lines: Sequence[_Line]) -> str:
    fits = min(line.ahead.fits for line in lines)
    what = "releases" if site.privacy.mechanism is Mechanism.RECORD_HISTOGRAM else "training runs"
    head = (
        f"{site.data.population}: epsilon per {UNIT} ({RELATION}) by {ACCOUNTANT}; {fits} more {what} by "
        f"{site.privacy.mechanism} as configured fit into every budget"
    )
    columns = ["period", "spent", "budget", "at delta", "level", "fits", "runs out", "period ends"]
    return head + "\n" + table(columns, [line.cells() for line in lines])
