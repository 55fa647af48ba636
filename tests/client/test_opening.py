"""Private records: no one reads them before the policy permits it and the log says so."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from semfed_secure.audit.wording import describe
from semfed_secure.client import training
from semfed_secure.client.records import iter_records
from semfed_secure.errors import BudgetExhausted, ConfigurationError, ConsensusError, PolicyDenied, SemfedError
from semfed_secure.llm.model import Record
from semfed_secure.privacy.budget import Budget
from semfed_secure.testing import TableModel
from semfed_secure.units import Period
from tests.client.world import HISTOGRAM, ROUND, TRUTH, World, charges, events, outbox, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from semfed_secure.client.session import Client

PRIVATE = tuple(Record(f"e{number}", f"phrase {number % 6} of a patient", "") for number in range(40))


class Spy:
    """A model that remembers the texts it was shown."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.seen: list[str] = []

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """No answer."""
        self.seen += prompts
        return [None] * len(prompts)

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """The first candidate."""
        self.seen += prompts
        return np.tile(-np.arange(len(candidates), dtype=np.float32), (len(prompts), 1))


@pytest.fixture
def world(world: World) -> World:
    """A federation with one open round of votes."""
    world.open_round()
    return world


def watched(client: Client, touched: list[list[tuple[str, str]]]) -> Iterator[Record]:
    """The private records; the first that is asked for notes what the log said by then."""
    touched.append(events(client))
    yield from PRIVATE


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ({"grants": {"actions": ["join", "release"]}}, "ACT-001"),
        ({"grants": {"actions": ["join", "open_dataset"]}}, "ACT-001"),
        ({"grants": {"mechanisms": ["dp_sgd"]}}, "DP-001"),
        ({"grants": {"kinds": ["text"]}}, "KIND-001"),
    ],
)
def test_a_policy_that_denies_leaves_the_records_unread(world: World, policy: Any, code: str) -> None:
    """Opening the data set and releasing must both be granted before a record, or the model, is asked."""
    spy, touched = Spy(), list[list[tuple[str, str]]]()
    with world.client(mechanism=HISTOGRAM, model=spy, policy=policy) as client:
        with pytest.raises(PolicyDenied) as caught:
            client.join(ROUND).contribute(records=watched(client, touched))
        assert code in {reason["code"] for reason in caught.value.fields["reasons"]}
        assert events(client)[-1] == ("decision", "denied")
        assert "dataset.opened" not in dict(events(client))
        assert (charges(client), outbox(client)) == ([], [])
    assert (spy.seen, touched) == ([], [])


def test_a_round_that_is_not_open_leaves_the_records_unread(world: World) -> None:
    """SF404 before anything is opened."""
    spy, touched = Spy(), list[list[tuple[str, str]]]()
    with world.client(mechanism=HISTOGRAM, model=spy) as client:
        joined = client.join(ROUND)
        world.clock.advance(600)
        with pytest.raises(ConsensusError) as caught:
            joined.contribute(records=watched(client, touched))
        assert caught.value.code == "SF404"
    assert (spy.seen, touched) == ([], [])


def test_a_dry_run_leaves_the_records_unread(world: World) -> None:
    """The full decision and the price, from what is declared alone; a denied opening is the decision."""
    spy, touched = Spy(), list[list[tuple[str, str]]]()
    with world.client(mechanism=HISTOGRAM, model=spy) as client:
        shown = client.join(ROUND).contribute(records=watched(client, touched), dry_run=True)
        assert (shown.decision.outcome, shown.epsilon_after > 0) == ("permit", True)
        assert "dataset.opened" not in dict(events(client))
    closed = {"grants": {"actions": ["join", "release"]}}
    with world.client("hill", mechanism=HISTOGRAM, model=spy, policy=closed) as client:
        shown = client.join(ROUND).contribute(records=watched(client, touched), dry_run=True)
        assert shown.decision.outcome == "deny"
    assert (spy.seen, touched) == ([], [])


def test_the_opening_is_decided_and_written_down_before_the_first_record(world: World) -> None:
    """Two permits and `dataset.opened` stand in the log when the first record is asked for."""
    spy, touched = Spy(), list[list[tuple[str, str]]]()
    with world.client(mechanism=HISTOGRAM, model=spy) as client:
        client.join(ROUND).contribute(records=watched(client, touched))
        (then,) = touched
        assert then[-3:] == [("decision", "success"), ("decision", "success"), ("dataset.opened", "success")]
        actions = [row.event.details.get("action") for row in client.site.audit.entries(len(then) - 3, len(then))]
        assert actions == ["open_dataset", "release", None]
        assert [kind for kind, _ in events(client)].count("dataset.opened") == 1
    assert set(spy.seen) == {record.prompt for record in PRIVATE}


