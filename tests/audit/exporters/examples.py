"""One entry of every type with every outcome, as full as its type allows, for everything that reads exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.audit.catalogue import DETAILS
from semfed_secure.audit.events import Entry, Event, EventType
from semfed_secure.audit.exporters.record import Record, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = "hospitals.example/north"
DIGEST = "sha256:" + "ab" * 32
OUTCOMES = ("success", "denied", "failed")
HOSTILE = (
    '=cmd|\'/C calc\'!A0, a|b\\c] "d"; x=y ;=2+5, @SUM(1)|-1 "=3" \N{GREEK SMALL LETTER EPSILON} '
    "<b>&amp;</b> \N{FULLWIDTH PLUS SIGN}1"
)
"""What an entry may hold, being printable, and what every format has a rule for."""
_VALUES: dict[type, Any] = {str: HOSTILE, int: 7, bool: True, list: [HOSTILE, "b"], dict: {"a=b|c": 3, "d": 0}}


def every_event() -> Iterator[Event]:
    """Every type with every outcome: once with all that its type allows, once with nothing."""
    for kind in EventType:
        for outcome in OUTCOMES:
            yield Event.model_validate({"type": kind, "outcome": outcome, "actor": "north"})
            yield Event.model_validate(full(kind, outcome))


def full(kind: EventType, outcome: str) -> dict[str, Any]:
    """Every field that an event can have."""
    privacy = {
        "population": HOSTILE,
        "epsilon": "Infinity",
        "delta": "1e-6",
        "unit": "entity",
        "relation": "add_or_remove_one",
        "cost": "1.5",
        "remaining": "0",
        "mechanism": "dp_sgd",
    }
    return {
        "type": kind,
        "outcome": outcome,
        "actor": HOSTILE,
        "target": HOSTILE,
        "round_id": HOSTILE,
        "peer": "-2+3",
        "peer_entry": 2**53 - 1,
        "bundle_digest": DIGEST,
        "policy_id": "@SUM(1)",
        "policy_digest": DIGEST,
        "codes": ("SF202", "DP-002"),
        "privacy": privacy,
        "reason": HOSTILE,
        "details": {name: _VALUES[of] for name, of in DETAILS[kind].items()},
    }


def every_record() -> list[Record]:
    """The records of a log of all of them."""
    entries = (
        Entry(seq, f"2026-03-01T08:{seq // 60 % 60:02d}:{seq % 60:02d}.250Z", "north/client", event)
        for seq, event in enumerate(every_event())
    )
    return list(records_of(LOG, entries))


def written(form: Any, records: list[Record]) -> str:
    """A whole file of one format."""
    return form.opening(LOG) + form.separator.join(form.encode(record) for record in records) + form.closing
