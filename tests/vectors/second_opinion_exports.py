"""What other implementations say of exported logs: ``make second-opinion``, in an environment without ours.

`tests/audit/exporters/write_all.py` writes a log of every event type with every outcome in every format; here each
file is read by who else knows its format. ``ocsf-json-schema`` makes JSON schemas from the published OCSF 1.8.0, and
``jsonschema`` holds every event to that of its class. ``fhir.resources`` reads every FHIR R4B AuditEvent, ``prov`` the
PROV document, ``cloudevents`` every CloudEvent, ``pycef`` every CEF line. Nothing of `semfed_secure` is imported;
`requirements.txt` beside this file pins all of them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any

import prov.model
import pycef
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from fhir.resources.R4B.auditevent import AuditEvent
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded
from pydantic import ValidationError

OCSF = "1.8.0"


def leaf_hash(body: str) -> str:
    """RFC 6962 once more: what leads from a line to its proof."""
    return hashlib.sha256(b"\0" + body.encode()).hexdigest()


def check_ocsf(lines: list[str], bodies: list[str]) -> str:
    """Every event is what the published schema says of its class, and holds its entry."""
    published = json.loads((resources.files("ocsf_json_schema") / "ocsf" / f"{OCSF}.json").read_text())
    schemas = OcsfJsonSchemaEmbedded(published)
    validators: dict[int, Draft202012Validator] = {}
    for line, body in zip(lines, bodies, strict=True):
        event = json.loads(line)
        uid = event["class_uid"]
        if uid not in validators:
            name = schemas.lookup_class_name_from_uid(uid)
            validators[uid] = Draft202012Validator(schemas.get_class_schema(name))
        validators[uid].validate(event)
        require_at_least_one(published, published["classes"][schemas.lookup_class_name_from_uid(uid)], event)
        assert event["raw_data"] == body
        for broken in (event | {"activity_id": 98}, event | {"invented": 1}, without(event, "metadata")):
            assert not validators[uid].is_valid(broken)
    return f"OCSF {OCSF}: {len(lines)} events of {len(validators)} classes"


def require_at_least_one(published: Any, described: Any, value: dict[str, Any]) -> None:
    """What JSON schemas do not say of it: of some attributes each object must have one."""
    needed = (described.get("constraints") or {}).get("at_least_one")
    assert needed is None or set(needed) & set(value), (described["name"], sorted(value))
    for name, attribute in described["attributes"].items():
        if attribute.get("object_type") in published["objects"] and name in value:
            below = value[name] if isinstance(value[name], list) else [value[name]]
            for item in below:
                require_at_least_one(published, published["objects"][attribute["object_type"]], item)


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    """A copy that lacks one thing."""
    return {key: value for key, value in event.items() if key != name}


def check_fhir(lines: list[str], bodies: list[str]) -> str:
    """Every line is an AuditEvent of R4B whose id is the hash of its entry."""
    types: Counter[str] = Counter()
    for line, body in zip(lines, bodies, strict=True):
        resource = AuditEvent.model_validate_json(line)
        assert resource.id == leaf_hash(body)
        assert json.loads(resource.model_dump_json()).keys() == json.loads(line).keys()
        types[resource.type.display] += 1
    for needed in ("agent", "source", "recorded", "type"):
        try:
            AuditEvent.model_validate(without(json.loads(lines[0]), needed))
        except ValidationError:
            continue
        raise AssertionError(f"an AuditEvent without {needed} is none")
    return f"FHIR R4B: {len(lines)} AuditEvents of {len(types)} types"


def check_prov(text: str, bodies: list[str]) -> str:
    """One document, the same when it is written again, with a bundle for each entry."""
    document = prov.model.ProvDocument.deserialize(content=text, format="json")
    again = prov.model.ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert document == again
    bundles = list(document.bundles)
    assert len(bundles) == len(bodies)
    hashes = set()
    for bundle in bundles:
        (activity,) = bundle.get_records(prov.model.ProvActivity)
        hashes |= {str(value) for name, value in activity.attributes if name.localpart == "leaf_hash"}
        assert bundle.get_records(prov.model.ProvAgent)
    assert hashes == {leaf_hash(body) for body in bodies}
    return f"PROV: {len(bundles)} bundles"


def check_cloudevents(lines: list[str], bodies: list[str]) -> str:
    """Every line is a CloudEvent, and its data is the entry."""
    reader = JSONFormat()
    ids = set()
    for line, body in zip(lines, bodies, strict=True):
        event = reader.read(CloudEvent, line)
        ids.add((event.get_source(), event.get_id()))
        assert event.get_data() == json.loads(body)
        assert event.get_extension("leafhash") == leaf_hash(body)
    assert len(ids) == len(lines)
    return f"CloudEvents 1.0: {len(lines)} events"


def check_cef(lines: list[str], bodies: list[str]) -> str:
    """Every line is read as one event; this reader leaves the escapes in."""
    for line, body in zip(lines, bodies, strict=True):
        event = pycef.parse(line)
        assert event["DeviceEventClassID"] == json.loads(body)["type"]
        assert event["leafHash"] == leaf_hash(body)
        assert event["outcome"] == json.loads(body)["outcome"]
    return f"CEF: {len(lines)} lines"


def main(directory: Path) -> None:
    """Ask about every format."""
    bodies = (directory / "entries").read_text(encoding="utf-8").splitlines()

    def lines(name: str) -> list[str]:
        return (directory / name).read_text(encoding="utf-8").splitlines()

    said = [
        check_ocsf(lines("ocsf"), bodies),
        check_fhir(lines("fhir"), bodies),
        check_prov((directory / "prov").read_text(encoding="utf-8"), bodies),
        check_cloudevents(lines("cloudevents"), bodies),
        check_cef(lines("cef"), bodies),
    ]
    print(f"exports: {'; '.join(said)}: others read the same")  # noqa: T201 - a script's report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
