"""Private training and learning: decided, paid, checked, rolled back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.progress import RoundState
from semfed_secure.errors import BudgetExhausted, ConfigurationError, IntegrityError, PolicyDenied
from semfed_secure.testing import OneAnswerModel, TableModel
from tests.client.world import DP, MEMBERS, ROUND, TEXTS, TRUTH, UNSAFE, World, charges, events, records, taught

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from semfed_secure import Record


def test_training_is_paid_before_it_begins(world: World) -> None:
    """When the model sees the first record, the charge stands; a failing run keeps it and activates nothing."""
    world.open_round()
    seen: list[str] = []

    class Failing(TableModel):
        def fit_private(self, *_: Any, **__: Any) -> None:
            seen.extend(row.state for row in charges(client))
            raise RuntimeError("out of memory")

    with world.client(model=Failing()) as client:
        with pytest.raises(RuntimeError):
            client.join(ROUND).train(records("bay"))
        assert seen == ["reserved"]
        assert client.join(ROUND).state is RoundState.JOINED
    with world.client(model=TableModel()) as client:
        client.join(ROUND).train(records("bay"))
        assert [row.state for row in charges(client)] == ["committed"]


def test_records_are_not_touched_before_the_policy_permits(world: World) -> None:
    """A refused data set is not read: not one record is asked for, in a dry run neither."""
    world.open_round()

    def untouchable() -> Iterator[Record]:
        raise AssertionError("a record was read")
        yield

    with world.client(policy={"grants": {"actions": ["join", "train"]}}) as client:
        joined = client.join(ROUND)
        with pytest.raises(PolicyDenied):
            joined.train(untouchable())
        assert joined.train(untouchable(), dry_run=True).decision.codes == ("ACT-001",)
        assert charges(client) == []


def test_a_training_run_over_budget_is_refused(world: World) -> None:
    """Exit 10 or 11 with the figures; the adapter stays what it was."""
    world.open_round()
    world.open_round("round-2")
    with world.client(budget="5") as client:
        client.join(ROUND).train(records("bay"))
        with pytest.raises((PolicyDenied, BudgetExhausted)) as caught:
            client.join("round-2").train(records("bay"))
        assert caught.value.exit_code in {10, 11}
        assert len(charges(client)) == 1


def test_the_plan_never_costs_more_than_the_site_file_says(world: World) -> None:
    """The standalone epsilon is at most the configured one and close to it; the rate is of the public bound."""
    world.open_round()
    with world.client(population_bound=2000) as client:
        joined = client.join(ROUND)
        preview = joined.train([], dry_run=True)
        assert 3.9 < float(preview.epsilon_after) <= 4
        outcome = joined.train(records("bay"))
        assert outcome.epsilon_total == preview.epsilon_after
        assert '"sample_rate":"0.1"' in charges(client)[0].parameters


def test_one_run_without_noise_is_never_forgotten(world: World) -> None:
    """An adapter that saw records without noise cannot claim dp_sgd later, whatever is trained on top."""
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        client.join(ROUND).train(records("bay"))
    world.open_round("round-2")
    with world.client(mechanism=DP) as client:
        joined = client.join("round-2")
        for act in (joined.contribute, lambda: joined.train(records("bay"))):
            with pytest.raises(PolicyDenied):
                act()


def test_a_worse_adapter_is_rolled_back(world: World) -> None:
    """Labels that spoil the validation score: the old adapter stays active, the entry says so, the new one is gone."""
    world.open_round(min_clients=1)
    model = TableModel()
    with world.client("bay", model=model) as client:
        client.join(ROUND).train(records("bay"))
    with world.client("hill", mechanism=UNSAFE, model=OneAnswerModel("eye")) as liar:
        liar.join(ROUND).contribute()
    world.federation.close_round(ROUND)
    with world.client("bay", model=model) as client:
        joined = client.join(ROUND)
        outcome = joined.learn(joined.wait_for_consensus())
        assert (outcome.kept, outcome.score_before, outcome.score_after) == (False, 1.0, 0.25)
        assert events(client)[-1] == ("adapter.rolled_back", "success")
        client._engine.ready()
        assert model.answer(TEXTS, max_new_tokens=4) == list(TRUTH.values())
        assert not (client.site.config.site.state / "adapters" / f"{ROUND}-learned").exists()


def test_without_a_validation_set_nothing_is_learned(world: World) -> None:
    """SF101: an adapter is never kept unchecked."""
    world.open_round(min_clients=1)
    settings = dataclasses.replace(world.settings(UNSAFE), sections=None)
    with world.federation.client("bay", settings=settings, model=TableModel(TRUTH)) as client:
        joined = client.join(ROUND)
        joined.contribute()
        world.federation.close_round(ROUND)
        with pytest.raises(ConfigurationError, match="validation"):
            joined.learn(joined.wait_for_consensus())


def test_only_labels_with_the_policys_support_are_learned(world: World) -> None:
    """Two of three agree: enough for the round, too little for this site's policy."""
    world.open_round()
    models = (TableModel(TRUTH), TableModel(TRUTH), OneAnswerModel("eye"))
    for member, model in zip(MEMBERS, models, strict=True):
        with world.client(member, mechanism=UNSAFE, model=model) as client:
            client.join(ROUND).contribute()
    strict = {"limits": {"labels": {"min_support_ppm": 900_000}}}
    sections = {"policy": {"digest": _digest_of(world, strict)}, "validation": {"file": str(world.validation)}}
    with world.client("bay", mechanism=UNSAFE, policy=strict, sections=sections) as client:
        joined = client.join(ROUND)
        outcome = joined.learn(joined.wait_for_consensus())
        assert outcome.labels == list(TRUTH.values()).count("eye")
        accepted = [row.event for row in client.site.audit.entries(0, 99) if row.event.type == "labels.accepted"]
        assert accepted[0].details["refused"] == 6 - outcome.labels


