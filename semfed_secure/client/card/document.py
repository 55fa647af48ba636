"""The privacy card as one JSON document, in the order in which NIST SP 800-226 asks.

What a figure bounds stands beside it: unit, relation, delta, accountant, and what was composed. Decimals are text.
Whoever holds the site's database can look every figure up, in the ledger or in the entry of the log that is named.
"""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

from semfed_secure.client.card import words
from semfed_secure.clock import from_ms, to_iso
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.privacy.accountant import ACCOUNTANT
from semfed_secure.privacy.ledger_entries import state_of
from semfed_secure.privacy.meaning import best_true_positive_rate
from semfed_secure.privacy.statements import statement_of
from semfed_secure.units import Aggregation, Mechanism, Period, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from semfed_secure.audit.events import Entry
    from semfed_secure.client.card.evidence import Evidence, Told
    from semfed_secure.policy.document import BudgetGrant
    from semfed_secure.privacy.ledger_check import Account
    from semfed_secure.storage.ledger_rows import ChargeRow

FORMAT = "semfed/privacy-card/1"
FALSE_POSITIVE_RATES = (Decimal("0.01"), Decimal("0.001"))
HARDLY_A_BOUND = Decimal("0.5")
"""From this bound on the true-positive rate on, at the first of those rates, the card warns."""

Document = dict[str, Any]


def card_of(evidence: Evidence, created: datetime) -> Document:
    """The card.

    Guarantee: nothing in it depends on records but through charged releases, not even how many records there are.
    """
    grouped = groupby(sorted(evidence.charges, key=_place), key=_account)
    populations = [_population(account, list(rows), evidence, created) for account, rows in grouped]
    used = sorted({row.mechanism for row in evidence.charges})
    return {
        "format": FORMAT,
        "site": evidence.verdict.origin,
        "created": to_iso(created),
        "populations": populations,
        "mechanisms": [{"mechanism": name} | statement_of(Mechanism(name)) for name in used],
        "releases": _releases(evidence.told),
        "trust": _trust(evidence.told),
        "hazards": list(_hazards(evidence, populations, used)),
        "attacks": [_attack(entry) for entry in evidence.told.attacks],
        "policy": _policy(evidence.told.policy),
        "log": _log(evidence),
    }


def _account(row: ChargeRow) -> Account:
    return row.population, row.unit, row.relation


def _place(row: ChargeRow) -> tuple[str, str, str, int]:
    return *_account(row), row.id or 0


def _population(account: Account, rows: Sequence[ChargeRow], evidence: Evidence, now: datetime) -> Document:
    """One account: the lifetime figure, what it means, what was composed, and the budgets of the policy."""
    name, unit, relation = account[0], PrivacyUnit(account[1]), Relation(account[2])
    entry = evidence.told.charges[account]
    limit, delta = (Decimal(entry.event.details[key]) for key in ("limit", "limit_delta"))
    epsilon = state_of(rows, (name, unit, relation), delta=delta, now=now).spent[Period.LIFETIME]
    granted = evidence.budgets if name == evidence.population else ()
    return {
        "population": name,
        "unit": str(unit),
        "unit_meaning": words.UNITS[unit],
        "relation": str(relation),
        "relation_meaning": words.NEIGHBOURS[relation],
        "epsilon": str(epsilon),
        "delta": str(delta),
        "accountant": ACCOUNTANT,
        "epsilon_budget": str(limit),
        "scope": words.SCOPE,
        "entry": entry.seq,
        "attacker": [
            {"false_positive_rate": str(rate), "true_positive_rate": str(best_true_positive_rate(epsilon, delta, rate))}
            for rate in FALSE_POSITIVE_RATES
        ],
        "charges": [_charge(row) for row in rows],
        "budgets": [_budget(grant, rows, (name, unit, relation), now) for grant in granted],
    }


def _charge(row: ChargeRow) -> Document:
    return {
        "charge": row.id,
        "at": to_iso(from_ms(row.created_at_ms)),
        "purpose": row.purpose,
        "mechanism": row.mechanism,
        "parameters": json.loads(row.parameters),
        "epsilon_alone": row.epsilon,
        "delta": row.delta,
        "confirmed": row.state == "committed",
        "policy_digest": row.policy_digest,
    }


def _budget(
    grant: BudgetGrant, rows: Sequence[ChargeRow], of: tuple[str, PrivacyUnit, Relation], now: datetime
) -> Document:
    spent = state_of(rows, of, delta=grant.delta, now=now).spent[grant.period]
    return {
        "period": str(grant.period),
        "epsilon_spent": str(spent),
        "epsilon_budget": str(grant.epsilon),
        "epsilon_remaining": str(max(Decimal(0), grant.epsilon - spent)),
        "delta": str(grant.delta),
    }


def _releases(told: Told) -> list[Document]:
    return [
        {"kind": sort[0], "aggregation": sort[1], "mechanism": sort[2], "bundles": count, "outputs": told.outputs[sort]}
        for sort, count in sorted(told.bundles.items())
    ]


def _trust(told: Told) -> list[Document]:
    """Who sees what, in every mode, and in which of them this site has released."""
    released = {mode for _, mode, _ in told.bundles}
    return [
        {"aggregation": str(mode), "available": view.available, "used": mode in released}
        | {"server_sees": view.server, "peers_see": view.peers}
        for mode, view in ((mode, words.VIEWS[mode]) for mode in Aggregation)
    ]


def _attack(entry: Entry) -> Document:
    """One audit by attack; its full report is the file with the digest that the log names."""
    event = entry.event
    names = ("verdict", "mechanism", "epsilon_claimed", "epsilon_found", "canaries", "report_digest")
    return {"at": entry.time, "entry": entry.seq, "reason": event.reason} | {
        name: event.details[name] for name in names
    }


def _hazards(evidence: Evidence, populations: Iterable[Document], used: Iterable[str]) -> Iterable[str]:
    """What this site's figures call for, the worst first, then what holds of every site."""
    if Mechanism.UNSAFE_NO_NOISE in used:
        yield words.NO_NOISE
    if any(entry.event.outcome != "success" for entry in evidence.told.attacks):
        yield words.NOT_PASSED
    if any(Decimal(one["attacker"][0]["true_positive_rate"]) >= HARDLY_A_BOUND for one in populations):
        yield words.HARDLY_A_BOUND
    if not evidence.verdict.key_was_given:
        yield words.KEY_OF_THE_LOG
    if not evidence.told.attacks:
        yield words.NOT_AUDITED
    yield from words.STANDING_HAZARDS


def _policy(entry: Entry | None) -> Document | None:
    """The policy in force, as the log says."""
    if entry is None:
        return None
    event = entry.event
    return {
        "id": event.policy_id,
        "version": event.details.get("version"),
        "digest": event.policy_digest,
        "extends": list(event.details.get("extends", ())),
        "entry": entry.seq,
    }


def _log(evidence: Evidence) -> Document:
    """What was verified, and the tree over exactly the entries that the card is made from."""
    verdict = evidence.verdict
    return {
        "origin": verdict.origin,
        "entries": verdict.size,
        "root": verdict.root,
        "key_digest": hex_digest(sha256(verdict.verification_key.encode())),
        "key_was_given": verdict.key_was_given,
        "first_time": verdict.first_time,
        "last_time": verdict.last_time,
    }
