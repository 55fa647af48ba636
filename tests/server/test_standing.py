"""What the server remembers of its clients over rounds: only its own published reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from semfed_secure.errors import PeerError
from semfed_secure.ids import MemberId, RoundId
from semfed_secure.storage.schema import round_
from tests.server.world import PLURALITY, SITES, World, post, votes

GOLD = {"p0": "heart", "p1": "lung", "p2": "skin", "p3": "eye", "p4": "heart"}
WRONG = votes(3, 3, 3, 0, 3, 3)
ANCHORED = replace(PLURALITY, weights="anchored")


def _round(world: World, number: int, *, liar: str | None = None, rule: Any = ANCHORED) -> dict[str, Any]:
    """A whole round; the report."""
    name = f"round-{number}"
    manifest = world.open(name, rule=rule, gold=GOLD)
    for site in SITES:
        payload = WRONG if site == liar else votes()
        assert world.server.receive(RoundId(name), post(site, manifest, payload)).admitted
    world.server.advance()
    world.clock.advance(1)
    report: Any = world.server.status(RoundId(name))["report"]
    return report


def _weight(report: dict[str, Any], site: str) -> int:
    weight: int = next(client["weight_ppm"] for client in report["groups"][0]["clients"] if client["member"] == site)
    return weight


def test_a_liar_counts_less_in_the_next_rounds_and_regains_its_standing(world: World) -> None:
    """The reports say on which rounds they rest, and the reason."""
    lied, after = _round(world, 1, liar="moor"), [_round(world, number) for number in (2, 3, 4)]
    weights = [_weight(report, "moor") for report in (lied, *after)]
    assert weights == sorted(weights)
    assert weights[0] < weights[1] < weights[3]
    assert {_weight(report, "bay") for report in after} == {1_000_000}
    assert after[-1]["remembers"] == ["round-3", "round-2", "round-1"]
    moor = next(client for client in after[0]["groups"][0]["clients"] if client["member"] == "moor")
    assert "Earlier rounds count as 0.00 of 2.50 more" in moor["why"]


def test_the_operator_can_let_a_client_start_anew_and_the_log_says_so(world: World) -> None:
    """After the reset only later rounds count for it; the others keep their past."""
    _round(world, 1, liar="moor")
    number = world.server.reset_standing(MemberId("moor"), "has a new model")
    entry = world.audit.entries(number, number + 1)[0].event
    assert (entry.type.value, entry.target, entry.reason) == ("standing.reset", "moor", "has a new model")
    report = _round(world, 2)
    assert _weight(report, "moor") == _weight(report, "bay")
    with pytest.raises(PeerError, match="SF306"):
        world.server.reset_standing(MemberId("stranger"), "is unknown")


def test_the_log_states_the_report_and_a_changed_one_says_nothing(world: World) -> None:
    """A report that is not the one in the log neither lowers a weight nor is named among those remembered."""
    _round(world, 1, liar="moor")
    with world.database.transaction() as tx:
        row = tx.connection.execute(round_.select()).first()
        assert row is not None
        changed = row.report.replace('"anchors_right": 0', '"anchors_right": 5')
        assert changed != row.report
        tx.connection.execute(update(round_).values(report=changed))
    report = _round(world, 2)
    assert report["remembers"] == []
    assert _weight(report, "moor") == _weight(report, "bay")


def test_a_sleeper_falls_in_the_round_in_which_it_lies(world: World) -> None:
    """Three honest rounds buy it nothing."""
    for number in (1, 2, 3):
        _round(world, number)
    assert _weight(_round(world, 4, liar="moor"), "moor") < 150_000
