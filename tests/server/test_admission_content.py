"""Admission, steps 8 to 15: sealed to us, as committed, as the round asks, and clean; and the list itself."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from semfed_secure.crypto.keys import OpeningKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import sha256
from semfed_secure.server.admission import (
    accept,
    admit,
    authenticate,
    read_contribution,
)
from semfed_secure.units import Mechanism, PrivacyUnit, Relation
from semfed_secure.wire.messages import (
    encode_contribution,
    encode_payload,
    parse_contribution,
    statement_info,
)
from tests.server.judging import TEXT, VOTES, judge, manifest_of, refused
from tests.server.world import (
    FLOOR,
    answers,
    body_of,
    post,
    statement_for,
    votes,
)


def test_step_08_sealed_to_another_recipient() -> None:
    """What names another server's key is not for us."""
    assert refused(post("bay", manifest_of(VOTES), recipient_key_id=OpeningKey.generate().key_id)) == "SF308"


def test_step_08_a_second_recipient() -> None:
    """In direct mode nobody but the server receives a bundle."""
    statement = statement_for("bay", manifest_of(VOTES), votes(), ciphertext_digests=(sha256(b"a"), sha256(b"b")))
    assert refused(body_of(statement, b"a", b"b", signer="bay")) == "SF308"


def test_step_09_equivocation() -> None:
    """A member that was admitted cannot say something else; its own contribution is no contradiction."""
    body = post("bay", manifest_of(VOTES))
    own = read_contribution(body, VOTES).statement.digest
    assert refused(body, replace(VOTES, standing=lambda _member: sha256(b"other"))) == "SF309"
    assert judge(body, replace(VOTES, standing=lambda _member: own))


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"epsilon": Decimal(8)}, True),
        ({"epsilon": Decimal("8.000001")}, False),
        ({"epsilon": Decimal("Infinity")}, False),
        ({"delta": Decimal("0.00001")}, True),
        ({"delta": Decimal("0.000010001")}, False),
        ({"mechanism": Mechanism.UNSAFE_NO_NOISE}, False),
        ({"unit": PrivacyUnit.ORGANISATION}, True),
        ({"relation": Relation.REPLACE_ONE}, False),
    ],
    ids=str,
)
def test_step_10_privacy_below_the_floor(changes: dict[str, Any], *, good: bool) -> None:
    """At the floor is admitted, just below it is refused, in each term of the declaration."""
    declared = replace(statement_for("bay", manifest_of(VOTES), votes()).privacy, **changes)
    body = post("bay", manifest_of(VOTES), privacy=declared)
    assert judge(body) if good else refused(body) == "SF310"


RUN = {"noise_multiplier": "1", "sample_rate": "0.01", "steps": "1000"}  # costs 2.436694


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"parameters": RUN, "epsilon": Decimal("2.436694")}, True),
        ({"parameters": RUN, "epsilon": Decimal("2.436693")}, False),
        ({"parameters": RUN, "epsilon": Decimal("1.835708"), "accountant": "gdp"}, False),
        ({"accountant": "gdp"}, False),
        ({"accountant": "prv"}, False),
        ({"epsilon": Decimal(-1)}, False),
        ({"delta": Decimal(0)}, False),
        ({"delta": Decimal(-1)}, False),
        ({"parameters": RUN | {"noise_multiplier": "0"}}, False),
        ({"parameters": RUN | {"noise_multiplier": "nan"}}, False),
        ({"parameters": RUN | {"noise_multiplier": "inf"}}, False),
        ({"parameters": RUN | {"sample_rate": "1.01"}}, False),
        ({"parameters": RUN | {"sample_rate": "0"}}, False),
        ({"parameters": RUN | {"steps": "0"}}, False),
        ({"parameters": RUN | {"sensitivity": "0"}}, False),
        ({"parameters": {"noise_multiplier": "1"}}, False),
    ],
    ids=str,
)
def test_step_10_a_declaration_that_contradicts_itself(changes: dict[str, Any], *, good: bool) -> None:
    """Another accountant, a parameter that is none, or less epsilon than its own parameters cost."""
    declared = replace(statement_for("bay", manifest_of(VOTES), votes()).privacy, **changes)
    try:
        body = post("bay", manifest_of(VOTES), privacy=declared)
    except ConfigurationError:  # what cannot even be written is not sent
        assert not good
        return
    assert judge(body) if good else refused(body) == "SF310"


def test_step_10_a_weaker_unit_than_the_floor_asks() -> None:
    """Where organisations are to be hidden, hiding their entities is not enough."""
    floor = replace(FLOOR, unit=PrivacyUnit.ORGANISATION)
    assert VOTES.terms is not None
    manifest = replace(manifest_of(VOTES), dp_floor=floor)
    context = replace(VOTES, terms=replace(VOTES.terms, manifest=manifest))
    assert refused(post("bay", manifest), context) == "SF310"


