"""Hostile privacy parameters are coded refusals wherever somebody can write them, before anything is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from semfed_secure.client.config import load_site_config
from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.compose import load_policy
from semfed_secure.privacy.accountant import dp_sgd_rdp, epsilon_of, gaussian_rdp, noise_multiplier_for
from semfed_secure.privacy.grid import GridNoise, clipped_sum
from semfed_secure.privacy.histogram import release_histogram
from semfed_secure.privacy.shards import release_shard_votes
from semfed_secure.privacy.shares import noisy_share
from semfed_secure.privacy.vectors import release_vectors
from tests.cli.test_budget_cli import POLICY
from tests.client.test_config import WHOLE, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRAINING = "[training]\nsteps = 15\nexpected_entities = 200\nclip_norm = 0.5\n"
SITE = {
    "epsilon": ('epsilon = "8"', ["0", "-1", "-0", "NaN", "Infinity", "1001", "1e400", ""]),
    "delta": ('delta = "1e-6"', ["0", "-1e-6", "1", "2", "NaN", "Infinity", "0.01"]),
    "steps": ("steps = 15", [0, -1, 1.5, 10_000_001]),
    "expected_entities": ("expected_entities = 200", [0, -1, 1001]),  # above the population: a sample rate above one
    "clip_norm": ("clip_norm = 0.5", [0.0, -1.0, "nan", "inf", 1e9]),  # the sensitivity of training
    "population_bound": ("population_bound = 1000", [0, -1, 10**12]),
}


def _cases() -> list[tuple[str, str, object]]:
    return [(name, line, value) for name, (line, values) in SITE.items() for value in values]


@pytest.mark.parametrize(("name", "line", "value"), _cases())
def test_a_site_file_with_a_hostile_parameter_is_refused(tmp_path: Path, name: str, line: str, value: object) -> None:
    """SF101 names the field; NaN, infinity, zero, negative numbers and a sample rate above one among them."""
    whole = WHOLE + TRAINING
    assert load_site_config(write(tmp_path, whole)).training.steps == 15
    shown = f'"{value}"' if name in {"epsilon", "delta"} else value
    with pytest.raises(ConfigurationError, match="SF101") as refused:
        load_site_config(write(tmp_path, whole.replace(line, f"{name} = {shown}")))
    assert name in refused.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("epsilon", value) for value in ("0", "-1", "NaN", "Infinity", "101")]
    + [("delta", value) for value in ("0", "1", "2", "-1e-6", "NaN", "Infinity", "0.0011", "0.9e-30")],
)
def test_a_policy_with_a_hostile_budget_does_not_load(tmp_path: Path, name: str, value: str) -> None:
    """A coded refusal, and no budget."""
    good = {"epsilon": 'epsilon: "4"', "delta": 'delta: "1e-7"'}[name]
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    assert load_policy(path).budgets("cards")
    path.write_text(POLICY.replace(good, f'{name}: "{value}"'))
    with pytest.raises(ConfigurationError, match="SF11"):
        load_policy(path)


UNIT, VOTES = np.ones((1, 1), np.float32), np.zeros((2, 1), np.int64)
ENTRANCES: dict[str, Callable[[float], object]] = {
    "noise of a histogram": lambda bad: release_histogram([("a", 0, 0), ("b", 0, 1)], (1, 2), sigma=bad),
    "noise of votes of shards": lambda bad: release_shard_votes(VOTES, 2, sigma=bad),
    "noise of vectors": lambda bad: release_vectors(UNIT, noise_multiplier=bad),
    "noise of a share": lambda bad: noisy_share(UNIT, noise_multiplier=bad, honest=2),
    "noise of a sum": GridNoise,
    "sensitivity of a sum": lambda bad: clipped_sum([UNIT], bad),
    "sensitivity that is accounted": lambda bad: gaussian_rdp(1.0, sensitivity=bad),
    "sample rate": lambda bad: dp_sgd_rdp(1.0, bad, 1),
    "steps": lambda bad: dp_sgd_rdp(1.0, 0.1, bad),
    "delta": lambda bad: epsilon_of(gaussian_rdp(1.0), bad),
    "epsilon of a plan": lambda bad: noise_multiplier_for(bad, 1e-6, 0.1, 1),
    "delta of a plan": lambda bad: noise_multiplier_for(1.0, bad, 0.1, 1),
    "sample rate of a plan": lambda bad: noise_multiplier_for(1.0, 1e-6, bad, 1),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_hostile_number_at_any_entrance_of_the_library_releases_nothing(
    entrance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero, a negative number, NaN, infinity and a truth value: SF141 each, before any noise is drawn."""

    def draw(_stream: ChaChaStream, _count: int) -> None:
        raise AssertionError("noise was drawn")

    monkeypatch.setattr(ChaChaStream, "words", draw)
    for bad in (0, -1.0, float("nan"), float("inf"), True, *((1.5,) if "rate" in entrance else ())):
        with pytest.raises(ConfigurationError, match="SF141"):
            ENTRANCES[entrance](bad)