def _digest_of(world: World, policy: dict[str, Any]) -> str:
    """The digest of the site's policy with these changes."""
    with pytest.raises(IntegrityError) as caught:
        world.client("bay", mechanism=UNSAFE, policy=policy)
    return str(caught.value.fields["observed"])


def test_learning_is_the_policys_decision(world: World) -> None:
    """Denied: exit 10, `labels.refused`, the adapter untouched."""
    world.open_round(min_clients=1)
    actions = ["open_dataset", "join", "train", "release"]
    with world.client(mechanism=UNSAFE, policy={"grants": {"actions": actions}}) as client:
        joined = client.join(ROUND)
        joined.contribute()
        world.federation.close_round(ROUND)
        with pytest.raises(PolicyDenied):
            joined.learn(joined.wait_for_consensus())
        assert events(client)[-1] == ("labels.refused", "denied")
        assert joined.state is RoundState.COLLECTED


def test_scores_are_written_and_decide_nothing(world: World, tmp_path: Path) -> None:
    """Base, local and consensus scores of the public evaluation set lie in the state directory, line by line."""
    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text("".join(json.dumps({"prompt": text, "answer": TRUTH[text]}) + "\n" for text in TEXTS))
    sections = {"validation": {"file": str(world.validation)}, "evaluation": {"file": str(heldout)}}
    world.open_round()
    for member in MEMBERS:
        with world.client(member, model=TableModel(), sections=sections) as client, client.join(ROUND) as r:
            r.train(taught(member))
            r.contribute()
    with world.client("bay", model=TableModel(), sections=sections) as client, client.join(ROUND) as r:
        r.learn(r.wait_for_consensus())
        scores = client.site.config.site.state / "scores"
        found = {path.name: json.loads(path.read_text()) for path in scores.iterdir()}
    assert found["base.json"]["score"] == 0
    assert found[f"{ROUND}.local.json"]["right"] == [False, False, True, True, True, True]
    assert found[f"{ROUND}.consensus.json"]["score"] == 1


def test_a_model_that_only_answers_is_scored_before_and_after_it_takes_labels_home(
    world: World, tmp_path: Path
) -> None:
    """Whoever keeps it may teach it what lies in the state directory: `base` is from before, `consensus` from after."""
    labels = world.federation.site("bay") / "state" / "labels"

    class Pupil(OneAnswerModel):
        def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
            lines = [line for file in labels.glob("*.jsonl") for line in file.read_text().splitlines()]
            known = {row["prompt"]: row["label"] for row in map(json.loads, lines)}
            return [known.get(prompt) for prompt in prompts]

    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text("".join(json.dumps({"prompt": text, "answer": TRUTH[text]}) + "\n" for text in TEXTS))
    world.open_round(min_clients=1)
    with world.client("hill", mechanism=UNSAFE) as teacher:
        teacher.join(ROUND).contribute()
    world.federation.close_round(ROUND)
    with world.client(mechanism=UNSAFE, model=Pupil(""), sections={"evaluation": {"file": str(heldout)}}) as client:
        joined = client.join(ROUND)
        for _ in range(2):
            outcome = joined.learn(joined.wait_for_consensus())
        assert (outcome.labels, outcome.kept) == (len(TEXTS), None)
        scores = client.site.config.site.state / "scores"
        found = {path.name: json.loads(path.read_text())["score"] for path in scores.iterdir()}
    assert found == {"base.json": 0.0, f"{ROUND}.consensus.json": 1.0}
