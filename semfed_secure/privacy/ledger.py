"""The durable budget of a site: reserve before a release, commit after, refuse what overspends.

The charges of a population never exceed a budget that `BudgetLedger.reserve` was given, whatever the number of
threads and processes, and wherever one of them dies: the check, the charge and its audit entry are one transaction
of the database's single sequencer. A crash leaves the charge standing; the same act is never charged twice. Charges
that are not the ones which the audit log names are refused wherever they count.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from semfed_secure.errors import BudgetExhausted, ConfigurationError, IntegrityError
from semfed_secure.privacy import ledger_entries as entries
from semfed_secure.privacy.budget import Budget, BudgetState, Charge, Spent, assess, month_of
from semfed_secure.privacy.ledger_check import require_logged
from semfed_secure.storage import ledger_rows
from semfed_secure.units import Period, PrivacyUnit, Relation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Clock
    from semfed_secure.privacy.accountant import RdpCurve
    from semfed_secure.storage import Database, Transaction
    from semfed_secure.storage.ledger_rows import ChargeRow


class BudgetLedger:
    """The charges of every population of one site; safe between threads and processes on one database."""

    def __init__(self, database: Database, audit: AuditLog, clock: Clock, *, actor: str) -> None:
        """Keep charges in ``database`` and their entries in ``audit``, a log on the same database.

        Args:
            database: The site's database.
            audit: The site's log.
            clock: Says in which period a charge falls.
            actor: Who acts, for the audit entries: the member's id.
        """
        self._database, self._audit, self._clock, self._actor = database, audit, clock, actor

    def reserve(self, charge: Charge, budgets: Sequence[Budget], tx: Transaction | None = None) -> ChargeRow:
        """Charge an act before it happens, if every budget covers it; the charge stands from then on.

        The charge and its audit entry ``budget.reserved`` are one transaction: if the log cannot be written, nothing is
        reserved. The same act again returns its standing charge, costs nothing and leaves no entry.

        Args:
            charge: The act and what it costs.
            budgets: All must cover it; one of them is for the lifetime.
            tx: A transaction to join; then `record_refusal` belongs after its rollback, and what does not add up has
                no entry.

        Raises:
            BudgetExhausted: SF202 with ``remaining`` and ``cost`` for the budget that lacks most.
            ConfigurationError: SF141, hostile parameters or no lifetime budget.
            IntegrityError: SF511, the key stands for another act, or the ledger does not add up or is not the one of
                the log; SF502, no audit.
        """
        if not any(budget.period is Period.LIFETIME for budget in budgets):
            raise ConfigurationError("SF141", "a lifetime budget must cover every charge, got none")
        curve = charge.cost()
        if tx is not None:
            return self._reserve(tx, charge, curve, budgets)
        try:
            with self._noting_damage(charge.population), self._database.transaction() as own:
                return self._reserve(own, charge, curve, budgets)
        except BudgetExhausted as refusal:
            self.record_refusal(charge, refusal)
            raise

    def record_refusal(self, charge: Charge, refusal: BudgetExhausted) -> None:
        """Append ``budget.refused`` for a `reserve` whose joined transaction was rolled back.

        Raises:
            IntegrityError: SF502, no audit.
        """
        self._audit.append(entries.refused_event(self._actor, charge, refusal))

    def commit(self, idempotency_key: str, tx: Transaction | None = None) -> ChargeRow:
        """Note that a reserved act has happened; again changes nothing. A charge counts the same either way.

        Raises:
            IntegrityError: SF511, nothing was reserved under this key; SF502, no audit.
        """
        with self._database.transaction() if tx is None else nullcontext(tx) as own:
            row = ledger_rows.charge_by_key(own, idempotency_key)
            if row is None:
                raise IntegrityError("SF511", "a charge is committed that was never reserved")
            if row.state == "reserved":
                ledger_rows.mark_committed(own, idempotency_key)
                self._audit.append(entries.committed_event(self._actor, row), own)
            return ledger_rows.charge_by_key(own, idempotency_key) or row

    def snapshot(
        self,
        population: str,
        unit: PrivacyUnit = PrivacyUnit.ENTITY,
        relation: Relation = Relation.ADD_OR_REMOVE_ONE,
        *,
        delta: Decimal,
        adding: Charge | None = None,
        tx: Transaction | None = None,
    ) -> BudgetState:
        """What a population has spent by now, at ``delta``, over every period; with ``adding``, after that charge.

        A charge that stands already is not added again. Charges nothing.

        Raises:
            ConfigurationError: SF141 for ``delta`` or the charge.
            IntegrityError: SF511, the ledger does not add up or is not the one of the log; that has an entry, unless a
                transaction was joined.
        """
        of = population, unit, relation
        if tx is None:
            with self._noting_damage(population), self._database.snapshot() as own:
                return self._state(own, of, delta, adding)
        return self._state(tx, of, delta, adding)

    def _state(
        self, tx: Transaction, of: tuple[str, PrivacyUnit, Relation], delta: Decimal, adding: Charge | None
    ) -> BudgetState:
        rows = _charges(tx, of)
        standing = {row.idempotency_key for row in rows}
        extra = [adding.cost()] if adding is not None and adding.idempotency_key not in standing else []
        return entries.state_of(rows, of, delta=delta, now=self._clock.now(), adding=extra)

    @contextmanager
    def _noting_damage(self, population: str) -> Iterator[None]:
        """Append an entry for a ledger that turns out not to add up, when its transaction is over."""
        try:
            yield
        except IntegrityError as error:
            if error.code == "SF511":
                self._audit.append(entries.damage_event(self._actor, population, error))
            raise

    def _reserve(self, tx: Transaction, charge: Charge, curve: RdpCurve, budgets: Sequence[Budget]) -> ChargeRow:
        # INVARIANT: nobody else writes charges between here and the end of the transaction (one sequencer).
        rows = _charges(tx, (charge.population, charge.unit, charge.relation))
        now = entries.present(rows, self._clock.now())
        wanted = entries.to_row(charge, curve, now)
        standing = ledger_rows.charge_by_key(tx, charge.idempotency_key)
        if standing is not None:
            return entries.same_act(standing, wanted)
        spent = [entries.from_row(row) for row in rows]
        verdicts = [assess(spent, Spent(curve, month_of(now)), budget) for budget in budgets]
        lifetime = next(one for one in verdicts if one.budget.period is Period.LIFETIME)
        if refused := [one for one in verdicts if not one.covered]:
            raise entries.exhausted(charge, lifetime, max(refused, key=lambda one: one.after - one.budget.epsilon))
        row = ledger_rows.insert_charge(tx, wanted)
        assert row is not None  # no charge stood under this key a moment ago
        remaining = min(one.remaining(one.after) for one in verdicts)
        self._audit.append(entries.reserved_event(self._actor, charge, [*rows, row], lifetime, remaining), tx)
        return row


def _charges(tx: Transaction, of: tuple[str, PrivacyUnit, Relation]) -> list[ChargeRow]:
    """Every charge of one account, once it is known to be the one of the log."""
    population, unit, relation = of
    rows = ledger_rows.charges_of(tx, population=population, unit=unit, relation=relation)
    require_logged(tx, of, rows)
    return rows
