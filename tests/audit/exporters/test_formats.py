"""Every type of event with every outcome, in every format: valid by its rules, traceable, and with nothing lost."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from semfed_secure.audit.events import Entry, Event, EventType, PrivacyFields, encode_entry
from semfed_secure.audit.exporters import cef, syslog, table
from semfed_secure.audit.exporters.formats import FORMATS, Format, FormatName
from semfed_secure.audit.exporters.meanings import MEANINGS
from semfed_secure.audit.exporters.record import FRAME, Record, as_text, records_of
from semfed_secure.audit.merkle import leaf_hash
from semfed_secure.audit.wording import describe
from tests.audit.exporters.examples import LOG, every_record, full, written
from tests.audit.exporters.readers import read_cef, read_syslog

RECORDS = every_record()
FORMULA = tuple("=+-@\t\r\n" + "".join(chr(ord(one) + 0xFEE0) for one in "=+-@"))  # in full width too
HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("=+-@|\\\"'];,\t\r\n\x00\x1b\u202e\u2028\ufeff\uff1d \u200f")),
    max_size=40,
)


def form(name: str) -> Format:
    """One format by name."""
    return FORMATS[FormatName(name)]


def test_every_type_of_event_has_a_meaning_elsewhere() -> None:
    """A type that is added to the catalogue must be given one, or this fails."""
    assert set(MEANINGS) == set(EventType)
    assert {record.entry.event.type for record in RECORDS} == set(EventType)


def test_every_format_is_one_of_entries_but_the_tiles() -> None:
    """What the command offers is what there is."""
    assert set(FORMATS) == set(FormatName) - {FormatName.TILES}


@pytest.mark.parametrize("name", list(FORMATS))
def test_each_line_leads_to_its_proof_and_never_changes(name: FormatName) -> None:
    """Name of the log, number and leaf hash; the same entry is the same line whenever it is exported."""
    for record, again in zip(RECORDS, every_record(), strict=True):
        line = FORMATS[name].encode(record)
        assert line == FORMATS[name].encode(again)
        assert "\n" not in line
        assert LOG in line
        assert leaf_hash(record.body.encode()).hex() in line
    assert len({FORMATS[name].encode(record) for record in RECORDS}) == len(RECORDS)


def test_ocsf_holds_the_entry_byte_for_byte() -> None:
    """Ids that agree with each other; ``raw_data`` hashes to the leaf; the fields stand beside it."""
    for record in RECORDS:
        event = json.loads(form("ocsf").encode(record))
        assert leaf_hash(event["raw_data"].encode()).hex() == event["unmapped"].pop("leaf_hash")
        assert event["unmapped"] == {name: value for name, value in record.fields.items() if name not in FRAME}
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert event["category_uid"] == event["class_uid"] // 1000
        assert event["metadata"]["uid"] == f"{LOG}#{record.entry.seq}"
        assert (event["severity_id"] == 1) is (record.entry.event.outcome == "success")


def test_cef_says_who_did_what_how_it_ended_and_where_the_rest_is() -> None:
    """Read by a reader of its own: nothing in a value is taken for a key, a header or a line."""
    for record in RECORDS:
        header, extension = read_cef(form("cef").encode(record))
        event = record.entry.event
        assert header[:2] == ["semfed-secure", "semfed-secure"]
        assert header[3] == event.type.value
        assert (extension["suser"], extension["outcome"]) == (event.actor, event.outcome)
        assert (extension["cs1"], extension["cs2"]) == (record.identity, record.leaf_hash)
        assert extension["msg"] == cef.cut(describe(event), 1_023)
        for key, value in (("duser", event.peer), ("fname", event.target), ("reason", event.reason)):
            assert extension.get(key) == value
        rest = json.loads(extension.get("cs4", "{}"))
        assert rest.get("details", {}) == json.loads(record.body).get("details", {})
        labels = {key for key in extension if key.endswith("Label")}
        assert {key.removesuffix("Label") for key in labels} == {key for key in extension if key[:2] == "cs"} - labels


def test_cef_says_that_it_is_cut() -> None:
    """An entry that is longer than CEF's fields is cut with an ellipsis, and still names its proof."""
    reasons = ["x" * 900] * 20
    event = Event(type=EventType.DECISION, outcome="denied", actor="north", details={"reasons": reasons})
    (record,) = records_of(LOG, [Entry(0, "2026-03-01T08:00:00.000Z", "w", event)])
    _, extension = read_cef(form("cef").encode(record))
    assert len(extension["cs4"]) == 4_000
    assert extension["cs4"].endswith("x\N{HORIZONTAL ELLIPSIS}")
    assert extension["cs2"] == record.leaf_hash


