"""Holding the ledger to the audit log: the entry of each charge carries a digest of all charges up to it.

The log is signed and others keep its checkpoints; the ledger is neither. So whoever removes, changes, adds or sets back
charges is noticed as soon as the charges are looked at: they no longer are what the newest entry says they were.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.audit.events import EventType, parse_entry
from semfed_secure.errors import IntegrityError
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.storage import log_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from semfed_secure.storage import Transaction
    from semfed_secure.storage.ledger_rows import ChargeRow

Account: TypeAlias = tuple[str, str, str]
"""Population, unit and relation: whose charges compose."""

_PAGE = 256
_MARK = f'"{EventType.BUDGET_RESERVED}"'.encode()


def ledger_digest(charges: Sequence[ChargeRow]) -> str:
    """Of all charges of one account, oldest first: everything but whether they are committed, which costs nothing."""
    rows = [{name: value for name, value in asdict(row).items() if name != "state"} for row in charges]
    return hex_digest(sha256(json.dumps(rows, sort_keys=True, separators=(",", ":")).encode()))


def require_logged(tx: Transaction, account: Account, charges: Sequence[ChargeRow]) -> None:
    """Accept only charges that are the ones which the audit log of the same database names.

    Reads the log backwards, no further than to the account's newest charge.

    Raises:
        IntegrityError: SF511, charges were removed, changed, added or set back without the log.
    """
    _compare(account, charges, next((digest for name, digest in _newest_first(tx) if name == account), None))


def require_all_logged(tx: Transaction, charges: Iterable[ChargeRow]) -> None:
    """The same for every account of the ledger, and for those of which only the log still knows.

    Raises:
        IntegrityError: SF511.
    """
    logged: dict[Account, str | None] = {}
    for account, digest in _newest_first(tx):
        logged.setdefault(account, digest)
    standing = {account: list(rows) for account, rows in groupby(sorted(charges, key=_place), key=_account)}
    for account in sorted(logged.keys() | standing.keys()):
        _compare(account, standing.get(account, []), logged.get(account))


def _compare(account: Account, charges: Sequence[ChargeRow], logged: str | None) -> None:
    if logged != (ledger_digest(charges) if charges else None):
        message = f"the {len(charges)} charges on {account[0]} are not the ones that the audit log names"
        raise IntegrityError("SF511", message, population=account[0])


def _newest_first(tx: Transaction) -> Iterator[tuple[Account, str | None]]:
    """Account and digest of every charge in the log, newest first; read page by page, as far as is asked for."""
    head = log_rows.read_head(tx)
    for stop in range(0 if head is None else head.size, 0, -_PAGE):
        for row in reversed(log_rows.read_entries(tx, max(0, stop - _PAGE), stop)):
            event = parse_entry(row.body).event if _MARK in row.body else None
            if event is None or event.type is not EventType.BUDGET_RESERVED or event.privacy is None:
                continue
            privacy = event.privacy
            yield (privacy.population, privacy.unit, privacy.relation), event.details.get("ledger_digest")


def _account(row: ChargeRow) -> Account:
    return row.population, row.unit, row.relation


def _place(row: ChargeRow) -> tuple[str, str, str, int]:
    return *_account(row), row.id or 0
