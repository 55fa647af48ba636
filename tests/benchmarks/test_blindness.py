"""The published blindness table: its pairs are made again, its figures hold, and the page shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import blindness
import numpy as np
import pytest
import similarity
from meanings import Facts, calibration_pairs, minimal_pairs

from semfed_secure.demo.weights import CATALOGUE, cache_directory
from semfed_secure.ids import hex_digest
from semfed_secure.llm.embedding import load_embedder

ROOT = Path(__file__).parents[2]
NAME = "all-minilm-l6-v2"
FEW = 4  # of the twelve cosines that are stored of every kind: the encoder is slow on a busy machine
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """What was recorded."""
    document: dict[str, Any] = json.loads((ROOT / "benchmarks/results/blindness.json").read_text())
    return document


@pytest.fixture(scope="module")
def made() -> dict[str, list[Facts]]:
    """The same pairs again."""
    return minimal_pairs(blindness.SEED, blindness.COUNT)


@pytest.mark.models
def test_the_first_pairs_of_every_kind_have_the_stored_cosines(
    stored: dict[str, Any], made: dict[str, list[Facts]]
) -> None:
    """With the real encoder, to 0.002, and its weights are those that the file names."""
    directory = cache_directory() / "models" / f"{NAME}-{CATALOGUE[NAME].payload_sha256[:12]}"
    if not directory.is_dir():
        pytest.skip(f"{NAME} is not prepared: run `make test` or set SEMFED_CACHE")
    embedder = load_embedder(str(directory))
    assert stored["embedder"]["weights_digest"] == hex_digest(embedder.weights_digest)
    for kind, facts in made.items():
        cosine = blindness.cosines(embedder, blindness.sides(facts[:FEW])["different"])
        np.testing.assert_allclose(cosine, stored["kinds"][kind]["first_cosines_ppm"][:FEW], atol=2_000, err_msg=kind)


def test_the_guards_see_as_much_of_every_kind_as_is_stored(
    stored: dict[str, Any], made: dict[str, list[Facts]]
) -> None:
    """All pairs of all kinds: the guards need no encoder, and a change of theirs must be measured anew."""
    for kind, facts in made.items():
        pairs = blindness.sides(facts)
        found = stored["kinds"][kind]
        assert int(blindness.agreeing(pairs["different"]).sum()) == found["guards_agree_on_different"], kind
        assert len(facts) == found["n"] == len(set(facts)) >= 200


def test_with_the_guards_hardly_a_number_dose_unit_frequency_negation_or_side_is_joined(stored: dict[str, Any]) -> None:
    """At most one pair in forty, of which the cosine alone joins most; what no guard sees is stated as such."""
    for kind in ("dose", "unit", "frequency", "number", "negation", "laterality"):
        row = stored["kinds"][kind]
        assert row["different_joined_with_guards"]["count"] * 40 <= row["n"], kind
        assert row["different_joined_by_cosine"]["count"] * 2 >= row["n"], kind
    role = stored["kinds"]["role"]
    assert role["different_joined_with_guards"] == role["different_joined_by_cosine"]


def test_the_page_shows_the_stored_figures(stored: dict[str, Any]) -> None:
    """Every row of all three tables, that of the calibrations too, which were made with the same weights."""
    page = (ROOT / "docs/explanation/what-embeddings-miss.md").read_text(encoding="utf-8")
    calibrated = json.loads((ROOT / "benchmarks/results/similarity.json").read_text())
    rows = [*blindness.table(stored), *similarity.table(calibrated)]
    assert len(rows) > 12
    assert not [row for row in rows if row not in page]
    assert calibrated["embedder"] == stored["embedder"]


def test_pairs_for_calibration_are_of_both_sorts_and_the_same_every_time() -> None:
    """As many of one meaning as of two, and a seed says which."""
    pairs = calibration_pairs(3, 20)
    assert pairs == calibration_pairs(3, 20) != calibration_pairs(4, 20)
    assert sum(pair.same for pair in pairs) == len(pairs) // 2 == 20
