"""RFC 5424 messages, one an entry; `semfed_secure.audit.exporters.receiver` sends them as RFC 5425 says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.exporters import cef
from semfed_secure.audit.exporters.record import FRAME, as_text, readable
from semfed_secure.audit.wording import describe

if TYPE_CHECKING:
    from semfed_secure.audit.exporters.record import Record

SD_ID = "semfed@32473"
"""32473 is the enterprise number that RFC 5612 reserves for those who have none."""
_LOG_AUDIT = 13 * 8
_SEVERITY = {"success": 6, "denied": 4, "failed": 3}  # informational, warning, error
_LONGEST_HOST, _LONGEST_ID = 255, 32
_BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"


def encode(record: Record) -> str:
    """One message: every field of the entry as structured data, and the entry as a sentence."""
    fields = {"log": record.log, "index": str(record.entry.seq), "leaf_hash": record.leaf_hash}
    fields |= {name: as_text(value) for name, value in record.fields.items() if name not in FRAME}
    data = " ".join(f'{name}="{value_of(value)}"' for name, value in fields.items())
    return _message(record, f"[{SD_ID} {data}]", _BOM + describe(record.entry.event))


def encode_cef(record: Record) -> str:
    """One message that carries the line of CEF, as its receivers expect it."""
    return _message(record, "-", cef.encode(record))


def value_of(text: str) -> str:
    """A value of structured data: quotation marks, backslashes and closing brackets escaped, and on one line."""
    return readable(text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]"))


def _message(record: Record, data: str, text: str) -> str:
    event = record.entry.event
    host = record.log if len(record.log) <= _LONGEST_HOST else "-"
    priority = _LOG_AUDIT + _SEVERITY[event.outcome]
    return f"<{priority}>1 {record.entry.time} {host} semfed - {event.type.value[:_LONGEST_ID]} {data} {text}"
