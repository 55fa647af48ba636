"""The identifier detector: what it finds, what it leaves alone, and that no disguise of characters hides a number."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semfed_secure.detect import DETECTOR, Finding, Kind, scan, summarise
from semfed_secure.detect.normalise import normalise
from semfed_secure.detect.patterns import ROWS, Row
from tests.detect.probe import CLEAN, FOUND

ASSETS = Path(__file__).parent / "assets"
IDS = [f"{kind}-{index}" for index, (kind, _) in enumerate(FOUND)]


def marked(sentence: str) -> tuple[str, int, int]:
    """The sentence without its marks, and the span that they mark."""
    before, _, rest = sentence.partition("[[")
    value, _, after = rest.partition("]]")
    return before + value + after, len(before), len(before) + len(value)


@pytest.mark.parametrize(("kind", "sentence"), FOUND, ids=IDS)
def test_each_labelled_identifier_is_found(kind: str, sentence: str) -> None:
    """The identifier is found with its kind and exact place, and nothing else in the sentence."""
    text, start, end = marked(sentence)
    assert scan(text) == (Finding(kind, start, end, DETECTOR),)


def test_the_probe_has_every_kind() -> None:
    """No kind is without an example."""
    assert {kind for kind, _ in FOUND} == set(Kind)


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    """Medicine, money and numbers that fail their check are no findings."""
    assert scan(text) == ()


def test_public_medical_terms_hold_no_findings() -> None:
    """A thousand public terms of ICD-10-CM, those with numbers and label words first, raise no false alarm."""
    terms = ASSETS.joinpath("icd-10-cm-terms.txt").read_text(encoding="utf-8").splitlines()
    assert [term for term in terms if scan(term)] == []
    assert len(terms) > 800


DISGUISES = {
    "full-width digits": str.maketrans("0123456789", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19"),
    "arabic-indic digits": str.maketrans("0123456789", "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669"),
    "mathematical digits": {ord("0") + n: chr(0x1D7CE + n) for n in range(10)},
    "non-breaking hyphens": {ord("-"): "\u2011"},
    "en dashes": {ord("-"): "\u2013"},
    "no-break spaces": {ord(" "): "\u00a0"},
    "zero-width spaces": {ord(str(n)): f"{n}\u200b" for n in range(10)},
    "soft hyphens": {ord(str(n)): f"{n}\u00ad" for n in range(10)},
    "direction marks": {ord(str(n)): f"\u202d{n}" for n in range(10)},
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_characters_cannot_hide_a_number(disguise: str) -> None:
    """Styled digits, exotic dashes and blanks, and invisible characters change nothing but the place."""
    text = "SSN 123-45-6789, card 4111 1111 1111 1111".translate(DISGUISES[disguise])
    found = scan(text)
    assert [finding.kind for finding in found] == ["us_ssn", "card"]
    assert text[found[1].start : found[1].end].rstrip("\u200b\u00ad").endswith(("1", "\uff11", "\u0661", "\U0001d7cf"))


PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from([marked(sentence)[0] for _, sentence in FOUND]),
    st.sampled_from([" ", ", ", "\n", "-", "\u200b", "4111 1111 1111 1111"]),
)


@given(st.lists(PIECES, max_size=8).map("".join))
def test_spans_are_ordered_apart_and_inside(text: str) -> None:
    """Any text is scanned without error; findings lie inside it, in order, without overlap."""
    found = scan(text)
    edges = [edge for finding in found for edge in (finding.start, finding.end)]
    assert edges == sorted(edges)
    assert all(finding.start < finding.end for finding in found)
    assert not edges or (edges[0] >= 0 and edges[-1] <= len(text))


@given(st.sampled_from(FOUND), st.text(alphabet="abc ,\n", max_size=20), st.text(alphabet="abc ,\n", max_size=20))
def test_neighbours_do_not_hide_an_identifier(example: tuple[str, str], before: str, after: str) -> None:
    """Words on either side change nothing: the same kind is found."""
    kind, sentence = example
    text, *_ = marked(sentence)
    assert kind in {finding.kind for finding in scan(f"{before} {text} {after}")}


@pytest.mark.parametrize("row", [row for row in ROWS if row.needs], ids=lambda row: row.kind.value)
@given(st.data())
@settings(max_examples=4, suppress_health_check=list(HealthCheck), deadline=None)
def test_a_row_that_is_not_searched_could_have_found_nothing(row: Row, data: st.DataObject) -> None:
    """A text with a match of a row's pattern holds one of the characters without which the row is passed over."""
    text = normalise(data.draw(st.from_regex(row.pattern))).text
    assert row.pattern.search(text) is None or not row.needs.isdisjoint(text)


@pytest.mark.parametrize("second", ["5500 0000 0000 0004", "378282246310005"])
def test_neighbouring_numbers_are_told_apart(second: str) -> None:
    """Two cards in a row are two findings, whatever other digits stand before, between and behind."""
    text = f"12 17 4111 1111 1111 1111 {second} 99"
    assert [text[finding.start : finding.end] for finding in scan(text)] == ["4111 1111 1111 1111", second]


def test_a_finding_holds_no_text() -> None:
    """Kind, place and detector: nothing of what was found."""
    text = "SSN 123-45-6789"
    assert "6789" not in repr(scan(text))
    assert summarise(scan(f"{text}, {text}, born 3 May 1944")) == {"date_of_birth": 1, "us_ssn": 2}


SLOW = "1|1 |4 1 |3-|4111.|a@|a(at)|a1-|mrn: |GB82 |(617) |+1 |www.|0:|12 Main "


@pytest.mark.parametrize("piece", SLOW.split("|"))
def test_time_is_linear(piece: str) -> None:
    """Text made to be slow takes no more than in proportion to its length."""

    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        start = time.process_time()
        scan(text)
        return time.process_time() - start

    short = max(min(seconds(2_000) for _ in range(3)), 0.002)
    assert seconds(16_000) < 8 * 4 * short
