"""CSV by RFC 4180 in UTF-8, safe to open in a spreadsheet: no cell of it is ever a formula."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.events import Event, PrivacyFields
from semfed_secure.audit.exporters.record import as_text
from semfed_secure.audit.wording import describe

if TYPE_CHECKING:
    from semfed_secure.audit.exporters.record import Record

_PRIVACY = tuple(PrivacyFields.model_fields)
_EVENT = tuple(name for name in Event.model_fields if name not in {"type", "outcome", "privacy"})
COLUMNS = ("log", "index", "leaf_hash", "time", "writer", "type", "outcome", *_EVENT, *_PRIVACY, "sentence")
# A cell that begins with one of these is a formula to some spreadsheet, in its full-width form too. A spreadsheet that
# takes another separator than ours begins new cells inside of ours, behind each of the characters of the first group.
_RISKY = re.compile(r"(^|[,;|\t\r\n\"'])(\s*?)(?=[=+\-@\t\r\n'＝＋－＠])")  # noqa: RUF001 - the full-width forms
_GUARDED = re.compile(r"(^|[,;|\t\r\n\"'])(\s*?)'(?=[=+\-@\t\r\n'＝＋－＠])")  # noqa: RUF001


def header() -> str:
    """The first line: the names of the columns."""
    return _line(COLUMNS)


def encode(record: Record) -> str:
    """One line; every field of the entry has a cell, so nothing is lost."""
    fields: dict[str, Any] = record.fields
    fields |= fields.pop("privacy", {})
    fields |= {"log": record.log, "index": record.entry.seq, "leaf_hash": record.leaf_hash}
    fields["sentence"] = describe(record.entry.event)
    return _line([guard(as_text(fields[name])) if name in fields else "" for name in COLUMNS])


def guard(text: str) -> str:
    """``text`` with an apostrophe before whatever a spreadsheet could take for the beginning of a formula."""
    return _RISKY.sub(r"\1\2'", text)


def unguard(text: str) -> str:
    """What was guarded."""
    return _GUARDED.sub(r"\1\2", text)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
    return out.getvalue()
