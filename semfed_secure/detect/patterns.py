"""The table of patterns: what an identifier looks like, what must stand before it, and which check it must pass.

Order is priority: where two rows find overlapping spans, the earlier one keeps its span. Quantifiers are bounded or
over disjoint characters, so that a scan takes time linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.detect import checksums
from semfed_secure.detect.findings import Kind

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Row:
    """One way to recognise a kind: group ``v`` of the pattern is the identifier, which ``check`` must accept."""

    kind: Kind
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    grouped: bool = False
    """Written in groups, so that a neighbour's group may look like one more: parts of a match are checked too."""
    needs: frozenset[str] = frozenset("0123456789")
    """A text that holds none of these characters holds no match, and need not be searched; empty where any may."""


def _row(
    kind: Kind,
    pattern: str,
    check: Callable[[str], bool] | None = None,
    *,
    cased: bool = False,
    grouped: bool = False,
    needs: str = "0123456789",
) -> Row:
    return Row(kind, re.compile(pattern, 0 if cased else re.IGNORECASE), check, grouped, frozenset(needs))


def _bare(check: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda value: check(value.replace(" ", "").replace("-", "").replace(".", ""))


# Between a label and its value: "MRN: 1", "MRN is 1", "MRN #1", "MRN no. 1".
_IS = r"\s{0,3}(?:\b(?:no|nr|num|number|id|is|was)\b\.?|[:#=.-]|\s){0,6}\s{0,3}"
_NUMBER = r"\s{0,2}(?:no|nr|num|number|id|identifier|#)"
# A value by label: letters, digits and inner dashes, with a digit among them.
_VALUE = r"(?P<v>(?=[a-z-]{0,12}\d)[a-z0-9](?:[a-z0-9-]{2,22})[a-z0-9])\b"
_DIGITS_BEFORE, _DIGITS_AFTER = r"(?<![\d.])(?<!\d-)", r"(?![\d])(?!-\d)"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = (
    r"(?:(?:18|19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|[12]\d|3[01])[-/.](?:(?:18|19|20)\d\d|\d\d)"
    rf"|{_MONTH}\.?\s(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?,?\s(?:18|19|20)\d\d"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH}\.?,?\s(?:18|19|20)\d\d)(?!\d)"
)
_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR"
    "|PA|PR|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
)
_STREET = (
    r"(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|place|pl|terrace|parkway|pkwy|highway"
    r"|hwy)"
)
# How people write an address that programs should not find: "bob (at) example [dot] com".
_AT, _DOT = (rf"\s?[(\[{{]\s?{word}\s?[)\]}}]\s?" for word in ("at", "dot"))
# 42 CFR 424.57: the letters S, L, O, I, B and Z never stand in a Medicare beneficiary identifier.
_MBI_LETTER, _MBI_ANY = "[AC-HJKMNP-RT-Y]", "[AC-HJKMNP-RT-Y0-9]"

