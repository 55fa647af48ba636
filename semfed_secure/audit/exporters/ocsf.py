"""OCSF 1.8.0: one event in JSON a line, its class by the type of the entry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.exporters.meanings import MEANINGS, Meaning, OcsfClass
from semfed_secure.audit.exporters.record import FRAME, PRODUCT, as_text
from semfed_secure.audit.wording import describe
from semfed_secure.clock import to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from semfed_secure.audit.events import Event
    from semfed_secure.audit.exporters.record import Record

VERSION = "1.8.0"
_OTHER = 99
_SEVERITY = {"success": 1, "denied": 3, "failed": 4}  # informational, medium, high
_STATUS = {"success": 1, "denied": 2, "failed": 2}  # success, failure
_COMPLIANCE = {"success": 1, "denied": 3, "failed": 3}  # pass, fail


def encode(record: Record) -> str:
    """One event; the whole entry stands in ``raw_data``, byte for byte, so nothing is lost."""
    entry, event = record.entry, record.entry.event
    meaning = MEANINGS[event.type]
    uid = meaning.ocsf.uid
    document: dict[str, Any] = {
        "activity_id": meaning.activity,
        "category_uid": uid // 1000,
        "class_uid": uid,
        "class_name": meaning.ocsf.value[1],
        "type_uid": uid * 100 + meaning.activity,
        "severity_id": _SEVERITY[event.outcome],
        "time": to_ms(entry.at),
        "message": describe(event),
        "metadata": {
            "version": VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT},
            "uid": record.identity,
            "log_name": record.log,
            "event_code": event.type.value,
            "original_time": entry.time,
            "sequence": entry.seq,
        },
        "unmapped": {"leaf_hash": record.leaf_hash, **_others(record.fields)},
        "raw_data": record.body,
        **_status(event, meaning),
        **_SUBJECTS[meaning.ocsf](record),
    }
    if meaning.activity == _OTHER:
        document["activity_name"] = event.type.value
    return json.dumps(document, ensure_ascii=False)


def _others(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in FRAME}


def _status(event: Event, meaning: Meaning) -> dict[str, Any]:
    status: dict[str, Any] = {}
    if meaning.ocsf is not OcsfClass.FINDING:  # of a finding it says how far somebody has dealt with it
        status |= {"status_id": _STATUS[event.outcome]}
    if event.codes:
        status["status_code"] = ",".join(event.codes)
    if event.reason:
        status["status_detail"] = event.reason
    return status


def _actor(record: Record) -> dict[str, Any]:
    return {
        "actor": {"user": {"name": record.entry.event.actor}, "app_name": record.entry.writer},
        "src_endpoint": {"svc_name": record.entry.writer},
    }


def _call(record: Record) -> dict[str, Any]:
    event = record.entry.event
    subject: dict[str, Any] = {"api": {"operation": event.type.value}, **_actor(record)}
    if event.peer is not None:
        subject["dst_endpoint"] = {"name": event.peer}
    resources = [{"name": event.target}] if event.target is not None else []
    if event.bundle_digest is not None:
        resources.append({"uid": event.bundle_digest, "type": "bundle"})
    return subject | ({"resources": resources} if resources else {})


def _entity(record: Record) -> dict[str, Any]:
    event = record.entry.event
    kind = event.type.value.partition(".")[0]
    return {"entity": {"name": event.target or event.policy_id or kind, "type": kind}, **_actor(record)}


def _store(record: Record) -> dict[str, Any]:
    event = record.entry.event
    name = event.target or as_text(event.details.get("dataset", "")) or "data set"
    return {"databucket": {"name": name, "type_id": _OTHER, "type": "data set"}, **_actor(record)}


def _scan(record: Record) -> dict[str, Any]:
    details = record.entry.event.details
    scan = {"uid": record.identity, "type_id": _OTHER, "type": "search for identifiers"}
    found = sum(details.get("findings", {}).values())
    return {"scan": scan, "total": details.get("scanned", 0), "num_detections": found}


def _finding(record: Record) -> dict[str, Any]:
    event = record.entry.event
    return {
        "finding_info": {"uid": record.identity, "title": describe(event)},
        "compliance": {"control": event.type.value, "status_id": _COMPLIANCE[event.outcome]},
    }


def _program(record: Record) -> dict[str, Any]:
    return {"app": {"name": record.entry.writer, "vendor_name": PRODUCT}}


_SUBJECTS: Mapping[OcsfClass, Callable[[Record], dict[str, Any]]] = {
    OcsfClass.API: _call,
    OcsfClass.ENTITY: _entity,
    OcsfClass.DATASTORE: _store,
    OcsfClass.SCAN: _scan,
    OcsfClass.FINDING: _finding,
    OcsfClass.LIFECYCLE: _program,
}
