"""W3C PROV as PROV-JSON: one document, in which each entry is a bundle of what the log states about one activity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from semfed_secure.audit.events import EventType
from semfed_secure.audit.exporters.record import FRAME, NAMESPACE, as_text
from semfed_secure.audit.wording import describe

if TYPE_CHECKING:
    from semfed_secure.audit.exporters.record import Record

_MAKES = frozenset({EventType.BUNDLE_RELEASED, EventType.ADAPTER_KEPT, EventType.CONSENSUS_PUBLISHED})
"""What brings its bundle or target into being; all others use it."""
CLOSING = "}}\n"


def opening(log: str) -> str:
    """What stands before the first entry."""
    prefix = {
        "semfed": NAMESPACE,
        "entry": f"semfed:log/{quote(log)}/entry/",
        "activity": f"semfed:log/{quote(log)}/activity/",
        "agent": "semfed:agent/",
        "thing": "semfed:thing/",
    }
    return f'{{"prefix":{json.dumps(prefix)},"bundle":{{'


def encode(record: Record) -> str:
    """One named bundle: the activity with every field of the entry, who took part, and what was used or made."""
    entry, event = record.entry, record.entry.event
    activity = f"activity:{entry.seq}"
    fields = {"log": record.log, "index": str(entry.seq), "leaf_hash": record.leaf_hash}
    fields |= {name: as_text(value) for name, value in record.fields.items() if name not in FRAME}
    stated: dict[str, Any] = {
        "prov:startTime": entry.time,
        "prov:endTime": entry.time,
        "prov:type": {"$": f"semfed:{event.type.value}", "type": "prov:QUALIFIED_NAME"},
        "prov:label": describe(event),
        **{f"semfed:{name}": value for name, value in fields.items()},
    }
    agents = {_local("agent", name): {"prov:label": name} for name in (event.actor, event.peer) if name is not None}
    took_part = {
        f"_:part{number}": {"prov:activity": activity, "prov:agent": agent} for number, agent in enumerate(agents)
    }
    bundle: dict[str, Any] = {"activity": {activity: stated}, "agent": agents, "wasAssociatedWith": took_part}
    things = [name for name in (event.target, event.bundle_digest, event.policy_digest) if name is not None]
    if things:
        bundle["entity"] = {_local("thing", name): {"prov:label": name} for name in things}
    made = event.bundle_digest or event.target if event.type in _MAKES and event.outcome == "success" else None
    relations = {
        f"_:use{number}": {"prov:activity": activity, "prov:entity": _local("thing", name)}
        for number, name in enumerate(dict.fromkeys(things))
        if name != made
    }
    if relations:
        bundle["used"] = relations
    if made is not None:
        bundle["wasGeneratedBy"] = {"_:make": {"prov:entity": _local("thing", made), "prov:activity": activity}}
    return f'"entry:{entry.seq}":{json.dumps(bundle, ensure_ascii=False)}'


def _local(prefix: str, name: str) -> str:
    return f"{prefix}:{quote(name, safe='')}"
