"""How long entries keep their content: prune what is old enough, and hold what a court or an inquiry needs.

Pruning leaves every hash, checkpoint and proof as it is; the content of types in `PRUNABLE` goes, for good. A legal
hold stops it, and is itself two entries: who put it on, and who lifted it.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.events import Entry, Event, EventType, encode_entry, parse_entry
from semfed_secure.audit.merkle import leaf_hash
from semfed_secure.audit.removals import TOLD, Removal, digest_of, due
from semfed_secure.audit.retained import PRUNABLE
from semfed_secure.audit.sources import DatabaseSource
from semfed_secure.audit.verify import verify_source
from semfed_secure.errors import ConfigurationError, IntegrityError, RefusedError, SemfedError
from semfed_secure.ids import is_name
from semfed_secure.storage import log_prune, log_repair, log_rows

if TYPE_CHECKING:
    from datetime import date, datetime

    from semfed_secure.audit.own import Opened
    from semfed_secure.storage import Transaction

WRITER = "semfed audit prune"
EVERYTHING = "1970-01-01"
"""The day from which on a hold without one holds entries: before all of them."""
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_:-]{0,99}")
_MARKS = tuple(f'"{kind}"'.encode() for kind in (EventType.LOG_HELD, EventType.LOG_HOLD_LIFTED))


@dataclass(frozen=True, slots=True)
class Terms:
    """For how many days entries are kept, and which policy says so."""

    keep_days: int
    policy_id: str | None = None
    policy_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed.

    Attributes:
        count: How many entries lost their content.
        kinds: The same by type.
        entry: Number of the entry that says so; None if there was nothing to remove.
        gone: Whether nothing of it is left in the files either; another reader can be in the way of that on SQLite,
            and PostgreSQL has it until its tables are vacuumed.
    """

    count: int
    kinds: dict[str, int]
    entry: int | None
    gone: bool


def prune(own: Opened, before: date, terms: Terms) -> Pruned:
    """Remove the content of prunable entries from before a day, up to the first entry that is younger.

    Guarantee: the log is verified first, and verifies afterwards with the same root, checkpoints and proofs; what was
    removed and the entry that says so are one transaction, or neither is.

    Raises:
        RefusedError: ``SF204`` some of them must be kept longer; ``SF205`` a legal hold covers them. The refusal is an
            entry of the log.
        IntegrityError: as `verify_log`; ``SF502`` the log cannot be written, or not by this user of the database.
    """
    try:
        return _prune(own, before, terms)
    except (RefusedError, IntegrityError) as error:
        if isinstance(error, RefusedError) or error.code == "SF502":
            with suppress(IntegrityError):  # that nothing can be written is what the caller is told
                own.audit.append(_event(own, before, terms, error=error))
        raise


def hold(own: Opened, name: str, *, reference: str, since: date | None) -> int:
    """Forbid to prune entries, all of them or those from a day on; the number of the entry.

    Raises:
        ConfigurationError: ``SF105`` such a hold is in force, or its name or reference is none.
    """
    first = EVERYTHING if since is None else since.isoformat()
    return _change_hold(own, name, EventType.LOG_HELD, {"reference": reference, "since": first})


def lift(own: Opened, name: str, *, reference: str) -> int:
    """End a legal hold; the number of the entry.

    Raises:
        ConfigurationError: ``SF105`` no such hold is in force, or the reference is none.
    """
    return _change_hold(own, name, EventType.LOG_HOLD_LIFTED, {"reference": reference})


def holds_in(tx: Transaction) -> dict[str, str]:
    """The legal holds in force, each with the day from which on it holds entries."""
    holds: dict[str, str] = {}
    for row in log_rows.walk_entries(tx):
        if any(mark in row.body for mark in _MARKS):
            _apply(holds, parse_entry(row.body).event)
    return holds


def _apply(holds: dict[str, str], event: Event) -> None:
    if event.outcome == "success" and event.type is EventType.LOG_HELD:
        holds[event.target or ""] = str(event.details["since"])
    elif event.outcome == "success" and event.type is EventType.LOG_HOLD_LIFTED:
        holds.pop(event.target or "", None)


