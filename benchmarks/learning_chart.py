"""The pictures of `learning.py` as SVG, made from its JSON alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.audit.markup import Html, element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Interval = Sequence[float]

_LEFT, _PANEL, _GAP, _ROW, _TOP = 236, 210, 34, 24, 62
_INK, _LINE, _BAR, _BAD = "#1c1c1c", "#b8b8b8", "#2b6ca3", "#b23b2a"
WAYS = {
    "little": "10 % of the records",
    "small": "smaller model",
    "noise": "40 % wrong labels",
    "noise-map": "40 % wrong labels",
    "dp": "DP at ε = 1",
}
BARS = (
    ("minus_without", "strong sites: minus without the weak", -1.0),
    ("regret_known", "strong sites, what they know: minus alone", -1.0),
    ("gain_all", "weak site: minus max(base, alone)", 0.0),
)


def bars_chart(groups: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> str:
    """The plan's three bars, way by way and arm by arm, with their intervals and where each bar lies."""
    rows = [
        (way, arm, group["arms"][arm])
        for group in groups
        for way in [group["way"]]
        for arm in arms
        if arm in group["arms"]
    ]
    panels = []
    for column, (name, title, bar) in enumerate(BARS):
        found = [(row.get(name), True) for _, _, row in rows]
        panels.append(_panel(column, title, bar, [interval for interval, _ in found]))
    names = []
    for number, (way, arm, _) in enumerate(rows):
        y = _TOP + _ROW * number + 4
        if not number or rows[number - 1][0] != way:
            names.append(_text(WAYS[way], 8, y, weight="bold", size=11))
        names.append(_text(arm, _LEFT - 10, y, anchor="end"))
    return _svg(
        "Bars of the learning experiment", names + [part for panel in panels for part in panel], len(rows), len(BARS)
    )


def labels_chart(groups: Sequence[Mapping[str, Any]]) -> str:
    """Right agreed labels with the weak sites minus without them: of every prompt, by size of the roster."""
    sizes = sorted({group["clients"] for group in groups})
    keys = list(dict.fromkeys((g["weak"], g["alike"], g["way"].removesuffix("-map")) for g in groups))
    parts: list[Html] = []
    for column, size in enumerate(sizes):
        of = {(g["weak"], g["alike"], g["way"].removesuffix("-map")): g for g in groups if g["clients"] == size}
        found = [of[key]["labels"]["ours"]["right_minus_without"] if key in of else None for key in keys]
        parts += _panel(column, f"n = {size}", -1.0, found)
    for number, (weak, alike, way) in enumerate(keys):
        kind = "one" if weak == 1 else "two alike" if alike else "two apart"
        parts.append(_text(f"{kind}: {WAYS[way]}", _LEFT - 10, _TOP + _ROW * number + 4, anchor="end", size=11))
    return _svg("Right agreed labels with and without the weak", parts, len(keys), len(sizes))


def _panel(column: int, title: str, bar: float, intervals: Sequence[Interval | None]) -> list[Html]:
    left = _LEFT + column * (_PANEL + _GAP)
    ends = [bar, 0.0, *(end for one in intervals if one for end in one)]
    low, high = min(ends), max(ends)
    span = max(high - low, 1.0)
    low, high = low - 0.06 * span, high + 0.06 * span

    def x(value: float) -> str:
        return f"{left + _PANEL * (value - low) / (high - low):.1f}"

    bottom = _TOP + _ROW * (len(intervals) - 1) + 12
    parts = [
        _text(title, left, 22, weight="bold", size=11),
        _text("points, 95 %", left, 38, size=11),
        element("line", x1=x(0), x2=x(0), y1=_TOP - 12, y2=bottom, stroke=_LINE),
        element("line", x1=x(bar), x2=x(bar), y1=_TOP - 12, y2=bottom, stroke=_BAD, stroke_dasharray="5 4"),
    ]
    for number, interval in enumerate(intervals):
        if interval is None:
            continue
        middle, least, most = interval
        y = _TOP + _ROW * number
        colour = _BAR if least > bar or (bar and least >= bar) else _BAD
        parts.append(element("line", x1=x(least), x2=x(most), y1=y, y2=y, stroke=colour, stroke_width=2))
        parts.append(element("circle", cx=x(middle), cy=y, r=4, fill=colour))
        anchor, at = ("start", float(x(most)) + 4) if middle < (low + high) / 2 else ("end", float(x(least)) - 4)
        parts.append(_text(f"{middle:+.1f}", at, y + 4, anchor=anchor, size=10))
    return parts


def _svg(title: str, parts: Sequence[Html], rows: int, columns: int) -> str:
    width, height = _LEFT + columns * (_PANEL + _GAP), _TOP + _ROW * rows + 12
    svg = element(
        "svg",
        element("title", title),
        element("desc", "The same figures stand in the results file and in the tables beside this picture."),
        element("rect", x=0, y=0, width=width, height=height, fill="#ffffff"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
        font_family="sans-serif",
        font_size=12,
    )
    return svg + "\n"


def _text(text: str, x: float, y: float, *, anchor: str = "start", weight: str = "normal", size: int = 12) -> Html:
    return element(
        "text", text, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, font_weight=weight, font_size=size, fill=_INK
    )
