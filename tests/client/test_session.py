"""Whole rounds in ten lines, and rounds that other processes finish."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.progress import RoundState
from semfed_secure.client.taking_part import _alone
from semfed_secure.errors import ConfigurationError, ConsensusError, IntegrityError
from semfed_secure.testing import Altering, OneAnswerModel, TableModel, flipped
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import Outcome, PromptStatus
from tests.client.world import (
    CANDIDATES,
    HISTOGRAM,
    MEMBERS,
    OPEN_PROMPTS,
    ROUND,
    TEXTS,
    TRUTH,
    UNSAFE,
    World,
    charges,
    events,
    records,
    taught,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_ten_lines_teach_a_site_what_it_was_blind_for(world: World) -> None:
    """Train, contribute, wait, learn: each site answers what only the others knew, and spent only on training."""
    world.open_round()
    for member in MEMBERS:
        with world.client(member, model=TableModel()) as client, client.join(ROUND) as r:
            r.train(taught(member))
            assert r.contribute().outcome is Outcome.ADMITTED
    for member in MEMBERS:
        model = TableModel()
        with world.client(member, model=model) as client, client.join(ROUND) as r:
            before = len(charges(client))
            outcome = r.learn(r.wait_for_consensus(timeout_seconds=5))
            assert outcome.kept
            assert outcome.labels == 6
            client._engine.ready()
            assert model.answer(TEXTS, max_new_tokens=4) == list(TRUTH.values())
            assert (r.state, len(charges(client))) == (RoundState.LEARNED, before)


def test_a_round_of_texts(world: World) -> None:
    """The same steps with written answers; the labels are the texts that the sites agreed on."""
    world.open_round("texts", OPEN_PROMPTS, kind=OutputKind.TEXT)
    for member in MEMBERS:
        with world.client(member, model=TableModel()) as client, client.join("texts") as r:
            r.train(taught(member))
            assert r.contribute().outcome is Outcome.COMMITTED
    for member in MEMBERS:
        with world.client(member, model=TableModel()) as client, client.join("texts") as r:
            if member != MEMBERS[-1]:
                with pytest.raises(ConsensusError, match="SF401"):
                    r.wait_for_consensus()
                assert (r.state, r.receipt.outcome) == (RoundState.OPENED, Outcome.ADMITTED)
            else:
                r.wait_for_consensus()
    with world.client("bay", model=TableModel()) as client, client.join("texts") as r:
        found = r.wait_for_consensus()
        agreed = {result.label for result in found.results if result.status is PromptStatus.AGREED}
        assert agreed == set(CANDIDATES)
        assert r.learn(found).kept


def test_a_liar_is_outvoted(world: World) -> None:
    """One site that always gives the same wrong answer changes no label that two others know."""
    world.open_round()
    for member, model in zip(MEMBERS, (TableModel(TRUTH), TableModel(TRUTH), OneAnswerModel("eye")), strict=True):
        with world.client(member, model=model, mechanism=UNSAFE) as client:
            client.join(ROUND).contribute()
    with world.client("bay", mechanism=UNSAFE) as client:
        results = client.join(ROUND).wait_for_consensus().results
    assert [result.label for result in results] == list(TRUTH.values())


def test_black_box_sites_take_home_the_labels(world: World) -> None:
    """A model that only answers learns nothing itself: the accepted labels lie in the state directory."""
    world.open_round()
    for member in MEMBERS:
        with world.client(member, mechanism=HISTOGRAM, epsilon="6", model=OneAnswerModel("eye")) as client:
            client.join(ROUND).contribute(records=records(member, entities=600))
    with world.client("bay", mechanism=HISTOGRAM, epsilon="6", model=OneAnswerModel("eye")) as client:
        joined = client.join(ROUND)
        outcome = joined.learn(joined.wait_for_consensus())
        lines = (client.site.config.site.state / "labels" / f"{ROUND}.jsonl").read_text().splitlines()
    assert (outcome.kept, outcome.labels) == (None, 6)
    assert {row["prompt"]: row["label"] for row in map(json.loads, lines)} == TRUTH


@pytest.mark.parametrize("outputs", [[*TRUTH.values()], [0, 1, 2, 3, 0, 1], ["heart", 1, None, "eye", None, "lung"]])
def test_outputs_from_elsewhere_may_be_labels_or_indexes(world: World, outputs: list[Any]) -> None:
    """Either form is a vote, None abstains, and the log says who made them."""
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        assert client.join(ROUND).contribute(outputs).outcome is Outcome.ADMITTED
        released = [row.event for row in client.site.audit.entries(0, 99) if row.event.type == "bundle.released"]
        assert released[0].details["source"] == "caller"
        assert released[0].details["abstained"] == outputs.count(None)
        assert released[0].details["alike"] == 0


def test_the_log_counts_prompts_on_which_a_model_cannot_tell_candidates_apart(world: World) -> None:
    """The site votes on, but for no candidate that its model reads as another one."""

    class Shortsighted(TableModel):
        def alike(self, candidates: Sequence[str]) -> frozenset[int]:
            return frozenset({candidates.index("heart"), candidates.index("lung")})

    world.open_round()
    with world.client(mechanism=UNSAFE, model=Shortsighted(TRUTH)) as client:
        assert client.join(ROUND).contribute().outcome is Outcome.ADMITTED
        released = [row.event for row in client.site.audit.entries(0, 99) if row.event.type == "bundle.released"]
        unclear = sum(label in {"heart", "lung"} for label in TRUTH.values())
        assert (released[0].details["alike"], released[0].details["abstained"]) == (len(TRUTH), unclear)


@pytest.mark.parametrize("outputs", [["heart"] * 5, ["liver"] * 6, [4] * 6, [True] * 6, [1.5] * 6, [("a", 0, 0)] * 6])
def test_outputs_that_do_not_answer_the_round_are_refused(world: World, outputs: list[Any]) -> None:
    """SF104 before anything is asked or spent."""
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        with pytest.raises(ConfigurationError) as caught:
            client.join(ROUND).contribute(outputs)
        assert caught.value.code == "SF104"
        assert charges(client) == []


def test_each_step_may_be_taken_by_another_process_and_again(world: World) -> None:
    """Five openings of the site, each step twice: the same results, one charge, one bundle, one adapter."""
    world.open_round(min_clients=1)
    with world.client() as one:
        first = one.join(ROUND).train(records("bay"))
        assert one.join(ROUND).train([]) == first
    with world.client() as two:
        receipt = two.join(ROUND).contribute()
        assert two.join(ROUND).contribute() == receipt
    with world.client() as three, pytest.raises(ConsensusError) as waiting:
        three.join(ROUND).wait_for_consensus()
    assert (waiting.value.code, waiting.value.exit_code) == ("SF401", 15)
    world.federation.close_round(ROUND)
    with world.client() as four:
        found = four.join(ROUND).wait_for_consensus()
        assert four.join(ROUND).wait_for_consensus().consensus == found.consensus
        learned = four.join(ROUND).learn(found)
    with world.client() as five:
        assert five.join(ROUND).learn(five.join(ROUND).wait_for_consensus()) == learned
        seen = [event for event, _ in events(five)]
        assert [seen.count(name) for name in ("budget.reserved", "bundle.released", "adapter.kept")] == [1, 1, 1]


def test_collected_labels_need_no_server_any_more(world: World) -> None:
    """What was collected is verified again from the state directory; a changed file is SF531."""
    world.open_round(min_clients=1)
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        joined.contribute()
        world.federation.close_round(ROUND)
        found = joined.wait_for_consensus()
        silent = Altering(world.federation.transport(), consensus=lambda data: b"")
        joined._transport = silent
        assert joined.wait_for_consensus() == found
        path = client.site.config.site.state / "consensus" / f"{ROUND}.cose"
        path.write_bytes(flipped(path.read_bytes(), 50))
        with pytest.raises(IntegrityError) as caught:
            joined.wait_for_consensus()
        assert caught.value.code == "SF531"


def test_waiting_asks_until_the_time_is_over(world: World) -> None:
    """Pauses add up to the time-out, then SF401."""
    world.open_round()
    pauses: list[float] = []
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        joined._sleep = pauses.append
        with pytest.raises(ConsensusError):
            joined.wait_for_consensus(timeout_seconds=3.5)
    assert pauses == [1.0, 1.0, 1.0, 0.5]


def test_only_one_process_trains(world: World) -> None:
    """A second one is told to come back (exit 15), and the lock ends with its holder."""
    world.open_round()
    with world.client() as client:
        joined = client.join(ROUND)
        with _alone(client.site), pytest.raises(ConsensusError) as caught:
            joined.train(records("bay"))
        assert caught.value.code == "SF404"
        joined.train(records("bay"))


def test_steps_out_of_order_are_refused(world: World) -> None:
    """No training after the release, no learning before collecting: SF404, and nothing is charged."""
    world.open_round(min_clients=1)
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        joined.contribute()
        with pytest.raises(ConsensusError) as late:
            joined.train(records("bay"))
        assert (late.value.code, len(charges(client))) == ("SF404", 1)
        world.federation.close_round(ROUND)
        found = joined.wait_for_consensus()
    with world.client("hill", mechanism=UNSAFE) as other:
        uncollected = other.join(ROUND)
        with pytest.raises(ConsensusError) as early:
            uncollected.learn(found)
    assert early.value.code == "SF404"


def test_an_aborted_round_ends(world: World) -> None:
    """SF402 from the server: logged once, and no step follows any more."""
    world.open_round(min_clients=3)
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        joined.contribute()
        assert world.federation.close_round(ROUND) == "aborted"
        for code in ("SF402", "SF403"):
            with pytest.raises(ConsensusError) as caught:
                joined.wait_for_consensus()
            assert (caught.value.code, caught.value.exit_code) == (code, 15)
        assert joined.state is RoundState.ABORTED
        assert [event for event, _ in events(client)].count("round.aborted") == 1


def test_without_a_name_the_only_open_round_is_joined(world: World) -> None:
    """None is SF401, several are SF404, a finished one does not count; a name that is none is SF105."""
    with world.client(mechanism=UNSAFE) as client:
        with pytest.raises(ConsensusError) as none:
            client.join()
        world.open_round()
        assert client.join().round_id == ROUND
        assert client.unfinished() == (ROUND,)
        world.federation.coordinator.abort_round(ROUND, "test")
        assert client.join().round_id == ROUND
        world.open_round("round-1b")
        world.open_round("round-2")
        with pytest.raises(ConsensusError) as several:
            client.join()
        with pytest.raises(ConfigurationError) as nameless:
            client.join("../etc")
    assert (none.value.code, several.value.code, nameless.value.code) == ("SF401", "SF404", "SF105")
