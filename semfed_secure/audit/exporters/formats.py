"""The formats by name: how a file of each begins, how its records are written and joined, how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from semfed_secure.audit.exporters import cef, cloudevents, fhir, ocsf, prov, syslog, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from semfed_secure.audit.exporters.record import Record


class FormatName(StrEnum):
    """What a log can be exported as: the log itself in tiles, or its entries one by one."""

    TILES = "tiles"
    OCSF = "ocsf"
    CEF = "cef"
    SYSLOG = "syslog"
    CLOUDEVENTS = "cloudevents"
    FHIR = "fhir"
    PROV = "prov"
    CSV = "csv"


def _nothing(log: str) -> str:  # noqa: ARG001 - as all openings are called
    return ""


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        encode: One record as text without its end of line.
        opening: What stands before the first record, given the name of the log.
        separator: What stands between two records.
        closing: What stands behind the last.
        message: One record as a syslog message; None where the format is not sent over a network.
    """

    encode: Callable[[Record], str]
    opening: Callable[[str], str] = _nothing
    separator: str = "\n"
    closing: str = "\n"
    message: Callable[[Record], str] | None = None


# The tiles are no format of entries: `semfed_secure.audit.tiles` writes them.
FORMATS: Mapping[FormatName, Format] = {
    FormatName.OCSF: Format(ocsf.encode),
    FormatName.CEF: Format(cef.encode, message=syslog.encode_cef),
    FormatName.SYSLOG: Format(syslog.encode, message=syslog.encode),
    FormatName.CLOUDEVENTS: Format(cloudevents.encode),
    FormatName.FHIR: Format(fhir.encode),
    FormatName.PROV: Format(prov.encode, prov.opening, ",\n", prov.CLOSING),
    FormatName.CSV: Format(table.encode, lambda _: table.header() + "\r\n", "\r\n", "\r\n"),
}
