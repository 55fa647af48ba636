"""The demo's result as one picture, made from ``report.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semfed_secure.demo.tables import kinds_of, mean_scores, measured, percent, phases_of

# Told apart without colour too: pale, middle, dark.
COLOURS = {"base": "#d9d9d9", "local": "#8da0cb", "consensus": "#1b6e53"}
NAMES = {"base": "untrained", "local": "trained alone", "consensus": "after the consensus"}
SHORT = {"missing": "lacks", "known": "knows"}
TITLES = {"missing": "what the site has no records of", "known": "what the site knows"}
BAR = 0.26


def draw(report: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write ``report.png`` and ``report.svg`` into ``directory`` and return their paths.

    One row per output kind: left the chapters that a site lacks, right those that it knows; one group of bars per
    site and one for the mean.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    kinds = kinds_of(report)
    figure, axes = plt.subplots(
        len(kinds), 2, figsize=(12, 0.8 + 3.6 * len(kinds)), sharey=True, squeeze=False, layout="constrained"
    )
    for row, kind in enumerate(kinds):
        for column, part in enumerate(("missing", "known")):
            _panel(axes[row][column], report, kind, part)
    axes[0][0].legend(loc="upper left", frameon=False, fontsize=9)
    figure.suptitle(_headline(report), fontsize=12)
    paths = [directory / f"report.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return paths


def _panel(axis: Any, report: Mapping[str, Any], kind: str, part: str) -> None:
    """One group of bars per site, the mean last; a bar for each phase that some site went through."""
    phases = phases_of(report, kind)
    names = NAMES if "local" in phases else NAMES | {"base": "before the rounds"}
    groups = [(site["id"], site["exact_match"][kind][part]) for site in measured(report, kind)]
    groups.append(("mean", mean_scores(report, kind)[part]))
    for offset, phase in enumerate(phases):
        shares = [scores[phase] for _, scores in groups]
        places = [place + (offset - (len(phases) - 1) / 2) * BAR for place in range(len(groups))]
        bars = axis.bar(places, [100 * (share or 0) for share in shares], BAR, color=COLOURS[phase], label=names[phase])
        labels = ["" if share is None else f"{100 * share:.0f}" for share in shares]
        axis.bar_label(bars, labels, fontsize=7, padding=1)
    axis.set_xticks(range(len(groups)), [name for name, _ in groups], fontsize=9)
    axis.set_title(f"{kind}: {TITLES[part]}", fontsize=10)
    axis.set_ylabel("exact match, %")
    axis.set_ylim(0, 100)
    axis.axvline(len(groups) - 1.5, color="#999999", linewidth=0.8, linestyle=":")
    axis.spines[["top", "right"]].set_visible(False)


def _headline(report: Mapping[str, Any]) -> str:
    """The main figure in one sentence."""
    kind = kinds_of(report)[0]
    means = mean_scores(report, kind)
    part = "known" if means["missing"]["consensus"] is None else "missing"
    before = max((means[part][phase] for phase in ("base", "local")), key=lambda share: -1 if share is None else share)
    honest = sum(site["role"] == "honest" for site in report["sites"])
    budgets = {site["epsilon_spent"] for site in report["sites"] if site["role"] == "honest" and site["epsilon_spent"]}
    privacy = f"ε ≤ {max(map(float, budgets)):.3g} per entity" if budgets else "without differential privacy"
    return (
        f"{honest} honest sites, {privacy}: on what a site {SHORT[part]}, exact match goes from {percent(before)} "
        f"to {percent(means[part]['consensus'])}"
    )