def test_syslog_has_every_field_as_structured_data() -> None:
    """Facility log audit, a severity by outcome, the event as message id, and the sentence as text."""
    for record in RECORDS:
        header, data = read_syslog(form("syslog").encode(record))
        event = record.entry.event
        assert divmod(int(header["pri"]), 8) == (13, {"success": 6, "denied": 4, "failed": 3}[event.outcome])
        assert (header["host"], header["id"], header["time"]) == (LOG, event.type.value, record.entry.time)
        assert header["text"] == "\ufeff" + describe(event)
        known = {"log": LOG, "index": str(record.entry.seq), "leaf_hash": record.leaf_hash}
        assert data == known | {n: as_text(v) for n, v in record.fields.items() if n not in FRAME}


def test_what_is_sent_as_cef_is_its_line_in_a_syslog_message() -> None:
    """As receivers of CEF expect it."""
    for record in RECORDS:
        message = form("cef").message
        assert message is not None
        header, data = read_syslog(message(record))
        assert (header["text"], data) == (form("cef").encode(record), {})


def test_cloudevents_carry_the_entry_under_an_id_that_never_changes() -> None:
    """The attributes that the standard demands, ours in its spelling, and data that is the entry again."""
    for record in RECORDS:
        event = json.loads(form("cloudevents").encode(record))
        assert rfc8785.dumps(event.pop("data")).decode() == record.body
        assert event["id"] == f"{LOG}#{record.entry.seq}"
        assert event["specversion"] == "1.0"
        assert all(name.isalnum() and name.islower() and isinstance(value, str) for name, value in event.items())


def test_fhir_has_every_field_in_the_details_of_its_entity() -> None:
    """The types and codes of R4B, who and to whom, and the outcome; its id is the hash, so it is stored once."""
    for record in RECORDS:
        resource = json.loads(form("fhir").encode(record))
        event = record.entry.event
        assert (resource["resourceType"], resource["id"]) == ("AuditEvent", record.leaf_hash)
        assert resource["action"] in "CRUDE"
        assert resource["outcome"] == {"success": "0", "denied": "4", "failed": "8"}[event.outcome]
        roles = {agent["type"]["coding"][0]["code"]: agent["who"]["identifier"]["value"] for agent in resource["agent"]}
        assert set(roles.values()) == {event.actor} | ({event.peer} - {None})
        if resource["type"]["code"] in {"110106", "110107"} and event.peer is not None:
            out = resource["type"]["code"] == "110106"
            assert (roles["110153"], roles["110152"])[:: 1 if out else -1] == (event.actor, event.peer)
        details = {detail["type"]: detail["valueString"] for detail in resource["entity"][0]["detail"]}
        known = {"log": LOG, "index": str(record.entry.seq), "leaf_hash": record.leaf_hash}
        assert details == known | {n: as_text(v) for n, v in record.fields.items() if n not in FRAME}


def test_prov_is_one_document_with_a_bundle_for_each_entry() -> None:
    """Each names an activity, its agents, and what it used and made; every name has a prefix that is declared."""
    document = json.loads(written(form("prov"), RECORDS))
    assert len(document["bundle"]) == len(RECORDS)
    for record in RECORDS:
        bundle = document["bundle"][f"entry:{record.entry.seq}"]
        (activity,) = bundle["activity"].values()
        assert activity["semfed:leaf_hash"] == record.leaf_hash
        agents = {agent["prov:label"] for agent in bundle["agent"].values()}
        assert agents == {record.entry.event.actor} | ({record.entry.event.peer} - {None})
        for relation in (*bundle.get("used", {}).values(), *bundle.get("wasGeneratedBy", {}).values()):
            assert relation["prov:entity"] in bundle["entity"]
            assert relation["prov:activity"] in bundle["activity"]
        names = [*bundle["activity"], *bundle["agent"], *bundle.get("entity", {})]
        assert {name.partition(":")[0] for name in names} <= set(document["prefix"])


def entry_of(row: dict[str, str]) -> dict[str, Any]:
    """The entry that a line of the table holds."""
    row = {name: table.unguard(cell) for name, cell in row.items() if cell}
    fields: dict[str, Any] = {"v": 1, "seq": int(row.pop("index"))}
    for name in ("log", "leaf_hash", "sentence"):
        row.pop(name)
    privacy = {name: row.pop(name) for name in PrivacyFields.model_fields if name in row}
    for name, cell in row.items():
        fields[name] = json.loads(cell) if name in {"codes", "details", "peer_entry"} else cell
    return fields | ({"privacy": privacy} if privacy else {})


