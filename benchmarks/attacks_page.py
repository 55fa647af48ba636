"""The tables and the picture of the attack grid, made from its results alone.

``python benchmarks/attacks_page.py`` reads ``benchmarks/results/attacks.json``, writes ``attacks.svg`` beside the page
``docs/explanation/attacks.md``, and the tables between that page's marks.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from attacks_rules import RULES
from attacks_strategies import SENDING, STRATEGIES, VECTORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "attacks.json"
PAGE = ROOT / "docs" / "explanation" / "attacks.md"
OURS = ("ours, defaults", "ours, equal", "ours, agreement", "ours, anchored")
BARS = ("ours, anchored", "ours, anchored, lead", "ours, agreement", "ours, defaults")
SIDE_BY_SIDE = ("medoid", "geometric median", "ours, agreement", "ours, anchored, lead")
BAR_CELL = {"way": "bars", "kind": "votes"}
SHOWN_CELL = {"way": "formed", "members": 10, "liars": 4}
SHOWN = {"medoid": "#8c8c8c", "geometric median": "#c9b458", "ours, agreement": "#6aa5d8", "ours, anchored": "#1b5e8c"}
ANSWER_ROWS = tuple(each.name for each in STRATEGIES if each not in {*SENDING, *VECTORS})


def percent(part: int, whole: int, digits: int = 0) -> str:
    """A share in per cent."""
    return "-" if whole == 0 else f"{100 * part / whole:.{digits}f}"


def interval(part: int, whole: int) -> list[float]:
    """Wilson's 95 % interval of a share, in per cent."""
    z, share = 1.96, part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole)) / (1 + z * z / whole)
    return [round(100 * max(middle - half, 0), 2), round(100 * min(middle + half, 1), 2)]


def find(document: Mapping[str, Any], **named: Any) -> list[Mapping[str, Any]]:
    """The rows with these values, in order."""
    return [row for row in document["rows"] if all(row.get(key) == value for key, value in named.items())]


