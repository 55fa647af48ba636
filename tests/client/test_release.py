"""The only door out of a site, steps 1 to 6: each test bears the number of the step it proves."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.events import EventType
from semfed_secure.audit.people import names
from semfed_secure.audit.wording import describe
from semfed_secure.client import decisions, release, screening
from semfed_secure.client.outputs import Ballots, Outputs, Texts, Votes
from semfed_secure.client.release import PermittedOutputs, ReleasedOutputs, permit, preview, privatise
from semfed_secure.errors import (
    BudgetExhausted,
    ConfigurationError,
    ConsensusError,
    IntegrityError,
    PeerError,
    PolicyDenied,
)
from semfed_secure.ids import hex_digest
from semfed_secure.testing import Unreachable
from semfed_secure.units import Mechanism, OutputKind
from semfed_secure.wire.messages import ABSTAIN, Outcome
from tests.client.world import (
    CANDIDATES,
    HISTOGRAM,
    OPEN_PROMPTS,
    PROMPTS,
    ROUND,
    TRUTH,
    UNSAFE,
    VOTES,
    World,
    charges,
    draft,
    events,
    outbox,
    records,
    through,
)

if TYPE_CHECKING:
    from semfed_secure.client.session import Client
    from semfed_secure.policy.facts import Facts


@pytest.fixture
def world(world: World) -> World:
    """A federation with one open round of votes."""
    world.open_round()
    return world


# -- 1 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "code"), [(-1, "SF401"), (600, "SF404")])
def test_step_1_only_an_open_round_is_answered(world: World, unsafe: Client, seconds: int, code: str) -> None:
    """Before it opens and from its closing time on, nothing is drafted any further."""
    drafted = draft(world.joined(unsafe), Votes(VOTES), unsafe)
    world.clock.advance(seconds)
    with pytest.raises(ConsensusError) as caught:
        permit(drafted, unsafe.site)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "outputs",
    [
        Votes(VOTES[:5]),
        Votes((*VOTES, 0)),
        Votes((4, *VOTES[1:])),
        Votes((-2, *VOTES[1:])),
        Texts((None,) * 6),
        Ballots(()),
    ],
)
def test_step_1_outputs_answer_exactly_the_prompt_set(world: World, unsafe: Client, outputs: Outputs) -> None:
    """One possible vote per prompt, no more and no fewer, of the round's kind."""
    with pytest.raises(ConfigurationError) as caught:
        permit(draft(world.joined(unsafe), outputs, unsafe), unsafe.site)
    assert caught.value.code == "SF104"


def test_step_1_under_record_histogram_only_ballots_pass(world: World, histogram: Client) -> None:
    """A vote that did not go through the histogram has no protection."""
    with pytest.raises(ConfigurationError):
        permit(draft(world.joined(histogram), Votes(VOTES), histogram), histogram.site)


def test_step_1_a_round_with_more_cells_than_a_histogram_reserves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SF141 before anything is charged, logged as charged or read."""
    monkeypatch.setattr("semfed_secure.privacy.histogram.MAX_CELLS", 23)  # 6 prompts with 4 candidates have 24
    with world.client(mechanism=HISTOGRAM) as client:
        joined = client.join(ROUND)
        before = events(client)
        for outputs in ({"records": iter([None])}, {"outputs": [("a", 0, 0), ("b", 1, 1)]}):
            with pytest.raises(ConfigurationError) as caught:
                joined.contribute(**outputs)  # type: ignore[arg-type]
            assert caught.value.code == "SF141"
        assert (charges(client), outbox(client), events(client)) == ([], [], before)


# -- 2 ------------------------------------------------------------------------------------------------------


def test_step_2_facts_hold_no_content(world: World, unsafe: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a prompt nor an output is in what the policy is asked."""
    asked: list[Facts] = []
    decide = decisions.decide
    monkeypatch.setattr(decisions, "decide", lambda facts, *rest: asked.append(facts) or decide(facts, *rest))
    permit(draft(world.joined(unsafe), Votes(VOTES), unsafe), unsafe.site)
    (facts,) = [facts for facts in asked if facts.action == "release"]
    assert facts.release is not None
    assert facts.release.items == 6
    for secret in (*TRUTH, *TRUTH.values()):
        assert secret not in repr(facts)