def test_step_11_swapped_ciphertext() -> None:
    """A blob that opens, and is not the one that was signed, is refused."""
    first, second = (parse_contribution(post("bay", manifest_of(VOTES))) for _ in range(2))
    assert refused(encode_contribution(replace(first, sealed=second.sealed))) == "SF311"


def test_step_11_missing_or_second_blob() -> None:
    """Exactly the signed number of blobs."""
    contribution = parse_contribution(post("bay", manifest_of(VOTES)))
    assert refused(encode_contribution(replace(contribution, sealed=contribution.sealed * 2))) == "SF311"


def test_step_12_sealed_under_another_context() -> None:
    """A blob sealed for another statement does not open for this one, though its digest was signed."""
    other = statement_for("bay", manifest_of(VOTES), votes(), created_at_ms=9)
    assert refused(post("bay", manifest_of(VOTES), sealed_for=other)) == "SF312"


def test_step_12_sealed_to_another_key() -> None:
    """What we cannot open is refused; a forwarded bundle looks like this."""
    statement = statement_for("bay", manifest_of(VOTES), votes())
    blob = seal(encode_payload(votes()), info=statement_info(statement), to=OpeningKey.generate().public)
    body = body_of(replace(statement, ciphertext_digests=(sha256(blob),)), blob, signer="bay")
    assert refused(body) == "SF312"


def test_step_13_other_payload_than_committed() -> None:
    """The plaintext is bound by its commitment before anybody sees it."""
    assert refused(post("bay", manifest_of(VOTES), plaintext=encode_payload(votes(1, 1, 1, 1, 1, 1)))) == "SF313"


def test_step_13_other_salt() -> None:
    """The salt is part of what was committed to."""
    salted = encode_payload(replace(votes(), salt=bytes([1] * 32)))
    assert refused(post("bay", manifest_of(VOTES), plaintext=salted)) == "SF313"


@pytest.mark.parametrize("defect", ["short", "long", "wrong-kind", "no-such-candidate", "not-a-payload"])
def test_step_14_wrong_shape(defect: str) -> None:
    """Too few, too many, another kind, out of range, undecodable."""
    assets = {
        "short": {"payload": votes(0, 1, 2)},
        "long": {"payload": votes(*range(4), 0, 1, 2)},
        "wrong-kind": {"payload": answers(*["heart"] * 6)},
        "no-such-candidate": {"payload": votes(0, 1, 2, 3, 4, 0)},
        "not-a-payload": {"plaintext": b"\xf6"},
    }
    assert refused(post("bay", manifest_of(VOTES), **assets[defect])) == "SF314"


@pytest.mark.parametrize("changes", [{"item_count": 5}, {"dtype": "utf-8"}, {"scale": 2}], ids=str)
def test_step_14_statement_misstates_the_shape(changes: dict[str, Any]) -> None:
    """What is logged about the bundle is what the bundle is."""
    assert refused(post("bay", manifest_of(VOTES), **changes)) == "SF314"


@pytest.mark.parametrize(
    "text",
    ["SSN 536-22-8726", "a\x1b[2Jb", "a\u202eb", "a\u200bb", "   ", "", "x" * (16 * 32 + 1)],
    ids=["identifier", "terminal-escape", "bidi-override", "zero-width", "blank", "empty", "too-long"],
)
def test_step_15_content_gate(text: str) -> None:
    """Identifiers, hidden characters, emptiness and what no decoding of this length makes."""
    body = post("bay", manifest_of(TEXT), answers("heart", text, None, None, None, None))
    assert refused(body, TEXT) == "SF315"


def test_step_15_a_detector_that_breaks_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict is not a clean one."""

    def broken(_text: str) -> tuple[()]:
        raise RecursionError

    monkeypatch.setattr("semfed_secure.server.admission.scan", broken)
    assert refused(post("bay", manifest_of(TEXT), answers("heart", *[None] * 5)), TEXT) == "SF315"
    assert judge(post("bay", manifest_of(VOTES)))


def test_step_15_the_longest_text_passes() -> None:
    """One character less than too long."""
    assert judge(post("bay", manifest_of(TEXT), answers("x" * (16 * 32), *[None] * 5)), TEXT)


def test_the_list_at_the_top_is_the_code_below() -> None:
    """Fifteen numbered lines with their codes, and a block of code for each, in this order."""
    import inspect
    import re

    from semfed_secure.server import admission

    listed = re.findall(r"^ ?(\d+)\. .*(SF3\d\d)$", admission.__doc__ or "", re.MULTILINE)
    assert [(int(number), code) for number, code in listed] == [(step, f"SF3{step:02d}") for step in range(1, 16)]
    source = "".join(inspect.getsource(each) for each in (read_contribution, authenticate, accept, admit))
    assert [int(number) for number in re.findall(r"^    # (\d+)\. ", source, re.MULTILINE)] == [*range(1, 16)]
