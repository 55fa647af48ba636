"""A privacy budget over time as one inline SVG, readable without colour, script or outside files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.markup import Html, element

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 28, 34
_MOST_DOTS = 500  # of more, the staircase alone can be read
_GRID_LINES = 4  # at least; more where round numbers want it


@dataclass(frozen=True, slots=True)
class Point:
    """The total after one charge."""

    at: datetime
    epsilon: Decimal
    label: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """From instants and ε to the drawing."""

    start: datetime
    seconds: float
    step: float
    top: float

    def x(self, at: datetime) -> float:
        return _LEFT + (at - self.start).total_seconds() / self.seconds * (_WIDTH - _LEFT - _RIGHT)

    def y(self, epsilon: float) -> float:
        return _HEIGHT - _BOTTOM - epsilon / self.top * (_HEIGHT - _TOP - _BOTTOM)


def budget_chart(points: list[Point], *, before: Decimal, limit: Decimal | None, name: str, ident: str) -> Html | None:
    """The total as a staircase under its budget line; nothing if a total is not finite or there is no charge.

    Args:
        points: Totals in order of time, at least one.
        before: Total when the period began.
        limit: The lifetime budget; drawn as a dashed line.
        name: Whose budget, for the title.
        ident: Unique within the page.
    """
    finite = [point for point in points if point.epsilon.is_finite()]
    if not finite or len(finite) != len(points) or not before.is_finite():
        return None
    values = [float(point.epsilon) for point in points] + [float(before)]
    highest = max([*values, float(limit)] if limit is not None and limit.is_finite() else values)
    span = (points[-1].at - points[0].at).total_seconds()
    step = _round_step(highest)
    scale = _Scale(points[0].at, span or 1.0, step, step * max(1, math.ceil(highest * 1.02 / step)))
    parts = [
        *_grid(scale),
        _staircase(scale, points, float(before)),
        *_budget_line(scale, limit),
        *(_dots(scale, points) if len(points) <= _MOST_DOTS else ()),
    ]
    return element(
        "svg",
        element("title", f"Privacy budget of {name} over time", id=f"{ident}-title"),
        element("desc", "The same figures stand in the table below.", id=f"{ident}-desc"),
        *parts,
        *_dates(points),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
        class_="chart",
    )


def _round_step(highest: float) -> float:
    """Distance of the grid lines: 1, 2 or 5 times a power of ten."""
    if highest <= 0:
        return 0.25
    rough = highest / _GRID_LINES
    power = 10.0 ** math.floor(math.log10(rough))
    return power * (5 if rough >= 5 * power else 2 if rough >= 2 * power else 1)


def _grid(scale: _Scale) -> list[Html]:
    parts: list[Html] = []
    for number in range(round(scale.top / scale.step) + 1):
        value = scale.step * number
        y = f"{scale.y(value):.1f}"
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{value:g}", x=_LEFT - 8, y=y, class_="tick y"))
    parts.append(element("text", "ε in all", x=4, y=12, class_="tick"))
    return parts


def _staircase(scale: _Scale, points: list[Point], before: float) -> Html:
    level, corners = before, [f"{_LEFT},{scale.y(before):.1f}"]
    for point in points:
        x = scale.x(point.at)
        corners.append(f"{x:.1f},{scale.y(level):.1f}")
        level = float(point.epsilon)
        corners.append(f"{x:.1f},{scale.y(level):.1f}")
    corners.append(f"{_WIDTH - _RIGHT},{scale.y(level):.1f}")
    return element("polyline", points=" ".join(corners), class_="spent")


def _budget_line(scale: _Scale, limit: Decimal | None) -> list[Html]:
    if limit is None or not limit.is_finite():
        return []
    y = scale.y(float(limit))
    return [
        element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="limit"),
        element("text", f"budget {limit}", x=_WIDTH - _RIGHT, y=f"{y - 6:.1f}", class_="tick end"),
    ]


def _dots(scale: _Scale, points: list[Point]) -> list[Html]:
    return [
        element(
            "circle",
            element("title", point.label),
            cx=f"{scale.x(point.at):.1f}",
            cy=f"{scale.y(float(point.epsilon)):.1f}",
            r=3,
            class_="dot",
        )
        for point in points
    ]


def _dates(points: list[Point]) -> list[Html]:
    first, last = points[0].at, points[-1].at
    form = "%Y-%m-%d" if (last - first).days else "%Y-%m-%d %H:%M:%S"
    y = _HEIGHT - 10
    ends = [element("text", first.strftime(form), x=_LEFT, y=y, class_="tick")]
    if last != first:
        ends.append(element("text", last.strftime(form), x=_WIDTH - _RIGHT, y=y, class_="tick end"))
    return ends