def test_training_writes_the_opening_down_before_the_first_record(world: World) -> None:
    """`dataset.opened` stands in the log when the first record is asked for."""
    touched = list[list[tuple[str, str]]]()
    with world.client() as client:
        client.join(ROUND).train(watched(client, touched))
    assert touched[0][-1] == ("dataset.opened", "success")


class Breaking(TableModel):
    """A model whose training breaks, with what it saw in its words."""

    def fit_private(self, records: Sequence[Record], **rest: Any) -> None:
        """Break."""
        raise RuntimeError(records[0].prompt)


def test_a_training_that_breaks_has_a_closing_entry(world: World) -> None:
    """The entry names the kind of the error and nothing it said; the charge stands, and the run may start over."""
    with world.client(model=Breaking(TRUTH)) as client, pytest.raises(RuntimeError):
        client.join(ROUND).train(PRIVATE)
    with world.client() as client:
        last = client.site.audit.entries(0, 99)[-1].event
        assert (last.type, last.outcome, last.reason) == ("training.finished", "failed", "it ended in RuntimeError")
        assert "patient" not in last.model_dump_json()
        assert describe(last) == f"bay did not finish training on synthetic-bay in {ROUND}"
        assert [row.state for row in charges(client)] == ["reserved"]
        client.join(ROUND).train(records("bay"))
        assert events(client)[-1] == ("training.finished", "success")
        assert len(charges(client)) == 1


def test_records_that_are_none_end_the_training_in_an_entry(world: World, tmp_path: Path) -> None:
    """The opening stands, and after it why nothing was trained; nothing is charged."""
    path = tmp_path / "records.jsonl"
    path.write_text('{"entity_id": "p", "prompt": "q"}\n{"entity_id": "p"}\n')
    with world.client() as client:
        with pytest.raises(ConfigurationError, match="SF104"):
            client.join(ROUND).train(iter_records(path))
        assert events(client)[-2:] == [("dataset.opened", "success"), ("training.finished", "failed")]
        last = client.site.audit.entries(0, 99)[-1].event
        assert (last.codes, last.reason) == (("SF104",), "input data is not valid")
        assert charges(client) == []


def test_a_training_that_the_budget_refuses_ends_in_an_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied, not failed, with the code of the refusal."""
    monkeypatch.setattr(training, "budgets_for", lambda *_: (Budget(Period.LIFETIME, Decimal(1), Decimal("1e-6")),))
    with world.client() as client:
        with pytest.raises(BudgetExhausted):
            client.join(ROUND).train(records("bay"))
        assert events(client)[-2:] == [("budget.refused", "denied"), ("training.finished", "denied")]


def test_a_round_that_closes_while_the_records_vote_costs_nothing(world: World) -> None:
    """The model may be asked for long: SF404, and nothing is charged."""

    class Slow(Spy):
        def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
            world.clock.advance(600)
            return super().score(prompts, candidates)

    with world.client(mechanism=HISTOGRAM, model=Slow()) as client:
        with pytest.raises(ConsensusError) as caught:
            client.join(ROUND).contribute(records=PRIVATE)
        assert (caught.value.code, charges(client)) == ("SF404", [])


TWO_FORMS = (Record("a\ud800", "phrase 1", "lung"), Record("b", "phrase 2", "skin"))


@pytest.mark.parametrize("own", [(), records("bay")[:1], TWO_FORMS])
def test_records_without_two_well_named_entities_cost_nothing(world: World, own: tuple[Record, ...]) -> None:
    """SF142 before the budget is reserved."""
    with world.client(mechanism=HISTOGRAM) as client:
        with pytest.raises(ConfigurationError) as caught:
            client.join(ROUND).contribute(records=own)
        assert (caught.value.code, charges(client)) == ("SF142", [])


def test_ballots_of_an_entity_that_is_not_well_named_cost_nothing(world: World) -> None:
    """SF104 where a caller brings them."""
    with world.client(mechanism=HISTOGRAM) as client:
        with pytest.raises(ConfigurationError) as caught:
            client.join(ROUND).contribute([("a\ud800", 0, 1), ("b", 1, 1)])
        assert (caught.value.code, charges(client)) == ("SF104", [])


def test_without_audit_no_record_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `dataset.opened` cannot be written, the records stay closed."""
    touched = list[list[tuple[str, str]]]()
    with world.client(mechanism=HISTOGRAM) as client:
        joined, write = client.join(ROUND), client.site.audit.append

        def full(event: Any, *tx: Any) -> int:
            if event.type == "dataset.opened":
                raise SemfedError("SF502", "the disk is full")
            return write(event, *tx)

        monkeypatch.setattr(client.site.audit, "append", full)
        with pytest.raises(SemfedError, match="SF502"):
            joined.contribute(records=watched(client, touched))
    assert touched == []