def test_csv_gives_every_entry_back() -> None:
    """From each line the exact bytes of the entry, and so its hash."""
    text = written(form("csv"), RECORDS)
    assert text.count("\r\n") == len(RECORDS) + 1
    for row, record in zip(csv.DictReader(io.StringIO(text, newline="")), RECORDS, strict=True):
        assert rfc8785.dumps(entry_of(row)).decode() == record.body
        assert row["leaf_hash"] == record.leaf_hash


def cells_of(text: str, separator: str) -> list[str]:
    """What a spreadsheet makes of a file if it takes ``separator`` for the separator."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [cell for line in lines for cell in line]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_holds_no_formula_whatever_a_spreadsheet_takes_for_the_separator(separator: str) -> None:
    """OWASP: no cell begins with what makes a formula, in full width neither, and blanks before it hide nothing."""
    for cell in cells_of(written(form("csv"), RECORDS), separator):
        assert not cell.lstrip(' "').startswith(FORMULA), cell


@example("\r@")
@given(HOSTILE)
def test_csv_guards_any_text_and_gives_it_back(text: str) -> None:
    """Control characters, quotes, separators and formulas in any order."""
    guarded = table.guard(text)
    assert table.unguard(guarded) == text
    for separator in ",;|\t":
        for part in guarded.split(separator):
            assert not part.lstrip().startswith(FORMULA)
            assert not part.startswith(FORMULA)


@given(HOSTILE)
def test_cef_escapes_any_text(text: str) -> None:
    """One header and one value come out again as they went in, but for what is no character to read."""
    line = f"CEF:0|{'|'.join([cef.header(text)] * 6)}|act={cef.value_of(text)} outcome=x"
    header, extension = read_cef(line)
    assert set(extension) == {"act", "outcome"}
    readable = "".join(one if one.isprintable() or one in "\r\n" else "\N{REPLACEMENT CHARACTER}" for one in text)
    assert extension["act"] == readable
    assert header == [readable.replace("\r", " ").replace("\n", " ")] * 6


@given(HOSTILE)
def test_syslog_escapes_any_text(text: str) -> None:
    """A value stays a value, on one line."""
    message = f'<110>1 2026-03-01T08:00:00.250Z h semfed - t [a@1 b="{syslog.value_of(text)}"] m'
    assert "\n" not in message
    _, data = read_syslog(message)
    assert data["b"] == "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(EventType), st.sampled_from(["success", "denied", "failed"]), HOSTILE)
def test_whatever_an_entry_can_hold_every_format_can(kind: EventType, outcome: str, text: str) -> None:
    """Hostile text in the reason and in every detail: read again by the readers of each format."""
    fields = full(kind, outcome) | {"reason": text}
    fields["details"] = {name: text if isinstance(value, str) else value for name, value in fields["details"].items()}
    event = Event.model_validate(fields)
    (record,) = records_of(LOG, [Entry(3, "2026-03-01T08:00:00.250Z", "north/client", event)])
    _check(record)


def _check(record: Record) -> None:
    body = encode_entry(record.entry).decode()
    assert json.loads(form("ocsf").encode(record))["raw_data"] == body
    assert rfc8785.dumps(json.loads(form("cloudevents").encode(record))["data"]).decode() == body
    assert read_cef(form("cef").encode(record))[1].get("reason", "") == record.entry.event.reason
    assert read_syslog(form("syslog").encode(record))[1].get("reason", "") == record.entry.event.reason
    assert json.loads(form("fhir").encode(record))["id"] == record.leaf_hash
    assert json.loads(written(form("prov"), [record]))["bundle"]["entry:3"]
    (row,) = csv.DictReader(io.StringIO(written(form("csv"), [record]), newline=""))
    found = entry_of(row)
    if record.entry.event.reason == "":  # an empty cell is a field that is not there
        found["reason"] = ""
    assert rfc8785.dumps(found).decode() == body


def _only_at_the_beginning(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


MUTANTS = {
    "formulas are looked for at the beginning of a cell only": (table, "guard", _only_at_the_beginning),
    "a cell is written as it is": (table, "guard", str),
    "equals signs stay as they are in CEF": (cef, "value_of", lambda text: text.replace("\\", "\\\\")),
    "pipes stay as they are in the header of CEF": (cef, "header", str),
    "closing brackets stay as they are in syslog": (syslog, "value_of", lambda text: text.replace('"', '\\"')),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_readers_notice_what_is_not_escaped(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule that is left out is found by one of the checks above."""
    module, name, instead = MUTANTS[mutant]
    monkeypatch.setattr(module, name, instead)
    checks: dict[Any, tuple[Any, ...]] = {
        table: (test_csv_holds_no_formula_whatever_a_spreadsheet_takes_for_the_separator, ";"),
        cef: (test_cef_escapes_any_text,),
        syslog: (test_syslog_has_every_field_as_structured_data,),
    }
    check, *arguments = checks[module]
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check(*arguments)
