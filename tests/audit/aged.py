"""A log whose entries lie months apart, and its owner who may prune it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.own import Opened
from semfed_secure.audit.retention import Terms, prune

if TYPE_CHECKING:
    from semfed_secure.audit.retention import Pruned
    from tests.audit.samples import Site

DAY = 86_400
TERMS = Terms(30, "north/patients", "sha256:" + "ab" * 32)


def month(number: int) -> list[Event]:
    """What is written in one month: two of five may be pruned."""
    return [
        Event(type=EventType.ROUND_OPENED, outcome="success", actor="north", round_id=f"round-{number}"),
        Event(
            type=EventType.DECISION,
            outcome="denied",
            actor="north",
            round_id=f"round-{number}",
            reason=f"an old secret of month {number}",
            details={"action": "release"},
        ),
        Event(type=EventType.KEY_LOADED, outcome="success", actor="north", details={"key_id": f"key-{number}"}),
        Event(type=EventType.DATASET_OPENED, outcome="success", actor="north", details={"dataset": f"set-{number}"}),
        Event(type=EventType.BUNDLE_SENT, outcome="success", actor="north", peer="hub", round_id=f"round-{number}"),
    ]


def age(site: Site, months: int) -> Site:
    """Write so many months from March 2026 on, 30 days each; half a year passes after the last."""
    for number in range(months):
        site.log.append_all(month(number))
        site.clock.advance(30 * DAY)
    site.clock.advance(180 * DAY)
    return site


def owner(site: Site) -> Opened:
    """The log as its owner has it open."""
    return Opened(site.database, site.log, site.vkey, "north", site.clock)


def pruned(site: Site, before: str = "2026-05-01", terms: Terms = TERMS) -> Pruned:
    """Prune everything from before a day."""
    return prune(owner(site), date.fromisoformat(before), terms)