@pytest.mark.parametrize("floor", [{"max_epsilon": "1"}, {"mechanisms": (Mechanism.DP_SGD,)}])
def test_step_2_nothing_is_paid_for_a_round_that_would_not_admit_it(world: World, floor: Any) -> None:
    """SF310 before any charge, and nothing is sent."""
    world.open_round("strict", **floor)
    transport = Unreachable(world.federation.transport(), losses=0)
    with world.client(mechanism=HISTOGRAM, transport=transport) as client:
        with pytest.raises(PeerError) as caught:
            client.join("strict").contribute(records=records("bay"))
        assert caught.value.code == "SF310"
        assert (charges(client), transport.posted) == ([], [])


# -- 3 ------------------------------------------------------------------------------------------------------


def test_step_3_a_text_with_a_finding_is_withheld() -> None:
    """It abstains, the others leave, and only the kind of the finding is logged."""
    drafted = Texts(("fine", "call 212-555-0187 or write to jo@example.com", None, "a\x00b", "x", "y"))
    screened = screening.screen(drafted, max_new_tokens=16)
    assert screened.outputs == Texts(("fine", None, None, "a b", "x", "y"))
    assert sum(screened.findings.values()) >= 1
    assert screened.withheld == 1
    assert "example" not in repr(screened.findings)
    assert (screened.texts, screened.detectors) == (5, ("identifiers",))


@pytest.mark.parametrize("outputs", [Votes(VOTES), Ballots((("a", 0, 0),))])
def test_step_3_no_detector_is_said_to_have_read_votes(outputs: Outputs) -> None:
    """There is no text in them: nothing is read, and nothing is claimed."""
    screened = screening.screen(outputs, max_new_tokens=16)
    assert (screened.texts, screened.detectors, screened.failed) == (0, (), False)


@pytest.mark.parametrize("dry_run", [False, True])
def test_step_3_the_log_says_what_was_read(world: World, dry_run: bool) -> None:
    """A policy that wants detectors is met by votes without any, and the entries say why; a question says it is one."""
    wanting = {"limits": {"release": {"votes": {"detectors": ["identifiers"]}}}}
    with world.client(mechanism=UNSAFE, policy=wanting) as client:
        client.join(ROUND).contribute(dry_run=dry_run)  # type: ignore[call-overload]
        found = {row.event.type: row.event for row in client.site.audit.entries(0, 99)}
        summary, decision = found[EventType.DETECTOR_SUMMARY], found[EventType.DECISION]
        assert (summary.details["scanned"], summary.details["detectors"]) == (0, [])
        assert summary.details["dry_run"] is dry_run
        assert "searched nothing for identifiers: its 6 outputs (votes) carry no text" in describe(summary)
        assert ("asked only" in describe(summary)) is dry_run
        assert decision.details["detectors"] == "none: there is no text to look at"
        assert decision.details["decision"] == "permit"


def test_step_3_the_log_says_how_many_texts_were_read(world: World) -> None:
    """Of six outputs, the five that are texts, by the detector that read them."""
    world.open_round("texts", OPEN_PROMPTS, kind=OutputKind.TEXT)
    with world.client(mechanism=UNSAFE) as client:
        client.join("texts").contribute(["fine", "well", None, "good", "so so", "better"])
        found = {row.event.type: row.event for row in client.site.audit.entries(0, 99)}
        assert "searched the 5 texts among its 6 outputs" in describe(found[EventType.DETECTOR_SUMMARY])
        assert found[EventType.DECISION].details["detectors"] == "identifiers"


