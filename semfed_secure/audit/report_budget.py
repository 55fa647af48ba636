"""The section of the report that shows what each population's privacy budget was spent on."""

from __future__ import annotations

from decimal import Decimal

from semfed_secure.audit.chart import Point, budget_chart
from semfed_secure.audit.events import Entry, EventType
from semfed_secure.audit.gather import Account, Gathered, Kept, Spending, moment
from semfed_secure.audit.markup import Child, Html, element
from semfed_secure.audit.report_tables import ENTRY, TIME, Section, caption_of, section, table
from semfed_secure.audit.wording import left, spent


def budget_section(gathered: Gathered) -> Section | None:
    """Per population: what stood at the beginning, what was spent and refused, as a picture and as a table."""
    parts = [
        _account(number, account, spending)
        for number, (account, spending) in enumerate(sorted(gathered.accounts.items()))
    ]
    if not parts:
        if gathered.received or gathered.rounds:
            return None  # a server's log: it holds no private data
        return section("budget", "Privacy budget", element("p", "No privacy budget was charged."))
    note = element(
        "p",
        "ε bounds how much the presence of one protected unit can change what was released: smaller is stronger. "
        "Totals hold over the lifetime of a population, whatever the period of this report; what was spent is rounded "
        "up, what is left is rounded down.",
    )
    return section("budget", "Privacy budget", note, *parts)


def _account(number: int, account: Account, spending: Spending) -> Html:
    population, unit, relation = account
    charges = [entry for entry in spending.entries if entry.event.type is EventType.BUDGET_RESERVED]
    before = Decimal(0) if spending.before is None else Decimal(spending.before.epsilon)
    limit = None if spending.limit is None else Decimal(spending.limit)
    points = [
        Point(entry.at, Decimal(entry.event.privacy.epsilon), f"entry {entry.seq}: ε {entry.event.privacy.epsilon}")
        for entry in charges
        if entry.event.privacy is not None
    ]
    chart = budget_chart(points, before=before, limit=limit, name=population, ident=f"budget-{number}")
    stood = f"ε {spent(str(before))} had been spent when the period began."
    budget = "" if spending.limit is None else f" The lifetime budget is ε {left(spending.limit)}."
    heading = element("h3", f"{population} (per {unit}, neighbours: {relation.replace('_', ' ')})")
    return element(
        "div", heading, element("p", stood + budget), chart, _table(population, spending.entries), class_="account"
    )


def _table(population: str, entries: Kept) -> Html:
    if not entries:
        return element("p", "Nothing was charged in this period.")
    columns = [
        ENTRY,
        TIME,
        ("For", ""),
        ("Mechanism", ""),
        ("Cost ε", "number"),
        ("Total ε after", "number"),
        ("at δ", "number"),
        ("Left ε", "number"),
        ("Outcome", ""),
    ]
    return table(
        caption_of(f"Charges on the budget of {population}", entries), columns, [_row(entry) for entry in entries]
    )


def _row(entry: Entry) -> list[Child]:
    event, privacy = entry.event, entry.event.privacy
    assert privacy is not None  # INVARIANT: only entries with privacy fields are gathered
    charged = event.type is EventType.BUDGET_RESERVED
    return [
        str(entry.seq),
        moment(entry.time),
        str(event.details.get("purpose", "not stated")),
        privacy.mechanism,
        None if privacy.cost is None else spent(privacy.cost),
        element("span", spent(privacy.epsilon), title=privacy.epsilon),
        privacy.delta,
        None if privacy.remaining is None else left(privacy.remaining),
        element("span", "charged" if charged else "refused", class_=f"outcome {'yes' if charged else 'no'}"),
    ]
