"""The demo's result as text: one table per question, made from ``report.json`` alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from semfed_secure.columns import table

PHASES = ("base", "local", "consensus")
PARTS = ("known", "missing")
Report = Mapping[str, Any]


def summary(report: Report) -> str:
    """Everything the demo shows at its end, as text."""
    parts = [
        *(_scores(report, kind) for kind in kinds_of(report)),
        _heading("Rounds", _rounds(report)),
        _heading("Budgets", _budgets(report)),
        _heading("Audit logs", _logs(report)),
        _costs(report),
    ]
    return "\n\n".join(parts) + "\n"


def kinds_of(report: Report) -> list[str]:
    """The output kinds that some site was measured on, votes first."""
    found = {kind for site in report["sites"] for kind in site["exact_match"]}
    return sorted(found, reverse=True)


def measured(report: Report, kind: str) -> list[Mapping[str, Any]]:
    """The sites that were measured on ``kind``."""
    return [site for site in report["sites"] if kind in site["exact_match"]]


def phases_of(report: Report, kind: str) -> list[str]:
    """The phases that some site was measured in: a black box that is not trained has no ``local``."""
    parts = [site["exact_match"][kind][part] for site in measured(report, kind) for part in PARTS]
    return [phase for phase in PHASES if any(part[phase] is not None for part in parts)]


def mean_scores(report: Report, kind: str) -> dict[str, dict[str, float | None]]:
    """``{"known": {"base": …}, "missing": …}``: plain means over the measured sites, None where none was."""
    sites = measured(report, kind)
    return {
        part: {phase: _mean(site["exact_match"][kind][part][phase] for site in sites) for phase in PHASES}
        for part in PARTS
    }


def _mean(shares: Iterable[float | None]) -> float | None:
    found = [share for share in shares if share is not None]
    return sum(found) / len(found) if found else None


def percent(value: float | None) -> str:
    """``0.437`` as ``43.7 %``; a dash where nothing was measured."""
    return "-" if value is None else f"{100 * value:.1f} %"


def _heading(title: str, body: str) -> str:
    return f"{title}\n{body}"


def _scores(report: Report, kind: str) -> str:
    """Exact match per site: untrained or as a black box was, trained alone, after the consensus."""
    phases = phases_of(report, kind)
    headers = ["site", "model", *(f"{part}: {phase}" for part in PARTS for phase in phases), "adapter"]
    fates = {True: "kept", False: "rolled back", None: "-"}
    rows = [
        [site["id"], site["model"], *_cells(site["exact_match"][kind], phases), fates[site["kept"]]]
        for site in measured(report, kind)
    ]
    rows.append(["mean", "", *_cells(mean_scores(report, kind), phases), ""])
    return _heading(f"Exact match, {kind}", table(headers, rows))


def _cells(scores: Mapping[str, Mapping[str, float | None]], phases: Iterable[str]) -> Iterator[str]:
    for part in PARTS:
        for phase in phases:
            yield percent(scores[part][phase]).rjust(7)


def _rounds(report: Report) -> str:
    """What became of each round, and who was refused with which code."""
    headers = ["round", "kind", "prompts", "agreed", "contested", "too few", "admitted", "refused", "attacker agreed"]
    return table(headers, [_round_row(row) for row in report["rounds"]])


def _round_row(row: Mapping[str, Any]) -> Sequence[object]:
    refused = ", ".join(f"{refusal['site']} {refusal['code']}" for refusal in row["refused"]) or "nobody"
    counts = [row[name] for name in ("prompts", "agreed", "contested", "too_few")]
    attacker = "-" if row["attacker_label_agreed"] is None else row["attacker_label_agreed"]
    return [row["id"], row["kind"], *counts, len(row["admitted"]), refused, attacker]


def _budgets(report: Report) -> str:
    rows = [
        [site["id"], site["role"], site["epsilon_spent"], site["epsilon_budget"]]
        for site in report["sites"]
        if site["epsilon_budget"] is not None
    ]
    return table(["site", "role", "ε spent", "ε budget"], rows)


def _logs(report: Report) -> str:
    rows = [
        [log["log"], log["entries"], log["root"][:16], "verified" if log["verified"] else "BROKEN"]
        for log in report["audit"]
    ]
    compared = report["reconciled"]
    line = f"Compared with each other: {compared['verdict']}"
    return f"{table(['log', 'entries', 'root', 'verdict'], rows)}\n{line}"


def _costs(report: Report) -> str:
    """Bytes next to what exchanging adapters would have cost, and where the time went."""
    sent, adapters = report["bytes"]["up"] + report["bytes"]["down"], report["bytes"]["lora_exchange"]
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report["seconds"].items())
    instead = "; there are no adapters to exchange instead"
    if adapters is not None:
        ratio = f" ({adapters / sent:.1f} times as much)" if sent else ""
        instead = f"; exchanging the LoRA adapters instead: {adapters / 1e6:.2f} MB{ratio}"
    return f"On the wire: {sent / 1e6:.2f} MB up and down{instead}\nTime: {phases}"