def bars(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the bars are held to, by sites, configuration and strategy: ten members, four liars, votes."""
    found: dict[str, Any] = {}
    for sites in document["accuracies"]:
        rows = {row["strategy"]: row["rules"] for row in find(document, **BAR_CELL, sites=sites)}
        found[sites] = {name: _bar(rows, name) for name in BARS}
    return found


def _bar(rows: Mapping[str, Any], name: str) -> dict[str, Any]:
    whole, agreed, right, _ = rows["none"][name]
    bar: dict[str, Any] = {
        "prompts": whole,
        "coverage": round(100 * agreed / whole, 1),
        "accuracy": round(100 * right / agreed, 2),
        "right": right,
        "right by the medoid": rows["none"]["medoid"][2],
    }
    for strategy in ("targeted", "duplicated"):
        count, some, true, lied = rows[strategy][name]
        bar[strategy] = {
            "coverage": round(100 * some / count, 1),
            "accuracy": round(100 * true / some, 2),
            "points lost": round(100 * right / agreed - 100 * true / some, 2),
            "lied": round(100 * lied / count, 2),
            "interval": interval(lied, count),
        }
    return bar


def lines(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def table(document: Mapping[str, Any], kind: str, sites: str) -> str:
    """Agreed and right, and agreed on a liar's wrong answer, in per cent of the prompts, by strategy and rule."""
    names = [*RULES, *OURS]
    rows = {row["strategy"]: row["rules"] for row in find(document, **SHOWN_CELL, kind=kind, sites=sites)}
    body = [[name, *(_pair(rows[name][rule]) for rule in names)] for name in ANSWER_ROWS]
    return lines(["right · liar's, %", *names], body)


def sizes(document: Mapping[str, Any], strategies: Sequence[str]) -> str:
    """Agreed, right among the agreed, and on the liars' answer, by number of members and liars."""
    body = []
    for row in find(document, kind="votes", way="formed"):
        if row["strategy"] in strategies:
            whole, agreed, right, lied = row["rules"]["ours, anchored"]
            cells = [percent(agreed, whole), percent(right, agreed, 1), percent(lied, whole, 1)]
            others = [_pair(row["rules"][name]) for name in SIDE_BY_SIDE]
            size = [str(row["members"]), str(row["liars"]), row["sites"], row["strategy"]]
            body.append((row["members"], row["liars"], row["sites"], [*size, *cells, *others]))
    head = ["members", "liars", "sites", "strategy", "agreed", "right of agreed", "liar's"]
    return lines([*head, *SIDE_BY_SIDE], [each[3] for each in sorted(body)])


def refusals(document: Mapping[str, Any]) -> str:
    """What each strategy is, how admission refused it, and what was raised beyond that."""
    body = []
    for strategy in STRATEGIES:
        rows = find(document, way="protocol", strategy=strategy.name)
        codes = [
            ", ".join(sorted({code for row in rows if row["kind"] == kind for code in row["codes"]})) or "admitted"
            for kind in ("votes", "text")
        ]
        if strategy.name == "silent":
            codes = ["nothing sent"] * 2
        body.append([strategy.name, strategy.about, *codes, str(sum(len(row["raised"]) for row in rows))])
    return lines(["strategy", "what it does", "votes", "text", "raised past admission"], body)


def vectors(document: Mapping[str, Any]) -> str:
    """Right, and on a liar's wrong answer, where every member sends a vector."""
    rows = find(document, kind="vectors", members=10)
    body = [[row["strategy"], *(_pair(row["rules"][rule]) for rule in RULES)] for row in rows]
    return lines(["right · liar's, %", *RULES], body)


def bar_table(document: Mapping[str, Any]) -> str:
    """The bars; as votes, duplicated poison is the same as targeted."""
    body = []
    for sites, configurations in bars(document).items():
        for name, bar in configurations.items():
            poisoned = bar["targeted"]
            low, high = poisoned["interval"]
            more = bar["right"] - bar["right by the medoid"]
            none = [f"{bar['coverage']}", f"{bar['accuracy']}", f"{more:+} of {bar['prompts']}"]
            under = [f"{poisoned['coverage']}", f"{poisoned['accuracy']}", f"{poisoned['points lost']}"]
            body.append([sites, name, *none, *under, f"{poisoned['lied']} ({low} to {high})"])
    none = ["agreed", "right of agreed", "right, against the medoid's"]
    under = ["poisoned: agreed", "right of agreed", "points lost", "on the liars' answer"]
    return lines(["sites", "configuration", *none, *under], body)


def picture(document: Mapping[str, Any], path: Path) -> None:
    """Two panels: how often the liars' answer was agreed on, and how often the right one."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "attacks"  # the same figures give the same bytes
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    rows = {row["strategy"]: row["rules"] for row in find(document, **SHOWN_CELL, kind="votes", sites="even")}
    figure, axes = plt.subplots(1, 2, figsize=(11, 6), sharey=True, layout="constrained")
    places = range(len(ANSWER_ROWS))
    for axis, column, title in zip(axes, (3, 2), ("agreed on a liar's answer", "agreed and right"), strict=True):
        for name, colour in SHOWN.items():
            shares = [100 * rows[strategy][name][column] / rows[strategy][name][0] for strategy in ANSWER_ROWS]
            axis.plot(shares, places, "o", color=colour, label=name, markersize=7, alpha=0.9)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("% of the prompts")
        axis.grid(axis="x", linewidth=0.4)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, ANSWER_ROWS)
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right", frameon=False, fontsize=9)
    figure.suptitle("Ten members, four of them liars, honest sites right on 75 %: rounds of votes", fontsize=12)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def read(results: Path = RESULTS) -> dict[str, Any]:
    """The results as they were written."""
    found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    return found


def write(document: Mapping[str, Any], results: Path = RESULTS, page: Path = PAGE) -> None:
    """Results, one row a line; the tables between the marks of the page; the picture beside it."""
    head = {key: value for key, value in document.items() if key != "rows"}
    rows = ",\n  ".join(json.dumps(row) for row in document["rows"])
    results.write_text(json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n  {rows}\n ]\n}}\n', encoding="utf-8")
    tables = {
        "bars": bar_table(document),
        "votes": table(document, "votes", "even"),
        "votes-uneven": table(document, "votes", "uneven"),
        "text": table(document, "text", "even"),
        "refusals": refusals(document),
        "sizes": sizes(document, ("none", "targeted", "ALIE", "mimic", "collude 5 %", "gold known")),
        "vectors": vectors(document),
    }
    text = page.read_text(encoding="utf-8")
    for name, made in tables.items():
        mark = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = mark.subn(lambda match, made=made: f"{match[1]}\n{made}\n\n{match[2]}", text)
        assert count == 1, name
    page.write_text(text, encoding="utf-8")
    picture(document, page.with_suffix(".svg"))


def _pair(figures: Sequence[int]) -> str:
    whole, _, right, lied = figures
    return f"{percent(right, whole)} · {percent(lied, whole)}"


if __name__ == "__main__":
    write(read())
