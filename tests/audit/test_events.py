"""The closed catalogue: what an entry may say, and its exact bytes."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from semfed_secure.audit import events
from semfed_secure.audit.catalogue import DETAILS
from semfed_secure.audit.events import Entry, Event, EventType, PrivacyFields, encode_entry, parse_entry, sentence
from semfed_secure.errors import IntegrityError

DIGEST = "sha256:" + "0" * 64
TIME = "2026-03-01T08:00:00.000Z"

_names = st.text(min_size=1, max_size=40).filter(str.isprintable)
_by_kind: dict[type, st.SearchStrategy[object]] = {
    str: st.text(max_size=40).filter(str.isprintable),
    int: st.integers(-events.MAX_INTEGER, events.MAX_INTEGER),
    bool: st.booleans(),
    list: st.lists(_names, max_size=4),
    dict: st.dictionaries(st.sampled_from(["SF201", "email", "a b"]), st.integers(0, 9), max_size=3),
}


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    """Any event that can be built."""
    kind = draw(st.sampled_from(EventType))
    allowed = DETAILS[kind]
    keys = draw(st.lists(st.sampled_from(sorted(allowed)), unique=True, max_size=4)) if allowed else []
    return Event(
        type=kind,
        outcome=draw(st.sampled_from(["success", "denied", "failed"])),
        actor=draw(_names),
        target=draw(st.none() | _names),
        peer_entry=draw(st.none() | st.integers(0, events.MAX_INTEGER)),
        bundle_digest=draw(st.none() | st.just(DIGEST)),
        codes=draw(st.lists(st.sampled_from(["SF202", "DP-002"]), max_size=3)),
        reason=draw(st.none() | st.text(max_size=1200)),
        details={key: draw(_by_kind[allowed[key]]) for key in keys},
    )


@given(any_event(), st.integers(0, events.MAX_INTEGER))
def test_an_event_that_can_be_built_can_be_written_and_read(event: Event, seq: int) -> None:
    """Its bytes are RFC 8785, bounded, and are read back as the same entry."""
    body = encode_entry(Entry(seq, TIME, "north/client", event))
    assert body == rfc8785.dumps(json.loads(body))
    assert len(body) <= events.MAX_ENTRY_BYTES
    assert encode_entry(parse_entry(body)) == body
    assert parse_entry(body).seq == seq


def test_every_event_type_has_a_row_of_details() -> None:
    """The catalogue is closed: each type says which further facts it may state."""
    assert set(DETAILS) == set(EventType)
    assert {kind for allowed in DETAILS.values() for kind in allowed.values()} <= {str, int, bool, list, dict}


@pytest.mark.parametrize(
    "change",
    [
        {"type": "bundle.invented"},
        {"outcome": "maybe"},
        {"actor": ""},
        {"actor": "x" * 257},
        {"actor": "two\nlines"},
        {"actor": "right-to-left \u202e override"},
        {"peer_entry": -1},
        {"peer_entry": True},
        {"bundle_digest": "sha256:00"},
        {"bundle_digest": DIGEST + "\n"},
        {"codes": ["sf202"]},
        {"codes": ["SF202"] * 65},
        {"prompt": "text of a prompt"},
        {"details": {"prompt": "text of a prompt"}},
        {"details": {"items": "300"}},
        {"details": {"items": True}},
        {"details": {"items": 1.5}},
        {"details": {"items": 2**53}},
        {"details": {"kind": ["votes"]}},
    ],
)
def test_what_the_catalogue_does_not_hold_is_refused(change: dict[str, object]) -> None:
    """Unknown types, fields and details, and values out of bounds, cannot become an event."""
    good = {"type": "bundle.released", "outcome": "success", "actor": "north"}
    assert Event.model_validate(good).type is EventType.BUNDLE_RELEASED
    with pytest.raises(ValidationError):
        Event.model_validate(good | change)


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        (EventType.DECISION, {"reasons": ["ok", 5]}),
        (EventType.DECISION, {"reasons": ["a"] * 201}),
        (EventType.DETECTOR_SUMMARY, {"findings": {"email": "many"}}),
        (EventType.DETECTOR_SUMMARY, {"findings": {"caf\u00e9": 1}}),
        (EventType.DETECTOR_SUMMARY, {"findings": {f"kind-{number}": 1 for number in range(201)}}),
        (EventType.DETECTOR_SUMMARY, {"failed": 1}),
    ],
)
def test_lists_and_counts_are_bounded(kind: EventType, details: dict[str, object]) -> None:
    """Details hold short sentences, counts by plain name and flags, and no more."""
    with pytest.raises(ValidationError):
        Event(type=kind, outcome="success", actor="north", details=details)


@pytest.mark.parametrize("text", ["", "1.", "-1", "+1", "NaN", "inf", "1e", "0x1", "1\n", "\N{ARABIC-INDIC DIGIT ONE}"])
def test_privacy_figures_are_plain_decimals(text: str) -> None:
    """What a parser of decimals could read in two ways is refused."""
    fields = {"population": "p", "delta": "1e-6", "unit": "entity", "relation": "add_or_remove_one"}
    for good in ("0", "1.25", "1e-6", "Infinity"):
        assert PrivacyFields(epsilon=good, **fields).epsilon == good
    with pytest.raises(ValidationError):
        PrivacyFields(epsilon=text, **fields)


@given(st.text(max_size=2000))
def test_a_sentence_is_one_printable_line(text: str) -> None:
    """Whatever a reason was made of, a reader sees one bounded line of it, and good sentences stay as they are."""
    line = sentence(text)
    assert line.isprintable()
    assert len(line) <= 1000
    assert sentence(line) == line
    if text.isprintable() and len(text) <= 1000 and not {"/", "\\"} & set(text):  # what looks like a path is left out
        assert line == text


def test_sentences_from_elsewhere_are_made_printable() -> None:
    """A hostile or careless text in a reason or detail is cleaned, so it can neither forge a line nor stop the log."""
    event = Event(
        type=EventType.DECISION,
        outcome="denied",
        actor="a",
        reason="two\nlines \u202e",
        details={"action": "a\u0000b", "reasons": ["x\r\ny", "z" * 2000]},
    )
    assert event.reason == "two lines "
    assert event.details["action"] == "ab"
    assert event.details["reasons"] == ["x y", "z" * 999 + "\N{HORIZONTAL ELLIPSIS}"]


def _body(**change: object) -> bytes:
    fields = {"v": 1, "seq": 0, "time": TIME, "writer": "w", "type": "log.stopped", "outcome": "success", "actor": "a"}
    return rfc8785.dumps(fields | change)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        _body() + b" ",
        _body(v=2),
        _body(v=True),
        _body(seq=-1),
        _body(seq=True),
        _body(seq="0"),
        _body(time="2026-03-01T08:00:00Z"),
        _body(time="2026-03-01T08:00:00.000+00:00"),
        _body(time=5),
        _body(writer=5),
        _body(writer="a\nb"),
        _body(round_id=None),
        _body(details={}),
        _body(reason="two\nlines"),
        _body(actor=1.5),
        _body().replace(b'"seq":0', b'"seq":0,"seq":0'),
        _body().replace(b'"seq":0', b'"seq":00'),
        _body().replace(b'"a"', b'"\\u0061"'),
        b"[" * 20_000,
        json.dumps(json.loads(_body())).encode(),
    ],
)
def test_other_bytes_are_no_entry(body: bytes) -> None:
    """An accepted entry is exactly what `encode_entry` writes for it."""
    assert parse_entry(_body()).event.actor == "a"
    with pytest.raises(IntegrityError) as caught:
        parse_entry(body)
    assert caught.value.code == "SF501"


def test_an_oversized_event_cannot_be_built() -> None:
    """An entry always fits into a tile's 16-bit length: too much is refused before there is an event."""
    line = "\N{GREEK SMALL LETTER EPSILON}" * 1000

    def build(lines: int) -> Event:
        return Event(type=EventType.DECISION, outcome="denied", actor="a", details={"reasons": [line] * lines})

    body = encode_entry(Entry(events.MAX_INTEGER, TIME, "\N{GREEK SMALL LETTER EPSILON}" * 256, build(29)))
    assert 58_000 < len(body) <= events.MAX_ENTRY_BYTES
    with pytest.raises(ValidationError, match="at most"):
        build(30)


@pytest.mark.parametrize("name", ["", "x" * 257, "two\nlines"])
def test_a_writer_has_a_plain_name(name: str) -> None:
    """What an entry's frame could not hold is refused before anything is written."""
    with pytest.raises(ValueError, match="characters"):
        events.check_writer(name)
