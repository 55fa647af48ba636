"""What a detector says: kind and place of an identifier, never its text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(StrEnum):
    """Identifiers that `identifiers` finds; the letter is that of 45 CFR 164.514(b)(2)(i), where there is one."""

    STREET_ADDRESS = "street_address"
    """(B)"""
    POSTAL_CODE = "postal_code"
    """(B)"""
    DATE = "date"
    """(C) a day, not a year alone"""
    DATE_OF_BIRTH = "date_of_birth"
    """(C)"""
    AGE_OVER_89 = "age_over_89"
    """(C)"""
    PHONE = "phone"
    """(D) and (E)"""
    EMAIL = "email"
    """(F)"""
    US_SSN = "us_ssn"
    """(G)"""
    US_ITIN = "us_itin"
    US_EIN = "us_ein"
    MRN = "mrn"
    """(H)"""
    HEALTH_PLAN_ID = "health_plan_id"
    """(I)"""
    ACCOUNT_NUMBER = "account_number"
    """(J)"""
    CARD = "card"
    """(J)"""
    CARD_TRACK = "card_track"
    CARD_CODE = "card_code"
    CARD_EXPIRY = "card_expiry"
    IBAN = "iban"
    """(J)"""
    BIC = "bic"
    ABA_ROUTING = "aba_routing"
    LICENCE = "licence"
    """(K)"""
    NPI = "npi"
    """(K)"""
    DEA = "dea"
    """(K)"""
    VEHICLE_ID = "vehicle_id"
    """(L)"""
    DEVICE_ID = "device_id"
    """(M)"""
    URL = "url"
    """(N)"""
    IP_ADDRESS = "ip_address"
    """(O)"""


@dataclass(frozen=True, slots=True)
class Finding:
    """An identifier of ``kind`` at ``text[start:end]``, found by ``detector``; it does not hold the text."""

    kind: str
    start: int
    end: int
    detector: str


class Detector(Protocol):
    """Anything that looks for identifiers; ``name`` is what policies require and logs record."""

    name: str

    def scan(self, text: str) -> tuple[Finding, ...]:
        """Every identifier that it sees, ordered by place."""
        ...


def summarise(findings: Iterable[Finding]) -> Mapping[str, int]:
    """How many of each kind: all that may be logged."""
    return dict(sorted(Counter(finding.kind for finding in findings).items()))
