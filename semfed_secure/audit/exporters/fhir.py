"""FHIR R4B AuditEvent, one resource a line, in the vocabulary of IHE's Basic Audit Log Patterns (BALP).

No profile of BALP is claimed: each demands a network address or a patient, and the log holds neither.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from semfed_secure.audit.exporters.meanings import MEANINGS, Dicom
from semfed_secure.audit.exporters.record import FRAME, NAMESPACE, as_text
from semfed_secure.audit.wording import describe

if TYPE_CHECKING:
    from semfed_secure.audit.events import Event
    from semfed_secure.audit.exporters.record import Record

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_HL7 = "http://terminology.hl7.org/CodeSystem/"
_SOURCE = {"system": _DCM, "code": "110153", "display": "Source Role ID"}
_DESTINATION = {"system": _DCM, "code": "110152", "display": "Destination Role ID"}
_OUTCOME = {"success": "0", "denied": "4", "failed": "8"}  # success, minor failure, serious failure


def encode(record: Record) -> str:
    """One resource; every field of the entry stands in the details of its first entity, so nothing is lost."""
    entry, event = record.entry, record.entry.event
    meaning = MEANINGS[event.type]
    code, display = meaning.dicom.value
    subtype = [{"system": f"{NAMESPACE}event-type", "code": event.type.value}]
    if meaning.lifecycle is not None:
        subtype.append({"system": f"{_HL7}iso-21089-lifecycle", "code": meaning.lifecycle})
    document: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": record.leaf_hash,
        "type": {"system": _DCM, "code": code, "display": display},
        "subtype": subtype,
        "action": meaning.action,
        "recorded": entry.time,
        "outcome": _OUTCOME[event.outcome],
        "outcomeDesc": _outcome(event),
        "agent": _agents(event, inward=meaning.dicom is Dicom.IMPORT),
        "source": {
            "site": record.log,
            "observer": _named("log", record.log) | {"display": entry.writer},
            "type": [{"system": f"{_HL7}security-source-type", "code": "4", "display": "Application Server"}],
        },
        "entity": _entities(record),
    }
    return json.dumps(document, ensure_ascii=False)


def _outcome(event: Event) -> str:
    codes = f" ({', '.join(event.codes)})" if event.codes else ""
    reason = f": {event.reason}" if event.reason else ""
    return f"{describe(event)}{codes}{reason}"


def _agents(event: Event, *, inward: bool) -> list[dict[str, Any]]:
    """Who acted, and the other member: what comes in has the other one as its source."""
    own, other = (_DESTINATION, _SOURCE) if inward else (_SOURCE, _DESTINATION)
    actor = {"type": {"coding": [own]}, "who": _named("member", event.actor), "requestor": True}
    if event.policy_id is not None:
        digest = f"@{event.policy_digest}" if event.policy_digest is not None else ""
        actor["policy"] = [f"{NAMESPACE}policy/{quote(event.policy_id)}{digest}"]
    if event.peer is None:
        return [actor]
    return [actor, {"type": {"coding": [other]}, "who": _named("member", event.peer), "requestor": False}]


def _entities(record: Record) -> list[dict[str, Any]]:
    event = record.entry.event
    known = {"log": record.log, "index": str(record.entry.seq), "leaf_hash": record.leaf_hash}
    known |= {name: as_text(value) for name, value in record.fields.items() if name not in FRAME}
    entry = _entity("entry", record.identity) | {
        "detail": [{"type": name, "valueString": value} for name, value in known.items() if value]
    }
    others = (("target", event.target), ("bundle", event.bundle_digest), ("round", event.round_id))
    return [entry, *(_entity(kind, value) for kind, value in others if value is not None)]


def _entity(kind: str, value: str) -> dict[str, Any]:
    system_object = {"system": f"{_HL7}audit-entity-type", "code": "2", "display": "System Object"}
    return {"what": _named(kind, value), "type": system_object}


def _named(kind: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": f"{NAMESPACE}{kind}", "value": value}}
