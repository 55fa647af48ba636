"""A site's ledger on a real database and audit log, and charges to try on it."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from semfed_secure.audit.events import EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.privacy.accountant import compose, epsilon_of, gaussian_rdp
from semfed_secure.privacy.budget import Budget, Charge
from semfed_secure.privacy.ledger import BudgetLedger
from semfed_secure.storage import Database, ledger_rows
from semfed_secure.units import Mechanism, Period, PrivacyUnit, Relation

DELTA = Decimal("1e-6")
KEY = LogSigningKey.generate("site.example/ledger-tests")
START = datetime(2025, 3, 31, 12, tzinfo=UTC)


def histogram(key, sigma="5", population="patients", **changes):
    """A charge for one histogram release."""
    charge = Charge(
        idempotency_key=key,
        population=population,
        unit=PrivacyUnit.ENTITY,
        relation=Relation.ADD_OR_REMOVE_ONE,
        purpose="release of round-1",
        mechanism=Mechanism.RECORD_HISTOGRAM,
        parameters={"sigma": sigma},
        delta=DELTA,
        policy_digest="sha256:" + "ab" * 32,
    )
    return replace(charge, **changes)


def lifetime(epsilon):
    """A lifetime budget."""
    return Budget(Period.LIFETIME, Decimal(epsilon), DELTA)


def room_for(count, sigma="5"):
    """A lifetime budget that covers exactly ``count`` releases of noise ``sigma``."""
    return lifetime(epsilon_of(compose([gaussian_rdp(sigma)] * count), DELTA))


class Site:
    """A database, its log and its ledger."""

    def __init__(self, url, clock=None):
        self.clock = clock or FixedClock(START)
        self.database = Database.open(url, kind="client")
        self.log = AuditLog(self.database, key=KEY, clock=self.clock, writer="clinic/client")
        self.ledger = BudgetLedger(self.database, self.log, self.clock, actor="clinic")

    def charges(self):
        """All charges."""
        with self.database.snapshot() as tx:
            return ledger_rows.list_charges(tx)

    def events(self):
        """All audited events."""
        return [entry.event for entry in self.log.entries(0, 10_000)]

    def spent(self, population="patients"):
        """Lifetime epsilon."""
        return self.ledger.snapshot(population, delta=DELTA).spent[Period.LIFETIME]

    def agrees(self):
        """Whether charges and their audit entries are one to one."""
        reserved = [event.details["key"] for event in self.events() if event.type is EventType.BUDGET_RESERVED]
        committed = [event.details["key"] for event in self.events() if event.type is EventType.BUDGET_COMMITTED]
        rows = self.charges()
        return sorted(reserved) == sorted(row.idempotency_key for row in rows) and sorted(committed) == sorted(
            row.idempotency_key for row in rows if row.state == "committed"
        )
