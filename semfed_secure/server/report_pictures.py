"""The pictures of a round report: self-contained SVG, readable without colour, script or outside files.

Their size is bounded whatever the round's: prompts are counted, a map of many clients is drawn by levels, and of many
clients the lists name those that stand out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.audit.markup import Html, element, join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PPM = 1_000_000
BINS = 20
STATUSES = {"agreed": "#1b6e53", "contested": "url(#hatched)", "too_few": "#ffffff"}
NAMED = 12
"""Clients whose lines bear a name."""
BARS = 60
"""Clients that get a bar."""
_WRITTEN = 20  # clients up to which every field of the map holds its figure
_NAMEABLE = 14  # height of a row from which it bears a name
_LEVELS = 10
_DASHES = ("none", "6 3", "2 2", "8 3 2 3")
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.end{text-anchor:end}.middle{text-anchor:middle}.light{fill:#fff}"
    ".axis{stroke:#888;fill:none}.grid{stroke:#ddd}.bar{stroke:#222;stroke-width:.5}.line{fill:none;stroke:#555}"
    ".many{fill:none;stroke:#bbb;stroke-width:.7}"
)


def support_histogram(prompts: Sequence[Mapping[str, Any]]) -> Html:
    """How many prompts have which support, by status."""
    counts = {status: [0] * BINS for status in STATUSES}
    for row in prompts:
        counts[row["status"]][min(row["support_ppm"] * BINS // PPM, BINS - 1)] += 1
    highest = max((sum(counts[status][place] for status in STATUSES) for place in range(BINS)), default=0) or 1
    left, bottom, wide, high = 60, 250, 28, 200
    parts: list[Html] = [_hatching()]
    for place in range(BINS):
        y = float(bottom)
        for status, fill in STATUSES.items():
            height = counts[status][place] * high / highest
            y -= height
            if height:
                words = f"{counts[status][place]} {status.replace('_', ' ')}, support from {place * 5} %"
                parts.append(_bar(left + place * wide, y, wide - 3, height, fill, words))
    parts += [
        _text(left + share * BINS * wide / 100, bottom + 18, f"{share} %", "middle") for share in range(0, 101, 20)
    ]
    parts += [_text(left - 6, bottom - high * part + 4, f"{highest * part:.0f}", "end") for part in (0, 1)]
    parts.append(element("line", x1=left, x2=left + BINS * wide, y1=bottom, y2=bottom, class_="axis"))
    parts.append(_text(left, bottom + 38, "share of the answering weight behind the winning group"))
    for number, (status, fill) in enumerate(STATUSES.items()):
        parts.append(_bar(left + number * 130, 8, 14, 14, fill, status))
        parts.append(_text(left + number * 130 + 20, 20, f"{status.replace('_', ' ')}: {sum(counts[status])}"))
    return _svg(660, 300, "Support of the prompts", f"Prompts by support, {len(prompts)} in all.", parts)


def agreement_map(members: Sequence[str], pairs: Sequence[Sequence[int]]) -> Html:
    """How often each two clients said the same; darker is more often, and of few clients each field says how often.

    Args:
        members: Their ids.
        pairs: For each client its agreement with those before it, in thousandths; -1 where they share no prompt.
    """
    count = len(members)
    size = max(4, min(34, 680 // max(count, 1)))
    left, top = (8 + 7 * max(map(len, members), default=0), 30) if size >= _NAMEABLE else (30, 30)
    levels: list[list[str]] = [[] for _ in range(_LEVELS + 1)]
    figures: list[Html] = []
    for row, others in enumerate(pairs):
        for column, permille in enumerate(others):
            if permille < 0:
                continue
            level = permille * _LEVELS // 1000
            levels[level].append(f"M{left + column * size} {top + row * size}h{size}v{size}h-{size}z")
            if count <= _WRITTEN:
                x, y = left + (column + 0.5) * size, top + (row + 0.5) * size + 4
                figures.append(_text(x, y, f"{permille // 10}", "middle light" if level > _LEVELS // 2 else "middle"))
    parts = [element("path", d="".join(path), fill=_grey(level)) for level, path in enumerate(levels) if path]
    parts += figures
    if size >= _NAMEABLE:
        for row, member in enumerate(members):  # at the left its row; at the stairs its column, which goes down there
            parts.append(_text(left - 6, top + (row + 0.7) * size, member, "end"))
            parts.append(_text(left + row * size + 4, top + (row + 0.7) * size, member))
    edge = top + count * size
    for level in range(_LEVELS + 1):
        parts.append(_bar(left + level * 40, edge + 12, 40, 14, _grey(level), f"{level * 10} %"))
        parts.append(_text(left + level * 40 + 20, edge + 42, f"{level * 10} %", "middle"))
    parts.append(_text(left, 18, "per cent of the prompts that both answered; clients in the order of the table"))
    wide = left * 2 + max(count * size, 450)
    words = f"Share of prompts on which each two of {count} clients said the same; rows and columns in one order."
    return _svg(wide, edge + 54, "Agreement of each two clients", words, parts)


def weights_over_rounds(rounds: Sequence[str], weights: Mapping[str, Sequence[int | None]], title: str) -> Html:
    """One line per client over some rounds; the lightest clients of the newest round bear their names.

    Args:
        rounds: Their ids, the oldest first.
        weights: By member, parts per million in each round, None where it took no part.
        title: What is drawn.
    """
    left, top, wide, high = 50, 30, 460, 200
    step = wide / max(len(rounds) - 1, 1)

    def y(weight: float) -> float:
        return top + high * (1 - weight / PPM)

    parts = [_text(left - 6, y(share * PPM / 100) + 4, f"{share / 100:g}", "end") for share in (0, 25, 50, 75, 100)]
    parts += [
        element(
            "line",
            x1=left,
            x2=left + wide,
            y1=f"{y(share * PPM / 100):.1f}",
            y2=f"{y(share * PPM / 100):.1f}",
            class_="grid",
        )
        for share in (0, 25, 50, 75, 100)
    ]
    lightest = sorted(weights, key=lambda member: (_newest(weights[member]), member))[:NAMED]
    spread = _apart([y(_newest(weights[member])) for member in lightest], least=14, top=top, bottom=top + high)
    for member in sorted(weights, key=lambda member: member in lightest):
        named = member in lightest
        corners = [
            (left + place * step, y(weight)) for place, weight in enumerate(weights[member]) if weight is not None
        ]
        number = lightest.index(member) if named else 0
        line = " ".join(f"{x:.1f},{at:.1f}" for x, at in corners)
        dash = _DASHES[number % len(_DASHES)] if named else None
        parts.append(element("polyline", points=line, class_="line" if named else "many", stroke_dasharray=dash))
        if named:
            parts += [element("circle", cx=f"{x:.1f}", cy=f"{at:.1f}", r=3) for x, at in corners]
            words = f"{member} {_newest(weights[member]) / PPM:.2f}"
            parts.append(
                element(
                    "line",
                    x1=f"{corners[-1][0]:.1f}",
                    y1=f"{corners[-1][1]:.1f}",
                    x2=left + wide + 14,
                    y2=f"{spread[number]:.1f}",
                    class_="many",
                )
            )
            parts.append(_text(left + wide + 18, spread[number] + 4, words))
    parts.append(_text(left, top + high + 20, rounds[0]))
    if len(rounds) > 1:
        parts.append(_text(left + wide, top + high + 20, rounds[-1], "end"))
    rest = len(weights) - len(lightest)
    more = f" The {len(lightest)} lightest are named; {rest} more are thin lines." if rest else ""
    parts.append(_text(left, 18, title))
    return _svg(
        left + wide + 230, top + high + 34, title, f"{len(rounds)} rounds, {len(weights)} clients.{more}", parts
    )


def trimmed_shares(clients: Sequence[Mapping[str, Any]]) -> Html:
    """Share of each client's answers that stood outside the winning group or were trimmed from its edge."""
    most = sorted(clients, key=lambda row: (-row["trimmed_ppm"], row["member"]))[:BARS]
    left, top, wide, high = 16 + 7 * max((len(row["member"]) for row in most), default=0), 30, 400, 18
    parts = [
        _text(left, 18, f"highest {len(most)} of {len(clients)} clients" if len(most) < len(clients) else "all clients")
    ]
    for place, row in enumerate(most):
        y, share = top + place * high, row["trimmed_ppm"] / PPM
        parts.append(_text(left - 6, y + 12, row["member"], "end"))
        parts.append(_bar(left, y, wide * share, high - 4, "#8da0cb", row["member"]))
        parts.append(_text(left + wide * share + 5, y + 12, f"{share:.1%}"))
    words = "Share of each client's answers outside the winning group, or trimmed from its edge."
    return _svg(left + wide + 70, top + len(most) * high + 10, "Trimmed share of each client", words, parts)


