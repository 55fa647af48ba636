"""CloudEvents 1.0 in its JSON format, one event a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from semfed_secure.audit.exporters.record import Record

VERSION = "1.0"


def encode(record: Record) -> str:
    """One event whose data is the entry itself, so nothing is lost; its id is the same at every export."""
    entry = record.entry
    document = {
        "specversion": VERSION,
        "id": record.identity,
        "source": f"semfed:log/{quote(record.log)}",
        "type": f"semfed.{entry.event.type.value}",
        "time": entry.time,
        "datacontenttype": "application/json",
        "logname": record.log,
        "logindex": str(entry.seq),  # a number of this format has 32 bits
        "leafhash": record.leaf_hash,
        "data": record.fields,
    }
    if entry.event.target is not None:
        document["subject"] = entry.event.target
    return json.dumps(document, ensure_ascii=False)
