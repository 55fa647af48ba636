"""What a privacy card is made of: one verified moment of a site's audit log, ledger and policy, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.audit.events import EventType
from semfed_secure.audit.sources import DatabaseSource, database_of
from semfed_secure.audit.verify import LogVerdict, verify_source
from semfed_secure.client.site import read_policy
from semfed_secure.privacy.ledger_check import require_all_logged
from semfed_secure.storage.ledger_rows import ChargeRow, list_charges

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.audit.events import Entry
    from semfed_secure.client.config import SiteConfig
    from semfed_secure.policy.document import BudgetGrant
    from semfed_secure.privacy.ledger_check import Account

Sort: TypeAlias = tuple[str, str, str]
"""Kind, aggregation mode and mechanism of a release, as its log entry states them."""


@dataclass(slots=True)
class Told:
    """What the entries of a log say that a card repeats.

    Attributes:
        policy: The entry that put the newest policy into force.
        charges: Per account, the entry of its newest charge.
        bundles: How many bundles of each sort were released.
        outputs: Of how many outputs.
        attacks: The entries of audits by attack, however they ended.
    """

    policy: Entry | None = None
    charges: dict[Account, Entry] = field(default_factory=dict)
    bundles: Counter[Sort] = field(default_factory=Counter)
    outputs: Counter[Sort] = field(default_factory=Counter)
    attacks: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Take down one entry."""
        event, privacy = entry.event, entry.event.privacy
        if event.type is EventType.PRIVACY_AUDITED:
            self.attacks.append(entry)
        if event.outcome != "success":
            return
        if event.type is EventType.POLICY_LOADED:
            self.policy = entry
        elif event.type is EventType.BUDGET_RESERVED and privacy is not None:
            self.charges[privacy.population, privacy.unit, privacy.relation] = entry
        elif event.type is EventType.BUNDLE_RELEASED:
            kind, mode, mechanism = (str(event.details[name]) for name in ("kind", "aggregation", "mechanism"))
            self.bundles[kind, mode, mechanism] += 1
            self.outputs[kind, mode, mechanism] += int(event.details["items"])


@dataclass(frozen=True, slots=True)
class Evidence:
    """One moment of a site; `read_evidence` alone makes it.

    Attributes:
        verdict: What verification of the log found.
        told: What its entries say.
        charges: The whole ledger, which is the one that the log names.
        population: Whose budgets ``budgets`` are; None without a site file.
        budgets: What the pinned policy grants.
    """

    verdict: LogVerdict
    told: Told
    charges: tuple[ChargeRow, ...]
    population: str | None
    budgets: tuple[BudgetGrant, ...]


def read_evidence(place: Path, *, key: str | None, site: SiteConfig | None = None) -> Evidence:
    """Verify a site's log and read what a card says of it, its ledger and its policy, all of one moment.

    Args:
        place: The state directory or its database; nothing in it changes.
        key: The log's key from the member record; without it, the one that the log names itself.
        site: Its site file; then its policy must be the pinned one.

    Raises:
        ConfigurationError: There is no site's database at ``place``.
        IntegrityError: SF50x, the log does not verify; SF511, the ledger is not the one of the log; SF522, the policy
            is not the pinned one.
    """
    told = Told()
    with database_of(place) as tx:
        verdict = verify_source(DatabaseSource(tx), key=key, visit=told.add)
        charges = list_charges(tx)
        require_all_logged(tx, charges)
        budgets = () if site is None else read_policy(site, tx).budgets(site.data.dataset)
    population = None if site is None else site.data.population
    return Evidence(verdict, told, tuple(charges), population, budgets)