ROWS: tuple[Row, ...] = (
    # web and mail
    _row(Kind.EMAIL, r"(?<![\w.+-])(?P<v>[\w.%+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,6})", needs="@"),
    _row(
        Kind.EMAIL,
        rf"(?<![\w.+-])(?P<v>[\w.%+-]{{1,64}}{_AT}[a-z0-9-]{{1,63}}(?:(?:\.|{_DOT})[a-z0-9-]{{1,63}}){{1,6}})",
        needs="([{",
    ),
    _row(Kind.URL, r"(?P<v>(?:https?://|ftp://|www\.)[^\s<>\"']{3,2000})", needs=":."),
    # cards
    _row(Kind.CARD_TRACK, r"(?P<v>%b\d{13,19}\^[^?\n]{2,80}|;\d{13,19}=\d{4,30})"),
    _row(Kind.CARD, r"(?<!\d)(?P<v>[2-6](?:[ -]?\d){12,18})(?!\d)", _bare(checksums.card), grouped=True),
    _row(
        Kind.CARD,
        r"(?<![\d.])(?P<v>[2-6]\d{3}(?:\.\d{4}){3}(?:\.\d{1,3})?|3[47]\d\d\.\d{6}\.\d{5})(?!\.?\d)",
        _bare(checksums.card),
    ),
    _row(
        Kind.CARD_CODE,
        rf"\b(?:cvv2?|cvc2?|cid|security code|card verification(?: code| value)?){_IS}(?P<v>\d{{3,4}})\b",
    ),
    _row(
        Kind.CARD_EXPIRY,
        rf"\b(?:exp(?:\.|iry|ires|iration)?(?: date)?|valid (?:thru|through|until|to)){_IS}"
        r"(?P<v>(?:0?[1-9]|1[0-2])\s?[/-]\s?(?:20)?\d\d)(?!\d)",
    ),
    # banks
    _row(
        Kind.IBAN,
        r"\b(?P<v>[a-z]{2}\d\d(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?)\b",
        _bare(checksums.iban),
        grouped=True,
    ),
    _row(
        Kind.BIC,
        rf"\b(?i:(?:bic|swift)\b(?:[ /](?:bic|swift|code))?{_IS})(?P<v>[A-Z]{{6}}[A-Z0-9]{{2}}(?:[A-Z0-9]{{3}})?)\b",
        checksums.bic,
        cased=True,
        needs="",
    ),
    _row(Kind.ABA_ROUTING, rf"\b(?:aba|rtn|routing)(?: transit)?{_IS}(?P<v>\d{{9}})\b", checksums.aba),
    # people's numbers
    _row(
        Kind.US_SSN,
        rf"{_DIGITS_BEFORE}(?P<v>\d{{3}}(?P<s>[- .])\d\d(?P=s)\d{{4}}){_DIGITS_AFTER}",
        _bare(checksums.ssn),
    ),
    _row(Kind.US_SSN, rf"\b(?:ssn|social security){_IS}(?P<v>\d{{3}}[- .]?\d\d[- .]?\d{{4}})\b", _bare(checksums.ssn)),
    _row(
        Kind.US_ITIN,
        rf"{_DIGITS_BEFORE}(?P<v>9\d\d(?P<s>[- .])\d\d(?P=s)\d{{4}}){_DIGITS_AFTER}",
        _bare(checksums.itin),
    ),
    _row(Kind.US_EIN, rf"\b(?:f?ein|employer identification|tax id|tin){_IS}(?P<v>\d\d-?\d{{7}})\b"),
    _row(Kind.NPI, rf"\bnpi{_IS}(?P<v>\d{{10}})\b"),
    _row(Kind.NPI, rf"{_DIGITS_BEFORE}(?P<v>[12]\d{{9}}){_DIGITS_AFTER}", checksums.npi),
    _row(Kind.DEA, r"\b(?P<v>[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7})\b", checksums.dea, cased=True),
    # health
    _row(
        Kind.HEALTH_PLAN_ID,
        rf"\b(?P<v>[1-9]{_MBI_LETTER}{_MBI_ANY}\d-?{_MBI_LETTER}{_MBI_ANY}\d-?{_MBI_LETTER}{{2}}\d\d)\b",
    ),
    _row(
        Kind.HEALTH_PLAN_ID,
        rf"\b(?:(?:member|subscriber|beneficiary|insurance|health plan|policy){_NUMBER}|medicare|medicaid|mbi)"
        rf"{_IS}{_VALUE}",
    ),
    _row(
        Kind.MRN, rf"\b(?:mrn|(?:medical|health) record|patient{_NUMBER}|chart{_NUMBER}|hospital{_NUMBER}){_IS}{_VALUE}"
    ),
    # vehicles, devices, licences
    _row(Kind.VEHICLE_ID, r"\b(?P<v>[A-HJ-NPR-Z0-9]{17})\b", checksums.vin, needs=""),
    _row(Kind.VEHICLE_ID, rf"\b(?:licen[cs]e plate|plate{_NUMBER}|vin){_IS}{_VALUE}"),
    _row(Kind.DEVICE_ID, r"\b(?P<v>[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5})\b", needs=":-"),
    _row(Kind.DEVICE_ID, rf"\b(?:imei|udi|serial{_NUMBER}?|device{_NUMBER}|s/n){_IS}{_VALUE}"),
    _row(
        Kind.LICENCE,
        rf"\b(?:driver'?s? licen[cs]e|(?:medical )?licen[cs]e{_NUMBER}|certificate{_NUMBER}|passport){_IS}{_VALUE}",
    ),
    _row(
        Kind.ACCOUNT_NUMBER,
        rf"\b(?:(?:bank |checking |savings |loan )?(?:account|acct)|a/c|loan|customer{_NUMBER}|client{_NUMBER})"
        rf"{_IS}{_VALUE}",
        lambda value: sum(char.isdigit() for char in value) >= 4,
    ),
    # network
    _row(Kind.IP_ADDRESS, r"(?<![\d.])(?P<v>\d{1,3}(?:\.\d{1,3}){3})(?![\d]|\.\d)", checksums.ip_address),
    _row(
        Kind.IP_ADDRESS,
        r"(?<![\w:])(?P<v>[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){3,7})(?![\w:])",
        checksums.ip_address,
        needs=":",
    ),
    # telephones: separated, international, or after a label
    _row(
        Kind.PHONE,
        rf"(?<![\d-])(?P<v>(?:\+?1[-. ]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{{4}}){_DIGITS_AFTER}",
    ),
    _row(
        Kind.PHONE,
        r"(?<![\d+])(?P<v>\+\d{1,3}(?:[-. ]?\(?\d{1,4}\)?){2,6}\d)(?!\d)",
        lambda v: 8 <= sum(map(str.isdigit, v)) <= 15,
    ),
    _row(Kind.PHONE, rf"\b(?:tel|phone|telephone|mobile|cell|fax|pager){_IS}(?P<v>\+?\(?\d[\d(). -]{{5,18}}\d)\b"),
    # days and ages
    _row(Kind.DATE_OF_BIRTH, rf"\b(?:d\.?o\.?b\.?|date of birth|birth ?date|born)(?: on)?{_IS}(?P<v>{_DATE})"),
    _row(Kind.DATE, rf"(?<![\w./-])(?P<v>{_DATE})"),
    _row(
        Kind.AGE_OVER_89,
        r"\b(?:aged?|age of|age is|age:)\s{0,3}(?P<v>9\d|1[0-3]\d)\b(?!\s?(?:days|weeks|months|hours|min))",
    ),
    _row(Kind.AGE_OVER_89, r"\b(?P<v>9\d|1[0-3]\d)[- ]?(?:years?[- ]old|y/?o|yrs?[- ]old|year-old)\b"),
    # places
    _row(
        Kind.STREET_ADDRESS,
        rf"\b(?P<v>\d{{1,5}}\s(?:[NSEW]\.?\s)?(?:[A-Z][a-z]+\s){{1,3}}(?i:{_STREET})\b\.?)",
        cased=True,
    ),
    _row(Kind.POSTAL_CODE, rf"\b(?P<v>(?:{_STATES})\s\d{{5}}(?:-\d{{4}})?)\b", cased=True),
    _row(Kind.POSTAL_CODE, rf"\b(?:zip|postal|post)(?: ?code)?{_IS}(?P<v>\d{{5}}(?:-\d{{4}})?)\b"),
)