def test_step_3_a_broken_detector_blocks(world: World, unsafe: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the detector raises, the policy denies."""

    def broken(text: str) -> Any:
        raise RuntimeError(text)

    monkeypatch.setattr(screening, "scan", broken)
    screened = screening.screen(Texts(("text",)), max_new_tokens=16)
    assert screened.failed
    monkeypatch.setattr(release, "screen", lambda outputs, **_: dataclasses.replace(screened, outputs=outputs))
    with pytest.raises(PolicyDenied) as caught:
        permit(draft(world.joined(unsafe), Votes(VOTES), unsafe), unsafe.site)
    assert [reason["code"] for reason in caught.value.fields["reasons"]] == ["DET-002"]
    assert ("detector.summary", "failed") in events(unsafe)


# -- 4 ------------------------------------------------------------------------------------------------------


def test_step_4_a_denial_names_every_reason_and_is_logged(world: World) -> None:
    """Exit 10, all reasons, an audit entry, nothing spent, nothing written, nothing sent."""
    forbidding = {"grants": {"kinds": ["text"], "mechanisms": ["dp_sgd"]}}
    transport = Unreachable(world.federation.transport(), losses=0)
    with world.client(mechanism=UNSAFE, policy=forbidding, transport=transport) as client:
        with pytest.raises(PolicyDenied) as caught:
            client.join(ROUND).contribute()
        assert {reason["code"] for reason in caught.value.fields["reasons"]} == {"KIND-001", "DP-001"}
        assert caught.value.exit_code == 10
        assert events(client)[-1] == ("decision", "denied")
        assert (charges(client), outbox(client), transport.posted) == ([], [], [])


def test_step_4_the_log_names_who_approved(world: World) -> None:
    """Text that left under an approval leaves a decision that says whose it was, and in which role."""
    approval = {
        "act": "release_text",
        "role": "privacy_officer",
        "approver": "Sam Rivera",
        "until": "2026-12-31T00:00:00Z",
        "prompts": hex_digest(OPEN_PROMPTS.digest),
    }
    policy = {"limits": {"approvals": {"release_text": {"privacy_officer": 1}}}, "grants": {"approvals": [approval]}}
    world.open_round("texts", OPEN_PROMPTS, kind=OutputKind.TEXT)
    with world.client(mechanism=UNSAFE, policy=policy) as client:
        client.join("texts").contribute(["fine"] * 6)
        found = [row.event for row in client.site.audit.entries(0, 99) if row.event.details.get("approvals")]
        with client.site.database.snapshot() as tx:
            ((person, name),) = names(tx).items()
        assert name == "Sam Rivera"
        assert [(event.details["action"], event.details["approvals"]) for event in found] == [
            ("release", [f"{person} as privacy_officer"])
        ]


def test_step_4_a_dry_run_gives_the_full_decision_and_spends_nothing(world: World, histogram: Client) -> None:
    """The same decision, the price, and a log entry that says it was dry."""
    with histogram.join(ROUND) as joined:
        shown = joined.contribute(records=records("bay"), dry_run=True)
        assert shown.decision.outcome == "permit"
        assert shown.epsilon_before == 0
        assert 0 < shown.epsilon_after <= Decimal(4)
        assert (charges(histogram), outbox(histogram)) == ([], [])
        entry = histogram.site.audit.entries(0, 100)[-1].event
        assert entry.details["dry_run"] is True
        assert joined.contribute(records=records("bay")).outcome is Outcome.ADMITTED


def test_step_4_cannot_be_walked_around() -> None:
    """Nobody but the door's own steps makes permitted or released outputs."""
    with pytest.raises(TypeError):
        PermittedOutputs(None, None, None, object())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        ReleasedOutputs(None, (), (), False, 0, None, None, object())  # type: ignore[arg-type]


# -- 5 ------------------------------------------------------------------------------------------------------


def test_step_5_an_exhausted_budget_refuses(world: World) -> None:
    """Exit 11 with what remains and what it costs, `budget.refused` in the log, nothing sent."""
    budgets = [
        {"period": "lifetime", "epsilon": "8", "delta": "1e-6"},
        {"period": "month", "epsilon": "5", "delta": "1e-6"},
    ]
    dataset = {"id": "synthetic-bay", "population": "people-of-bay", "classification": "synthetic", "budgets": budgets}
    policy = {"grants": {"datasets": [dataset]}}
    transport = Unreachable(world.federation.transport(), losses=0)
    with world.client(mechanism=HISTOGRAM, epsilon="4", policy=policy, transport=transport) as client:
        client.join(ROUND).contribute(records=records("bay"))
        world.open_round("round-2")
        with pytest.raises(BudgetExhausted) as caught:
            client.join("round-2").contribute(records=records("bay"))
        assert (caught.value.code, caught.value.exit_code) == ("SF202", 11)
        assert {"remaining", "cost"} <= set(caught.value.fields)
        assert events(client)[-1] == ("budget.refused", "denied")
        assert (len(charges(client)), len(transport.posted)) == (1, 1)


def test_step_5_the_same_release_is_paid_once(world: World, histogram: Client) -> None:
    """However often it is tried, one round is one charge."""
    for _ in range(3):
        through(world, histogram, Ballots((("a", 0, 0), ("b", 1, 1))))
    (row,) = charges(histogram)
    assert (row.state, row.mechanism) == ("reserved", "record_histogram")


def test_step_5_under_dp_sgd_the_training_charge_must_stand(world: World) -> None:
    """An adapter whose run the ledger does not know is not released from: SF511."""
    with world.client() as client:
        joined = client.join(ROUND)
        joined.train(records("bay"))
        drafted = draft(world.joined(client), Votes(VOTES), client)
        assert drafted.adapter is not None
        forged = dataclasses.replace(drafted.adapter, charges=("train:elsewhere",))
        permitted = permit(dataclasses.replace(drafted, adapter=forged), client.site)
        with pytest.raises(IntegrityError) as caught:
            privatise(permitted, client.site)
        assert caught.value.code == "SF511"


def test_step_5_under_dp_sgd_an_untrained_model_is_refused(world: World) -> None:
    """Outputs of a model that no charged run trained cannot claim dp_sgd, wherever they come from."""
    with world.client() as client:
        for outputs in (None, list(VOTES)):
            with pytest.raises(PolicyDenied) as caught:
                client.join(ROUND).contribute(outputs)
            assert "DP-006" in {reason["code"] for reason in caught.value.fields["reasons"]}


# -- 6 ------------------------------------------------------------------------------------------------------


def test_step_6_ballots_leave_only_as_a_noised_histogram(world: World, histogram: Client) -> None:
    """With noise far above the ballots hardly any prompt speaks; clear majorities do; no entity is in the outputs."""
    clear = tuple((f"e{n}", n % 6, VOTES[n % 6]) for n in range(600))
    released = through(world, histogram, Ballots(clear))
    assert released.votes == VOTES
    assert released.privacy.parameters.keys() == {"sigma"}


def test_step_6_cells_beyond_a_prompts_candidates_never_win(world: World) -> None:
    """Prompts with fewer candidates than others get a vote of their own or none."""
    narrow = dataclasses.replace(
        PROMPTS,
        prompts=tuple(dataclasses.replace(prompt, candidates=CANDIDATES[:2]) for prompt in PROMPTS.prompts[:3])
        + PROMPTS.prompts[3:],
    )
    with world.client(mechanism=HISTOGRAM, epsilon="0.05") as client:
        round_ = dataclasses.replace(world.joined(client), prompts=narrow)
        for _ in range(30):
            votes = release.noised(Ballots((("a", 0, 0), ("b", 1, 1))), round_, client.site).indexes
            assert all(ABSTAIN <= vote < 2 for vote in votes[:3])


def test_step_6_declares_the_lifetime_total(world: World) -> None:
    """The statement's epsilon is what the ledger has for the population, by the enforcing accountant."""
    with world.client() as client:
        outcome = client.join(ROUND).train(records("bay"))
        released = through(world, client, Votes(VOTES))
        assert released.privacy.epsilon == outcome.epsilon_total
        assert set(released.privacy.parameters) == {"noise_multiplier", "sample_rate", "steps"}


def test_a_preview_after_the_release_costs_nothing_more(world: World, histogram: Client) -> None:
    """What stands in the ledger is not added again."""
    histogram.join(ROUND).contribute(records=records("bay"))
    shown = preview(draft(world.joined(histogram), Ballots((("a", 0, 0), ("b", 1, 1))), histogram), histogram.site)
    assert shown.epsilon_before == shown.epsilon_after
