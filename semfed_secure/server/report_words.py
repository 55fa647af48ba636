"""A round report in words: what came out, what to look at, and a table of the clients."""

from __future__ import annotations

import re
import statistics
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PPM = 1_000_000
_SHOWN = 20
"""Prompts, or sentences of one kind, that the text names."""
_LOW_COVERAGE = 0.6
_DECISIVE = 0.05
_TWINS = 950
"""Thousandths of agreement from which two clients are named as a pair."""


def markdown(status: Mapping[str, Any], pictures: Sequence[Mapping[str, str]]) -> str:
    """The report of a published round, one part for each of its groups; it does not grow with the number of prompts.

    Args:
        status: What `Overview.status` says of the round.
        pictures: For each group the file name of each picture, by what it shows.
    """
    lines = []
    for report, drawn in zip(status["report"]["groups"], pictures, strict=True):
        group = f", group {_plain(report['group'])}" if report["group"] else ""
        lines += [f"# Round {_plain(status['round_id'])}{group}", "", _summary(status, report), ""]
        lines += ["## What to look at", ""]
        lines += [f"- {sentence}" for sentence in findings(report)] or ["- Nothing stands out."]
        for words, file in drawn.items():
            lines += ["", f"## {words}", "", f"![{words}]({file})"]
        lines += ["", "## Clients", "", *_clients(report["clients"]), "", "## Agreed prompts with the least lead", ""]
        lines += [*_weakest(report["prompts"]), ""]
    return "\n".join(lines)


def findings(report: Mapping[str, Any]) -> list[str]:
    """Sentences about what an operator should look at in the report of one group, the gravest first."""
    return [*_of_prompts(report), *_of_pairs(report), *_of_clients(report)]


def _summary(status: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    own = status["groups"].get(report["group"])
    count = sum(own is None or row["member"] in own for row in status["refused"])
    refused = f", {count} refused" if count else ""
    other = "".join(
        f" Weighed by `{row['weights']}`, {row['agreed']} would agree and {row['changed']} would come out otherwise."
        for row in report["other_weights"]
    )
    return (
        f"{len(report['prompts'])} prompts, answered by {len(report['clients'])} clients{refused}: "
        f"{report['agreed']} agreed, {report['contested']} contested, {report['too_few']} answered by too few. "
        f"Clients were weighed by `{report['weights']}`.{other} "
        "This page names members: it is for the operator and the auditor of the server, and for nobody else."
    )


def _of_prompts(report: Mapping[str, Any]) -> list[str]:
    found, prompts = [], len(report["prompts"])
    if report["agreed"] < _LOW_COVERAGE * prompts:
        found.append(
            f"Only {_percent(report['agreed'] / max(prompts, 1))} of the prompts agreed. Look whether the prompts are "
            "clear, and whether the clients that disagree below know the subject."
        )
    agreed = [row for row in report["prompts"] if row["status"] == "agreed"]
    fragile = sum(row["certified_tolerance"] == 0 for row in agreed)
    if fragile:
        found.append(
            f"{fragile} of {len(agreed)} agreed labels could have been changed by one client; the least firm are "
            "listed last. A higher `min_margin_ppm` leaves such labels out."
        )
    return found


def _of_pairs(report: Mapping[str, Any]) -> list[str]:
    members = [row["member"] for row in report["clients"]]
    pairs = [
        (permille, members[column], members[row])
        for row, others in enumerate(report["agreement_permille"])
        for column, permille in enumerate(others)
        if permille >= _TWINS
    ]
    found = [
        f"{_plain(one)} and {_plain(other)} said the same on {_percent(permille / 1000)} of the prompts that both "
        "answered. Clients that are both right do so too; ask whether they share a model or an operator."
        for permille, one, other in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:]))[:_SHOWN]
    ]
    together = {
        tuple(sorted((row["member"], row["collusion_partner"])))
        for row in report["clients"]
        if row["collusion_partner"]
    }
    wrong = [
        f"{_plain(one)} and {_plain(other)} were wrong together more often than independent clients are. Look whether "
        "one copies the other, or both are steered."
        for one, other in sorted(together)[:_SHOWN]
    ]
    return wrong + found


def _of_clients(report: Mapping[str, Any]) -> list[str]:
    found, clients = [], report["clients"]
    if not clients:
        return []
    usual = statistics.median(row["trimmed_ppm"] for row in clients) / PPM
    often = 2 * statistics.median(row["influence"]["agreed_only_with"] for row in clients)
    for row in sorted(clients, key=lambda row: (row["observed_weight_ppm"], row["member"])):
        name, trimmed = _plain(row["member"]), row["trimmed_ppm"] / PPM
        if trimmed > max(2 * usual, usual + 0.2):
            found.append(
                f"{_percent(trimmed)} of what {name} answered stands outside the winning groups or at their edge, "
                f"where {_percent(usual)} is usual. It may be weak, of another field, broken or hostile: ask it."
            )
        decisive = row["influence"]["agreed_only_with"]
        if decisive > max(_DECISIVE * report["agreed"], often):
            found.append(
                f"{decisive} agreed labels would not be there without {name}, and are its own answers: read some."
            )
    return found[:_SHOWN]


def _clients(clients: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        "| client | answered | weight | by behaviour | supported | trimmed | changed | agreed only with it | why |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in clients:
        shares = [f"{row[name] / PPM:.2f}" for name in ("weight_ppm", "observed_weight_ppm")]
        shares += [_percent(row[name] / PPM) for name in ("supported_ppm", "trimmed_ppm")]
        influence = [str(row["influence"][name]) for name in ("changed", "agreed_only_with")]
        cells = [_plain(row["member"]), str(row["answered"]), *shares, *influence, _plain(row["why"])]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _weakest(prompts: Sequence[Mapping[str, Any]]) -> list[str]:
    agreed = sorted(
        (row for row in prompts if row["status"] == "agreed"), key=lambda row: (row["margin_ppm"], row["prompt"])
    )
    rows = ["| prompt | support | lead | clients that could change it |", "|---|---|---|---|"]
    for row in agreed[:_SHOWN]:
        shares = [_percent(row[name] / PPM) for name in ("support_ppm", "margin_ppm")]
        rows.append(f"| {_plain(row['prompt'])} | {' | '.join(shares)} | {row['certified_tolerance'] + 1} |")
    return rows


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _plain(words: str) -> str:
    """Text that no reader of Markdown or HTML takes for markup."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", escape(" ".join(words.split()), quote=False))
