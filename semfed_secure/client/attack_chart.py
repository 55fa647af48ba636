"""The picture of an audit by attack as one SVG file, from its document alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.markup import Html, element

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH, _LEFT, _PANEL, _GAP, _ROW, _TOP = 900, 190, 300, 70, 34, 64
_INK, _LINE, _BAR, _BAD = "#1c1c1c", "#b8b8b8", "#2b6ca3", "#b23b2a"


def chart(report: Mapping[str, Any]) -> str:
    """Two panels, a row for each variant: lower bounds on ε beside the claim, and members found at 1 % of the others.

    The second panel shows the kind of release that found most, with its interval.
    """
    rows = report["variants"]
    height = _TOP + _ROW * len(rows) + 46
    claim = float(report["claim"]["epsilon"])
    most = 1.1 * max([claim, *(float(row["epsilon_lower"]) for row in rows)])
    right = _LEFT + _PANEL + _GAP
    parts = [
        element("title", "Audit by attack: lower bounds on epsilon and members found"),
        element("desc", "The same figures stand in the report beside this picture."),
        element("rect", x=0, y=0, width=_WIDTH, height=height, fill="#ffffff"),
        _text("ε at least (95 %)", _LEFT, 22, weight="bold"),
        _text("members found at 1 % of the others", right, 22, weight="bold"),
    ]
    for number, row in enumerate(rows):
        y = _TOP + _ROW * number
        colour = _BAD if float(row["epsilon_lower"]) > claim else _BAR
        parts.append(_text(str(row["variant"]).replace("_", " "), _LEFT - 12, y + 5, anchor="end"))
        parts += _bar(_LEFT, y, float(row["epsilon_lower"]) / most, colour, f"{row['epsilon_lower']:.2f}")
        best = max((found["tpr_at_fpr_1_percent"] for found in row["findings"]), key=lambda rate: float(rate["value"]))
        parts += _bar(right, y, float(best["value"]), colour, f"{best['value']:.0%}")
        parts.append(_whisker(right, y, float(best["low"]), float(best["high"])))
    bottom = _TOP + _ROW * (len(rows) - 1) + 16
    x = f"{_LEFT + _PANEL * claim / most:.1f}"
    parts.append(element("line", x1=x, x2=x, y1=_TOP - 18, y2=bottom, stroke=_INK, stroke_dasharray="5 4"))
    parts.append(_text(f"claimed {claim:g}", float(x), _TOP - 24, anchor="middle"))
    parts.append(_text(str(report["outcome"]), _LEFT, height - 14))
    svg = element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}", role="img",
        font_family="sans-serif", font_size=13,
    )  # fmt: skip
    return svg + "\n"


def _bar(x: int, y: int, share: float, colour: str, label: str) -> list[Html]:
    width = max(1.0, _PANEL * min(1.0, share if math.isfinite(share) else 1.0))
    return [
        element("line", x1=x, x2=x + _PANEL, y1=y, y2=y, stroke=_LINE, stroke_width=1),
        element("rect", x=x, y=y - 9, width=f"{width:.1f}", height=18, fill=colour),
        _text(label, x + width + 6, y + 5),
    ]


def _whisker(x: int, y: int, low: float, high: float) -> Html:
    ends = {"x1": f"{x + _PANEL * low:.1f}", "x2": f"{x + _PANEL * high:.1f}"}
    return element("line", **ends, y1=y + 12, y2=y + 12, stroke=_INK, stroke_width=2)


def _text(text: str, x: float, y: float, *, anchor: str = "start", weight: str = "normal") -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", fill=_INK, text_anchor=anchor, font_weight=weight)
