"""The forecast before a release: shown by a dry run, binding by policy, and blind to every record."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.forecasts import forecast_release
from semfed_secure.client.protection import charge_of
from semfed_secure.client.training import preview_training
from semfed_secure.errors import PolicyDenied
from semfed_secure.llm.model import Record
from semfed_secure.privacy.forecast import histogram_accuracy
from tests.client.world import DP, HISTOGRAM, ROUND, TEXTS, UNSAFE, charges, draft, events, records

if TYPE_CHECKING:
    from semfed_secure.client.session import Client
    from tests.client.world import World

# Six prompts, four candidates, three sites: with a thousand people much is left of the votes, with forty nothing is.
MANY, FEW = {"population_bound": 1000}, {"population_bound": 40, "epsilon": "0.5"}
FLOOR = {"limits": {"privacy": {"min_forecast_ppm": 500_000}}}
SMALL = {"sections": {"training": {"expected_entities": 20}}}


def client_of(world: World, size: dict[str, Any], **changes: Any) -> Client:
    """A site whose records vote, with so many people behind them."""
    return world.client(mechanism=HISTOGRAM, **size, **SMALL, **changes)


def unread() -> Any:
    """Records that nobody may look at."""
    raise AssertionError("a record was read")
    yield Record("e", "p", "c")


def test_a_hopeless_release_is_refused_before_anything_is_read_or_paid(world: World) -> None:
    """Below the floor of the policy: SF201 with DP-008 and the figure; no record read, nothing charged or sent."""
    world.open_round()
    with client_of(world, FEW, policy=FLOOR) as client:
        with pytest.raises(PolicyDenied) as refusal:
            client.join(ROUND).contribute(records=unread())
        (reason,) = refusal.value.fields["reasons"]
        assert (reason["code"], reason["limit"]) == ("DP-008", "500000")
        assert int(reason["observed"]) < 100_000
        assert charges(client) == []
        assert not {"dataset.opened", "bundle.released"} & {kind for kind, _ in events(client)}


def test_a_hopeful_release_passes_the_same_floor(world: World) -> None:
    """With people enough the same policy permits: the floor refuses noise, not the mechanism."""
    world.open_round()
    with client_of(world, MANY, policy=FLOOR) as client:
        assert client.join(ROUND).contribute(records=records("bay")).outcome == "admitted"
        assert len(charges(client)) == 1


@pytest.mark.parametrize(("size", "likely"), [(MANY, True), (FEW, False)], ids=["many people", "few people"])
def test_a_dry_run_shows_the_forecast(world: World, size: dict[str, Any], likely: bool) -> None:
    """With what it rests on, without a floor too; nothing is spent and no record is read."""
    world.open_round()
    with client_of(world, size) as client:
        shown = client.join(ROUND).contribute(records=unread(), dry_run=True).forecast
        assert (shown.right_ppm > 900_000) == likely
        assert f"3 clients answer, each of {size['population_bound']} entities" in shown.rests_on
        assert charges(client) == []


def test_of_a_round_with_groups_only_the_sites_own_group_counts(world: World) -> None:
    """Whoever answers elsewhere gives its own consensus nothing."""
    world.open_round(groups={"research": ("bay", "hill"), "trade": ("lake",)}, min_clients=1)
    with client_of(world, MANY) as client:
        shown = client.join(ROUND).contribute(records=unread(), dry_run=True).forecast
        assert "2 clients answer" in shown.rests_on


def test_the_forecast_of_a_release_is_that_of_its_declared_numbers(world: World) -> None:
    """Roster, prompts, candidates, rule, bound and noise, and nothing else: equal to the formula of these."""
    world.open_round()
    with client_of(world, FEW) as client:
        round_ = world.joined(client)
        charge = charge_of(draft(round_, None, client), client.site)
        told = forecast_release(round_, client.site.config, charge, world.clock.now())
        formula = histogram_accuracy(
            clients=3,
            prompts=len(TEXTS),
            candidates=4,
            entities=40,
            sigma=float(charge.parameters["sigma"]),
            rule=round_.manifest.rule,
        )
        assert told.right_ppm == int(1_000_000 * formula)


def test_what_public_numbers_do_not_tell_is_not_refused(world: World) -> None:
    """Under DP-SGD the noise of the update is shown; the highest floor does not refuse what nobody can predict."""
    world.open_round()
    highest = {"limits": {"privacy": {"min_forecast_ppm": 1_000_000}}}
    with world.client(mechanism=DP, policy=highest) as client:
        joined = client.join(ROUND)
        shown = preview_training(client.site, client._engine, ROUND)
        assert (shown.forecast.right_ppm, shown.decision.outcome) == (None, "permit")
        assert "noise along one direction is at least" in shown.forecast.rests_on
        joined.train(records("bay"))
        assert joined.contribute().outcome == "admitted"
    with world.client("hill", mechanism=UNSAFE, policy=highest) as client:
        assert client.join(ROUND).contribute(dry_run=True).decision.outcome == "permit"


def test_a_forecast_holds_a_figure_and_public_words_only(world: World) -> None:
    """The same before and after the site got records: two fields, equal whatever lies in the data set."""
    world.open_round()
    with client_of(world, MANY) as client:
        joined = client.join(ROUND)
        shown = [joined.contribute(records=own, dry_run=True).forecast for own in (unread(), records("bay"), ())]
        assert shown[0] == shown[1] == shown[2]
        assert [field.name for field in fields(shown[0])] == ["right_ppm", "rests_on"]
