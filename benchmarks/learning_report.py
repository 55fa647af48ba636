"""The page of `learning.py`: its tables stand between marks in docs/explanation/learning.md, its pictures beside it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from learning_chart import WAYS, bars_chart, labels_chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Document = dict[str, Any]
EXACT = (
    "base", "local", "local only", "own", "random", "best", "medoid", "ours", "ours + check", "ours, longer",
    "ours, halfway", "ours, labels only", "without", "without, longer", "agreement", "anchored", "anchored + check",
    "anchored, halfway", "fedavg", "fedavg twice", "pooled",
)  # fmt: skip
HIDDEN = {
    "ours + check", "anchored + check", "anchored, halfway", "best", "without", "without, longer", "fedavg", "pooled",
}  # fmt: skip
SHOWN = tuple(arm for arm in EXACT[3:] if arm not in HIDDEN)
FEW = ("ours", "ours, longer", "anchored", "medoid")


def write(document: Document, root: Path) -> None:
    """The results file, both pictures and the tables of the page, below the root of a checkout."""
    results = root / "benchmarks" / "results" / "learning.json"
    results.write_text(json.dumps(document, indent=None, ensure_ascii=False) + "\n", encoding="utf-8")
    directory = root / "docs" / "explanation"
    for name, drawn in pictures(document).items():
        (directory / name).write_text(drawn, encoding="utf-8")
    page = directory / "learning.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), tables(document)), encoding="utf-8")


def pictures(document: Document) -> dict[str, str]:
    """Both pictures, by file name."""
    groups = document["groups"]
    return {
        "learning-bars.svg": bars_chart([one for one in groups if _is_core(one)], FEW),
        "learning-labels.svg": labels_chart([one for one in groups if _is_roster(one) and one["weak"]]),
    }


def filled(page: str, tables: Mapping[str, str]) -> str:
    """``page`` with every table between its marks put anew; a mark without a table, or the reverse, is an error."""
    marks = set(re.findall(r"<!-- table: ([a-z-]+) -->", page))
    if marks != set(tables):
        raise ValueError(f"marks and tables differ: {sorted(marks ^ set(tables))}")
    for name, text in tables.items():
        mark = f"<!-- table: {name} -->"
        page = re.sub(
            f"{mark}.*?<!-- end -->", lambda _, m=mark, t=text: f"{m}\n{t}\n<!-- end -->", page, flags=re.DOTALL
        )
    return page


def tables(document: Document) -> dict[str, str]:
    """Every table of the page."""
    groups = document["groups"]
    return {
        "bars": _bars([one for one in groups if _is_core(one)]),
        "confirming": _bars([one for one in document["confirming"] if _is_core(one)], FEW[:2]),
        "exact": _exact([one for one in groups if _is_core(one)]),
        "labels": _labels([one for one in groups if _is_roster(one)]),
        "other": _bars(
            [one for one in groups if "arms" in one and not _is_core(one) and one["weak"]],
            FEW,
        ),
        "rounds": _rounds([one for one in groups if one["rounds"] > 1 and "arms" in one]),
        "support": _support([one for one in groups if _is_roster(one) and one["weak"] < 2 and one["clients"] == 5]),
        "open": _open(document.get("medical", [])),
        "cost": _cost(document),
    }


def _is_core(one: Document) -> bool:
    return (one["task"], one["models"], one["clients"], one["weak"], one["rounds"]) == (
        "icd",
        "mixed",
        5,
        1,
        1,
    ) and "arms" in one


def _is_roster(one: Document) -> bool:
    return (one["task"], one["models"], one["rounds"]) == ("icd", "mixed", 1)


def _bars(groups: Sequence[Document], arms: Sequence[str] = SHOWN) -> str:
    rows = []
    for one in groups:
        for arm in arms:
            found = one["arms"].get(arm)
            if not found:
                continue
            met = found.get("bars")
            rows.append(
                [
                    _where(one),
                    arm,
                    len(found["seeds"]),
                    *(
                        _interval(found.get(name))
                        for name in ("minus_without", "regret_known", "regret_all", "gain_all", "gain_known")
                    ),
                    ""
                    if met is None
                    else ", ".join(n.replace("_", " ") for n, ok in met.items() if not ok) or "all met",
                ]
            )
    head = [
        "weak client", "arm", "seeds", "strong: minus without", "strong, known: minus alone", "strong, all",
        "weak, all: minus max(base, alone)", "weak, known", "bars missed",
    ]  # fmt: skip
    return _markdown(head, rows)


def _where(one: Document) -> str:
    where = WAYS.get(one["way"], "none")
    if one["weak"] == 2:
        where = f"two{' alike' if one['alike'] else ''}: {where}"
    others = []
    if one["task"] != "icd":
        others.append(one["task"])
    if one["models"] != "mixed":
        others.append("one family")
    if one["clients"] != 5:
        others.append(f"n = {one['clients']}")
    if one["rounds"] > 1:
        others.append(f"{one['rounds']} rounds")
    return ", ".join([where, *others])


def _exact(groups: Sequence[Document]) -> str:
    rows = []
    for arm in EXACT:
        row: list[object] = [arm]
        for one in groups:
            found = one["arms"].get(arm)
            scores = found["exact_match"][-1] if found else None
            row.append("" if scores is None else f"{scores['weak']['all']:.1f}")
            row.append("" if scores is None else f"{scores['strong']['known']:.1f} / {scores['strong']['missing']:.1f}")
        rows.append(row)
    head = ["arm", *(name for one in groups for name in (f"{WAYS[one['way']]}: weak", "strong: known / missing"))]
    return _markdown(head, rows)


def _labels(groups: Sequence[Document]) -> str:
    rows = []
    for one in groups:
        labels = one["labels"]
        ours, medoid = labels["ours"], labels["medoid"]
        rows.append(
            [
                one["clients"],
                "none"
                if not one["weak"]
                else ("one" if one["weak"] == 1 else "two alike" if one["alike"] else "two apart"),
                WAYS.get(one["way"], ""),
                " / ".join(
                    f"{labels['right_alone'][who]:.0f}" for who in ("weak", "strong") if who in labels["right_alone"]
                ),
                f"{medoid['right_of_all']:.1f}",
                f"{ours['coverage']:.0f}",
                f"{ours['right_of_agreed']:.1f}",
                f"{labels['anchored']['right_of_agreed']:.1f} of {labels['anchored']['coverage']:.0f}",
                f"{ours['overwritten']:.1f} / {medoid['overwritten']:.1f}",
                _interval(ours.get("right_minus_without")),
            ]
        )
    head = [
        "n", "weak", "by", "right alone: weak / strong", "medoid right", "ours: agreed", "of these right",
        "anchored: right of agreed", "strong sites' right answers overwritten: ours / medoid",
        "ours: right labels minus without the weak",
    ]  # fmt: skip
    return _markdown(head, rows)


def _rounds(groups: Sequence[Document]) -> str:
    rows = []
    for one in groups:
        for arm, found in one["arms"].items():
            if len(found["exact_match"]) < 2:
                continue
            scores = [
                f"{score['weak']['all']:.1f}; {score['strong']['known']:.1f} / {score['strong']['missing']:.1f}"
                for score in found["exact_match"]
            ]
            rows.append([WAYS[one["way"]], arm, len(found["seeds"]), *scores])
    return _markdown(
        ["weak client", "arm", "seeds", "round 1: weak; strong known / missing", "round 2", "round 3"], rows
    )


def _support(groups: Sequence[Document]) -> str:
    rows = []
    for one in groups:
        support = one["labels"]["support"]
        each = ", ".join(f"{share:g}: {100 * right:.0f} % of {count}" for share, right, count in support["by_support"])
        rows.append([_where(one), f"{support['expected_error']:.3f}", f"{support['auroc']:.3f}", each])
    return _markdown(["weak client", "expected error", "area under the curve", "right, by support"], rows)


def _open(medical: Sequence[Document]) -> str:
    rows = []
    for row in medical:
        for who in ("weak", "strong"):
            one = row[who]
            scores = [f"{one[name]:.3f}" for name in ("own_bits", "other_bits", "similarity")]
            rows.append(
                [WAYS[row["way"]], row["arm"], who, len(row["seeds"]), *scores, _interval(one["fewer_bits_than_alone"])]
            )
    head = ["weak client", "arm", "site", "seeds", "own questions, bits per byte", "others' questions", "similarity"]
    return _markdown([*head, "hundredths of a bit fewer than alone"], rows)


def _cost(document: Document) -> str:
    rows: list[list[object]] = [
        [f"bytes: {name}", f"{size:,}".replace(",", " ")] for name, size in document["bytes"].items()
    ]
    rows += [
        [f"seconds: {kind}, {row['count']} times", f"{row['cpu']:.1f} of CPU, {row['wall']:.1f} of the clock"]
        for kind, row in document["seconds"].items()
    ]
    return _markdown(["what", "of one"], rows)


def _interval(found: Sequence[float] | None) -> str:
    return "" if not found else f"{found[0]:+.1f} ({found[1]:+.1f} to {found[2]:+.1f})"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
