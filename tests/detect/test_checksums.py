"""Check digits: published examples pass, and every single-digit mistake that the scheme promises to see is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.detect import checksums

if TYPE_CHECKING:
    from collections.abc import Callable

# Published examples: ISO 13616 registry, 42 CFR 162.406, 49 CFR 565, ABA and card test numbers.
EXAMPLES: list[tuple[Callable[[str], bool], str]] = [
    (checksums.luhn, "79927398713"),
    (checksums.card, "4111111111111111"),
    (checksums.card, "2223003122003222"),
    (checksums.card, "378282246310005"),
    (checksums.iban, "GB82WEST12345698765432"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "NO9386011117947"),
    (checksums.aba, "021000021"),
    (checksums.aba, "322271627"),
    (checksums.npi, "1234567893"),
    (checksums.dea, "AB1234563"),
    (checksums.vin, "1HGCM82633A004352"),
    (checksums.vin, "11111111111111111"),
]


@pytest.mark.parametrize(("check", "number"), EXAMPLES)
def test_a_published_example_passes(check: Callable[[str], bool], number: str) -> None:
    """The number as published is accepted."""
    assert check(number)


# Their weights cannot see every mistake: ten does not divide them (DEA: a five more or less in a doubled digit).
WEAKER = {checksums.vin, checksums.dea}


@pytest.mark.parametrize(("check", "number"), [pair for pair in EXAMPLES if pair[0] not in WEAKER])
def test_one_wrong_digit_is_seen(check: Callable[[str], bool], number: str) -> None:
    """Every change of one digit is refused."""
    changed = [
        number[:place] + str(digit) + number[place + 1 :]
        for place, char in enumerate(number)
        for digit in range(10)
        if char.isdigit() and int(char) != digit
    ]
    assert [other for other in changed if check(other)] == []


@pytest.mark.parametrize(
    ("check", "number", "accepted"),
    [
        (checksums.ssn, "123456789", True),
        (checksums.ssn, "000456789", False),
        (checksums.ssn, "666456789", False),
        (checksums.ssn, "900456789", False),
        (checksums.ssn, "123006789", False),
        (checksums.ssn, "123450000", False),
        (checksums.itin, "912701234", True),
        (checksums.itin, "912661234", False),
        (checksums.itin, "812701234", False),
        (checksums.iban, "XX82WEST12345698765432", False),
        (checksums.card, "9111111111111111", False),
        (checksums.bic, "DEUTDEFF", True),
        (checksums.bic, "TRANSFER", False),
        (checksums.ip_address, "10.0.0.256", False),
        (checksums.ip_address, "::1", True),
    ],
)
def test_number_rules(check: Callable[[str], bool], number: str, accepted: bool) -> None:
    """Ranges that are never issued, unknown countries and impossible addresses are refused."""
    assert check(number) is accepted
