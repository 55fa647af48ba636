"""CEF, version 0 of ArcSight's Common Event Format: one line an entry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.audit.events import FORMAT
from semfed_secure.audit.exporters.record import PLAIN, PRODUCT, readable
from semfed_secure.audit.wording import describe
from semfed_secure.clock import to_ms

if TYPE_CHECKING:
    from semfed_secure.audit.exporters.record import Record

_SEVERITY = {"success": 3, "denied": 6, "failed": 8}
_SHOWN = frozenset({"v", "seq", "time", "writer", "type", "outcome", "actor", "peer", "target", "reason", "round_id"})
_CUSTOM, _SENTENCE, _SHORT = 4_000, 1_023, 255
"""The longest values of custom strings, of sentences, and of names."""


def encode(record: Record) -> str:
    """One line. What is longer than CEF's fields ends with an ellipsis; the entry in the log has the rest."""
    entry, event = record.entry, record.entry.event
    kind = event.type.value
    rest = {name: value for name, value in record.fields.items() if name not in _SHOWN}
    extension: list[tuple[str, str | None, int]] = [
        ("rt", str(to_ms(entry.at)), _SHORT),
        ("deviceExternalId", record.log, _SHORT),
        ("externalId", str(entry.seq), _SHORT),
        ("deviceProcessName", entry.writer, _SENTENCE),
        ("act", kind, _SHORT),
        ("outcome", event.outcome, _SHORT),
        ("suser", event.actor, _SENTENCE),
        ("duser", event.peer, _SENTENCE),
        ("fname", event.target, _SENTENCE),
        ("msg", describe(event), _SENTENCE),
        ("reason", event.reason, _SENTENCE),
    ]
    custom = (
        ("entry", record.identity),
        ("leafHash", record.leaf_hash),
        ("round", event.round_id),
        ("event", json.dumps(rest, **PLAIN) if rest else None),  # type: ignore[arg-type]
    )
    for number, (label, value) in enumerate(custom, start=1):
        if value is not None:
            extension += [(f"cs{number}Label", label, _SHORT), (f"cs{number}", value, _CUSTOM)]
    head = "|".join(header(part) for part in (PRODUCT, PRODUCT, str(FORMAT), kind, kind, str(_SEVERITY[event.outcome])))
    pairs = " ".join(f"{name}={value_of(cut(text, longest))}" for name, text, longest in extension if text is not None)
    return f"CEF:0|{head}|{pairs}"


def header(text: str) -> str:
    """A part of the header: no line ends, and pipes and backslashes escaped."""
    plain = readable(text.replace("\n", " ").replace("\r", " "))
    return plain.replace("\\", "\\\\").replace("|", "\\|")


def value_of(text: str) -> str:
    """A value of the extension: line ends, equals signs and backslashes escaped."""
    plain = text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r")
    return readable(plain)


def cut(text: str, longest: int) -> str:
    """At most ``longest`` characters, the last of which says that some are missing."""
    return text if len(text) <= longest else text[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