def _svg(wide: float, high: float, title: str, words: str, parts: Sequence[Html]) -> Html:
    return element(
        "svg",
        element("title", title, id="title"),
        element("desc", words, id="desc"),
        element("style", _STYLE),
        element("rect", width="100%", height="100%", fill="#fff"),
        join(*parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {wide:.0f} {high:.0f}",
        width=f"{wide:.0f}",
        role="img",
        aria_labelledby="title desc",
    )


def _hatching() -> Html:
    line = element("path", d="M0 6L6 0", stroke="#b5651d")
    back = element("rect", width=6, height=6, fill="#fbe9d7")
    return element("pattern", back, line, id="hatched", width=6, height=6, patternUnits="userSpaceOnUse")


def _bar(x: float, y: float, wide: float, high: float, fill: str, words: str) -> Html:
    return element(
        "rect",
        element("title", words),
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        width=f"{wide:.1f}",
        height=f"{high:.1f}",
        fill=fill,
        class_="bar",
    )


def _text(x: float, y: float, words: str, kind: str | None = None) -> Html:
    return element("text", words, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind)


def _grey(level: int) -> str:
    shade = 245 - level * 21
    return f"#{shade:02x}{shade:02x}{shade:02x}"


def _newest(weights: Sequence[int | None]) -> int:
    return next((weight for weight in reversed(weights) if weight is not None), 0)


def _apart(places: Sequence[float], *, least: float, top: float, bottom: float) -> list[float]:
    """Places for labels near ``places``, which fall, so that no two overlap."""
    found: list[float] = []
    for place in places:
        found.append(min(place, found[-1] - least if found else bottom))
    lift = max(0.0, top - found[-1]) if found else 0.0
    return [place + lift for place in found]
