"""What every format is made from: one verified entry, and what leads back to its proof."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.events import encode_entry
from semfed_secure.audit.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from semfed_secure.audit.events import Entry

PRODUCT = "semfed-secure"
NAMESPACE = "semfed:audit/"
"""What begins the names that no standard has."""
FRAME = frozenset({"v", "seq", "time", "type"})
"""Fields of an entry that formats have places of their own for."""
PLAIN = {"ensure_ascii": False, "sort_keys": True, "separators": (",", ":")}
"""How JSON is written inside other formats."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry on its way out.

    Guarantee: a record holds what its entry holds, the name of the log and the entry's hash, and nothing else; the
    same entry gives the same record whenever it is exported.

    Attributes:
        log: Name of the log.
        entry: The entry.
        body: Its exact bytes in the log, as text.
        leaf_hash: Its RFC 6962 hash in hexadecimal: where a proof of it begins.
    """

    log: str
    entry: Entry
    body: str
    leaf_hash: str

    @property
    def identity(self) -> str:
        """Name of the log and number of the entry: receivers tell by it what they have already."""
        return f"{self.log}#{self.entry.seq}"

    @property
    def fields(self) -> dict[str, Any]:
        """The entry as the log has it."""
        fields: dict[str, Any] = json.loads(self.body)
        return fields


def records_of(log: str, entries: Iterable[Entry]) -> Iterator[Record]:
    """The records of entries of the log called ``log``."""
    for entry in entries:
        body = encode_entry(entry)
        yield Record(log, entry, body.decode(), leaf_hash(body).hex())


def readable(text: str) -> str:
    """``text`` without what ends a line or is no character to read; an entry holds none, formats do not rely on it."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def as_text(value: object) -> str:
    """A value of an entry where a format knows only text: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, **PLAIN)  # type: ignore[arg-type]
