"""The benchmark of the rules: it holds their quality while it takes their time, with or without the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import consensus
import numpy as np

if TYPE_CHECKING:
    import pytest


def test_the_quality_is_checked_beside_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small run without peers times every rule of ours and states how far the geometric median is from the least."""
    monkeypatch.setattr(consensus, "SIZES", {"numpy": (6, 9, 2)})
    found = consensus.measure("numpy", 1, None)
    assert set(found["rules"]) == {"trimmed mean", "geometric median", "krum", "multi-krum"}
    assert all(row["ours"]["wall_ms"] > 0 for row in found["rules"].values())
    assert found["worst_excess_of_the_sum_of_distances"] <= consensus.QUALITY


def test_a_peer_is_given_as_many_steps_as_the_quality_needs() -> None:
    """A median that settles after seven steps gets seven, and its sums are measured, not believed."""
    given = consensus.vectors(3, 7)
    middle = consensus.rules.geometric_median(given)

    class Peer:
        @staticmethod
        def GeometricMedian(*, nu: float, T: int) -> object:  # noqa: N802, N803  # as byzfl spells them
            ends = dict(zip(map(bytes, given), middle, strict=True))
            return lambda rows: ends[bytes(rows)] if T >= 7 else np.zeros(consensus.DIMENSIONS)

    assert consensus.steps_needed(Peer, given, consensus.least_sums(given)) == 7