def _change_hold(own: Opened, name: str, kind: EventType, details: dict[str, Any]) -> int:
    # A name and a reference, not a story: an entry holds no free text about a case.
    if not is_name(name) or _REFERENCE.fullmatch(details["reference"]) is None:
        message = (
            "a hold is named by 1-63 of a-z 0-9 . _ -, and refers to a case by up to 100 letters, digits and . / _ : -"
        )
        raise ConfigurationError("SF105", message)
    with own.database.transaction() as tx:
        stands = name in holds_in(tx)
        if stands is (kind is EventType.LOG_HELD):
            raise ConfigurationError("SF105", f"the hold {name} is {'already' if stands else 'not'} in force")
        event = Event(type=kind, outcome="success", actor=own.actor, target=name, details=details)
        return own.audit.append(event, tx)


@dataclass(slots=True)
class _Plan:
    """What may be removed, read from a log on the way through its verification."""

    before: str
    start: int = 0
    stop: int | None = None
    holds: dict[str, str] = field(default_factory=dict)
    found: list[tuple[int, EventType, bytes]] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """One entry, in order: the first that is younger ends the stretch, whatever the clocks of others said."""
        event = entry.event
        if event.type is EventType.LOG_PRUNED and event.outcome == "success":
            self.start = Removal.of(event).last + 1
        _apply(self.holds, event)
        if self.stop is None and entry.time >= self.before:
            self.stop = entry.seq
        if self.stop is None and event.type in PRUNABLE:
            self.found.append((entry.seq, event.type, leaf_hash(encode_entry(entry))))


def _prune(own: Opened, before: date, terms: Terms) -> Pruned:
    day = before.isoformat()
    _require_kept_long_enough(own.clock.now(), day, terms)
    plan = _Plan(day)
    with own.database.snapshot() as tx:
        overwritten = log_prune.overwrites(tx)
        size = verify_source(DatabaseSource(tx), key=own.verification_key, visit=plan.take).size
    covering = sorted(name for name, since in plan.holds.items() if since < day)
    if covering:
        message = f"entries from before {day} are under the legal hold {', '.join(covering)}"
        raise RefusedError("SF205", message, holds=covering)
    chosen = [one for one in plan.found if one[0] >= plan.start]
    kinds = dict(sorted(Counter(str(kind) for _, kind, _ in chosen).items()))
    number = None
    if chosen:
        details = {
            "first": plan.start,
            "last": (size if plan.stop is None else plan.stop) - 1,
            "count": len(chosen),
            "kinds": kinds,
            "leaves": digest_of(b"".join(leaf for _, _, leaf in chosen)),
        }
        event = _event(own, before, terms, details)
        with own.database.transaction() as tx:
            number = _remove(tx, own, [place for place, _, _ in chosen], size, event)
            told = parse_entry(log_rows.read_entries(tx, number, number + 1)[0].body)
            _require_kept_long_enough(told.at, day, terms)  # verification holds the entry against its own time
    return Pruned(len(chosen), kinds, number, gone=own.database.forget() and overwritten)


def _require_kept_long_enough(now: datetime, day: str, terms: Terms) -> None:
    try:
        until = due(day, terms.keep_days)
    except (ValueError, OverflowError) as error:
        raise ConfigurationError("SF105", "entries cannot be kept for that many days") from error
    if until > now:
        message = f"entries from before {day} are kept for {terms.keep_days} days, until {until:%Y-%m-%d}"
        raise RefusedError("SF204", message, keep_days=terms.keep_days)


def _remove(tx: Transaction, own: Opened, positions: list[int], size: int, event: Event) -> int:
    """Say what is removed, and remove it; the number of the entry."""
    since = log_rows.read_entries(tx, size, own.audit.size(tx))
    if any(not row.body or parse_entry(row.body).event.type in TOLD for row in since):
        raise IntegrityError("SF502", "a hold or a removal was entered meanwhile; nothing was removed: try again")
    number = own.audit.append(event, tx)  # first: it reads the newest entry, which may be one of them
    with log_repair.unguarded(tx):
        log_prune.remove_bodies(tx, positions)
    return number


def _event(
    own: Opened,
    before: date,
    terms: Terms,
    details: dict[str, Any] | None = None,
    *,
    error: SemfedError | None = None,
) -> Event:
    return Event.model_validate({
        "type": EventType.LOG_PRUNED,
        "outcome": "success" if error is None else "denied" if isinstance(error, RefusedError) else "failed",
        "actor": own.actor,
        "policy_id": terms.policy_id,
        "policy_digest": terms.policy_digest,
        "codes": () if error is None else (error.code,),
        "reason": None if error is None else error.message,
        "details": {"before": before.isoformat(), "keep_days": terms.keep_days} | (details or {}),
    })  # fmt: skip
