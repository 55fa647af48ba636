"""The curve of `epsilon.py` as a picture, made from its JSON alone.

``python benchmarks/epsilon_picture.py`` reads ``benchmarks/results/epsilon.json`` and writes ``epsilon.svg`` and
``epsilon.png`` beside the page that shows them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from semfed_secure.demo.picture import COLOURS, NAMES, TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
MARKS = {"local": "s", "consensus": "o"}


def draw(document: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write ``epsilon.png`` and ``epsilon.svg`` into ``directory``: the means as lines, each site as a small mark."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "epsilon"  # the same figures give the same bytes
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True, layout="constrained")
    for axis, part in zip(axes, ("missing", "known"), strict=True):
        _panel(axis, document["curve"], part)
    axes[0].set_ylabel("exact match, %")
    axes[1].legend(loc="lower left", frameon=False, fontsize=9)
    sites, settings = len(document["curve"][0]["sites"]), document["settings"]
    figure.suptitle(
        f"What ε costs: {sites} honest sites and a liar, {settings['steps']} private steps, δ = {settings['delta']}",
        fontsize=12,
    )
    paths = [directory / f"epsilon.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return paths


def _panel(axis: Any, curve: Sequence[Mapping[str, Any]], part: str) -> None:
    places = range(len(curve))
    base = curve[0]["mean"][part]["exact_match"]["base"]
    axis.axhline(base, color="#8c8c8c", linewidth=1.2, linestyle="--", label=NAMES["base"])
    for stage, mark in MARKS.items():
        below = stage == "local" and part == "known"  # where the two lines run close together
        means = [point["mean"][part]["exact_match"][stage] for point in curve]
        axis.plot(places, means, marker=mark, color=COLOURS[stage], linewidth=2, label=NAMES[stage])
        for place, point in zip(places, curve, strict=True):
            own = [site[part]["exact_match"][stage] for site in point["sites"]]
            axis.plot([place - 0.08] * len(own), own, mark, color=COLOURS[stage], markersize=3.5, alpha=0.5)
            axis.annotate(
                f"{means[place]:.0f}",
                (place, means[place]),
                (8, -14 if below else 8),
                textcoords="offset points",
                fontsize=8,
            )
    names = ["no noise" if point["epsilon"] == "none" else f"ε = {point['epsilon']}" for point in curve]
    axis.set_xticks(places, names, fontsize=9)
    axis.set_title(TITLES[part], fontsize=10)
    axis.set_ylim(0, 100)
    axis.margins(x=0.12)
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "epsilon.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "explanation")
    arguments = parser.parse_args()
    for path in draw(json.loads(arguments.results.read_text(encoding="utf-8")), arguments.out):
        print(path)


if __name__ == "__main__":
    main()
