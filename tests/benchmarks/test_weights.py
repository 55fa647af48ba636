"""The benchmark of client weights: its page says what its results file says, and the attacks are what they claim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import weights

ROOT = Path(__file__).parents[2]


def test_the_page_holds_every_row_of_the_results_file() -> None:
    """Nobody copies a figure by hand."""
    found = json.loads((ROOT / "benchmarks/results/weights.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/explanation/client-weights.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in weights.tables(found) if row not in page] == []


def test_the_product_spares_uneven_honest_clients_where_plain_agreement_accuses_them() -> None:
    """Nine of twenty flip their labels: the weights leave the honest their full voice and the liars a half."""
    world = weights.attacked(np.random.default_rng(1), 20, 9, "flip", uneven=True)
    ours = weights.ours(world[0])
    assert (ours[-9:] == 0.5).all()
    assert ours[:11].mean() > 0.8


def test_colluders_on_one_prompt_in_five_are_found_by_being_wrong_together() -> None:
    """The four of ten that collude keep half a voice, the others more."""
    world = weights.attacked(np.random.default_rng(1), 10, 4, "collude_20", uneven=False)
    ours = weights.ours(world[0])
    assert (ours[-4:] == 0.5).all()
    assert (ours[:6] > 0.9).all()
