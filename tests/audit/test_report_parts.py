"""What the report is made of: elements, words, figures, colours, the chart."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.audit import wording
from semfed_secure.audit.catalogue import EventType
from semfed_secure.audit.chart import Point, budget_chart
from semfed_secure.audit.events import Event
from semfed_secure.audit.markup import Html, element, join
from semfed_secure.audit.report_style import STYLE
from tests.audit.pages import Reader
from tests.audit.samples import START


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("ink", "paper"),
    [("ink", None), ("soft", None), ("soft", "band"), ("accent", "band"), ("good", "good-band"), ("bad", "bad-band")],
)
def test_colours_can_be_read(ink: str, paper: str | None) -> None:
    """Every text colour has a contrast of at least 4.5 to 1 on its ground (WCAG AA)."""
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", STYLE))
    light, dark = sorted((_luminance(colours[ink]), _luminance(colours.get(paper or "", "#ffffff"))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


@given(st.text(), st.text())
def test_an_element_is_well_formed_whatever_it_holds(child: str, attribute: str) -> None:
    """The only tags and attributes are those that our code named."""
    reader = Reader(element("p", child, element("b", child), title=attribute, class_=None))
    assert [tag for tag, _ in reader.tags] == ["p", "b"]
    assert list(reader.tags[0][1]) == ["title"]


def test_joined_parts_are_escaped_once() -> None:
    """What is HTML already is left alone, what is text is not."""
    assert join("<", Html("<br/>"), None, 5, element("i", "&")) == "&lt;<br/>5<i>&amp;</i>"


@pytest.mark.parametrize("kind", EventType)
@pytest.mark.parametrize("outcome", ["success", "denied", "failed"])
def test_every_event_has_its_sentence(kind: EventType, outcome: str) -> None:
    """A reader gets words for every type and outcome, even if facts are not stated."""
    words = wording.describe(Event(type=kind, outcome=outcome, actor="north", round_id="round-1"))
    assert words.startswith("north ")
    assert words.endswith(" in round-1")
    assert "{" not in words


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        ("1.50001", "1.5001", "1.5"),
        ("8.0", "8", "8"),
        ("0", "0", "0"),
        ("1e-9", "0.0001", "0"),
        ("Infinity",) + ("unlimited",) * 2,
    ],
)
def test_figures_are_rounded_against_us(value: str, up: str, down: str) -> None:
    """Spending is never shown smaller, and what is left never larger, than it is."""
    assert (wording.spent(value), wording.left(value)) == (up, down)


def test_a_dry_run_is_told_apart() -> None:
    """A question that was only asked is not read as an act."""
    asked = Event(
        type=EventType.DECISION, outcome="success", actor="north", details={"action": "open_dataset", "dry_run": True}
    )
    assert wording.describe(asked) == "north was permitted by policy to open a data set, asked only to see the answer"
    acted = Event(
        type=EventType.DECISION, outcome="success", actor="north", details={"action": "open_dataset", "dry_run": False}
    )
    assert wording.describe(acted) == "north was permitted by policy to open a data set"


def test_codes_are_explained() -> None:
    """Our codes by the catalogue, a policy's by its reasons."""
    assert wording.explain_code("SF202") == "privacy budget does not cover this"
    assert wording.explain_code("DP-002") == "a rule of the policy"


def test_a_chart_needs_finite_totals() -> None:
    """A population without noise has no curve: its total is unlimited, and the table says so."""
    point = Point(START, Decimal(1), "entry 1")
    options = {"before": Decimal(0), "limit": Decimal(8), "name": "p", "ident": "i"}
    assert budget_chart([], **options) is None
    assert budget_chart([point, Point(START, Decimal("Infinity"), "entry 2")], **options) is None
    assert budget_chart([point], **(options | {"before": Decimal("Infinity")})) is None
    assert budget_chart([point], **(options | {"limit": None})) is not None


@given(
    st.lists(st.decimals(0, 10**6, allow_nan=False, places=3), min_size=1, max_size=8), st.decimals(0, 100, places=2)
)
def test_a_chart_stays_inside_its_frame(totals: list[Decimal], limit: Decimal) -> None:
    """Whatever the figures, every point of the drawing lies inside the view box."""
    points = [Point(START, total, f"entry {number}") for number, total in enumerate(totals)]
    chart = budget_chart(points, before=Decimal(0), limit=limit, name="p", ident="i")
    assert chart is not None
    reader = Reader(chart)
    for tag, attributes in reader.tags:
        for name in ("cy", "y1", "y2"):
            if name in attributes:
                assert -0.1 <= float(attributes[name] or "") <= 240, (tag, name)
    assert len(reader.names("line")) < 40
