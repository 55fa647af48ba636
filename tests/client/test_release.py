"""The only door out of a site, step by step: each test bears the number of the step it proves."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.client import decisions, release, screening
from semfed_secure.client.outputs import Ballots, Outputs, Texts, Votes
from semfed_secure.client.progress import RoundState, state_of
from semfed_secure.client.release import (
    PermittedOutputs,
    ReleasedOutputs,
    deliver,
    finish,
    permit,
    preview,
    privatise,
)
from semfed_secure.errors import (
    BudgetExhausted,
    ConfigurationError,
    ConsensusError,
    IntegrityError,
    PeerError,
    PolicyDenied,
)
from semfed_secure.ids import RoundId, sha256
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import charge_by_key
from semfed_secure.testing import Altering, TransportWrapper, Unreachable, flipped
from semfed_secure.units import Mechanism
from semfed_secure.wire.messages import ABSTAIN, Outcome, commit
from tests.client.world import (
    CANDIDATES,
    PROMPTS,
    ROUND,
    TRUTH,
    VOTES,
    World,
    charges,
    draft,
    events,
    outbox,
    records,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.client.session import Client
    from semfed_secure.client.transport import Transport
    from semfed_secure.policy.facts import Facts

UNSAFE, HISTOGRAM = Mechanism.UNSAFE_NO_NOISE, Mechanism.RECORD_HISTOGRAM


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A federation with one open round of votes."""
    made = World(tmp_path)
    made.open_round()
    return made


@pytest.fixture
def unsafe(world: World) -> Iterator[Client]:
    """A site without noise, which pays for every release by itself."""
    with world.client(mechanism=UNSAFE) as client:
        yield client


@pytest.fixture
def histogram(world: World) -> Iterator[Client]:
    """A site whose records vote."""
    with world.client(mechanism=HISTOGRAM) as client:
        yield client


def through(world: World, client: Client, outputs: Outputs, name: str = ROUND) -> ReleasedOutputs:
    """Steps 1 to 6."""
    return privatise(permit(draft(world.joined(client, name), outputs, client), client.site), client.site)


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


# -- 3 ------------------------------------------------------------------------------------------------------


def test_step_3_a_text_with_a_finding_is_withheld() -> None:
    """It abstains, the others leave, and only the kind of the finding is logged."""
    drafted = Texts(("fine", "call 212-555-0187 or write to jo@example.com", None, "a\x00b", "x", "y"))
    screened = screening.screen(drafted, max_new_tokens=16)
    assert screened.outputs == Texts(("fine", None, None, "a b", "x", "y"))
    assert sum(screened.findings.values()) >= 1
    assert screened.withheld == 1
    assert "example" not in repr(screened.findings)


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
        ReleasedOutputs(None, (), (), None, None, object())  # type: ignore[arg-type]


# -- 5 ------------------------------------------------------------------------------------------------------


def test_step_5_an_exhausted_budget_refuses(world: World) -> None:
    """Exit 11 with what remains and what it costs, `budget.refused` in the log, nothing sent."""
    with world.client(mechanism=HISTOGRAM, epsilon="4", budget="5") as client:
        client.join(ROUND).contribute(records=records("bay"))
        world.open_round("round-2")
        transport = Unreachable(world.federation.transport(), losses=0)
    with world.client(mechanism=HISTOGRAM, epsilon="4", budget="5", transport=transport) as client:
        joined = client.join("round-2")
        drafted = draft(world.joined(client, "round-2"), Ballots((("a", 0, 0), ("b", 1, 1))), client)
        with pytest.raises(PolicyDenied):
            joined.contribute(records=records("bay"))
        charge = release.charge_of(drafted, client.site)
        with pytest.raises(BudgetExhausted) as caught:
            privatise(PermittedOutputs(drafted, drafted.outputs, charge, release._DOOR), client.site)
        assert caught.value.exit_code == 11
        assert {"remaining", "cost"} <= set(caught.value.fields)
        assert events(client)[-1] == ("budget.refused", "denied")
        assert (len(charges(client)), transport.posted) == (1, [])


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
    assert "e1" not in repr(released.votes)


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


# -- 7, 8, 9 ------------------------------------------------------------------------------------------------


def test_step_7_the_commitment_is_salted(world: World, unsafe: Client) -> None:
    """It opens to exactly these outputs, and twice the same outputs give different commitments."""
    first = finish(through(world, unsafe, Votes(VOTES)), unsafe.site)
    with world.client("hill", mechanism=UNSAFE) as other:
        second = finish(through(world, other, Votes(VOTES)), other.site)
    statement, payload, plaintext = world.opened(first.body)
    assert payload.votes == VOTES
    assert len(payload.salt) == 32
    assert commit(payload.salt, plaintext) == statement.commitment
    assert world.opened(second.body)[0].commitment != statement.commitment


def test_step_8_is_sealed_to_the_round_and_its_context(world: World, unsafe: Client) -> None:
    """The statement names manifest, round, nonce, prompt set and the server's key; the seal opens under no other."""
    row = finish(through(world, unsafe, Votes(VOTES)), unsafe.site)
    statement, _, _ = world.opened(row.body)
    manifest = world.joined(unsafe).manifest
    assert statement.manifest_digest == manifest.digest
    assert (statement.round_id, statement.nonce) == (manifest.round_id, manifest.nonce)
    assert statement.recipient_key_id == world.federation.context.opening_key.key_id
    assert bytes(VOTES) not in row.body


def test_step_9_the_signature_covers_the_ciphertext(world: World, unsafe: Client) -> None:
    """The statement carries the digest of what was sealed, the sender, and the site's policy and log."""
    row = finish(through(world, unsafe, Votes(VOTES)), unsafe.site)
    statement, _, _ = world.opened(row.body)
    sealed = release_sealed(row.body)
    assert statement.ciphertext_digests == (sha256(sealed),)
    assert (statement.sender, statement.policy_digest) == ("bay", unsafe.site.policy.digest)
    assert statement.log_checkpoint.startswith("bay.example/")


def release_sealed(body: bytes) -> bytes:
    """The sealed blob of a body."""
    from semfed_secure.wire.messages import parse_contribution

    return parse_contribution(body).sealed[0]


# -- 10 -----------------------------------------------------------------------------------------------------


def test_step_10_charge_entry_progress_and_bytes_are_one(world: World, histogram: Client) -> None:
    """After it: committed, logged, released, in the outbox."""
    row = finish(through(world, histogram, Ballots((("a", 0, 0), ("b", 1, 1)))), histogram.site)
    assert [charge.state for charge in charges(histogram)] == ["committed"]
    assert events(histogram)[-1] == ("bundle.released", "success")
    assert [item.body for item in outbox(histogram)] == [row.body]
    with histogram.site.database.snapshot() as tx:
        assert state_of(tx, ROUND) is RoundState.RELEASED


def test_step_10_no_audit_no_release(world: World, histogram: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the log cannot be written, neither bytes nor progress exist, and the charge is not committed."""
    released = through(world, histogram, Ballots((("a", 0, 0), ("b", 1, 1))))

    def full_disk(*_: object, **__: object) -> int:
        raise IntegrityError("SF502", "the disk is full")

    monkeypatch.setattr(AuditLog, "append", full_disk)
    with pytest.raises(IntegrityError) as caught:
        finish(released, histogram.site)
    assert caught.value.code == "SF502"
    assert outbox(histogram) == []
    assert [charge.state for charge in charges(histogram)] == ["reserved"]
    with histogram.site.database.snapshot() as tx:
        assert state_of(tx, ROUND) is RoundState.JOINED


def test_step_10_of_two_finished_bundles_one_is_forgotten(world: World, unsafe: Client) -> None:
    """Two processes finish the same round: both hold the bytes of the first."""
    first, second = through(world, unsafe, Votes(VOTES)), through(world, unsafe, Votes((3, *VOTES[1:])))
    assert finish(first, unsafe.site).body == finish(second, unsafe.site).body
    assert len(outbox(unsafe)) == 1


# -- 11 -----------------------------------------------------------------------------------------------------


class Watching(TransportWrapper):
    """Looks into the site's database, through a connection of its own, at the moment of the post."""

    def __init__(self, inner: Transport, path: Path) -> None:
        super().__init__(inner)
        self.path = path
        self.seen: list[str] = []

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        database = Database.open_read_only(self.path)
        with database.snapshot() as tx:
            charge = charge_by_key(tx, f"release:test-federation:{round_id}")
            self.seen.append("nothing" if charge is None else charge.state)
        database.close()
        return super().post(round_id, body)


def test_step_11_nothing_is_sent_before_the_commit(world: World) -> None:
    """When the bytes leave, another connection sees the charge committed."""
    path = world.federation.site("bay") / "state" / "site.db"
    transport = Watching(world.federation.transport(), path)
    with world.client(mechanism=HISTOGRAM, transport=transport) as client:
        client.join(ROUND).contribute(records=records("bay"))
    assert transport.seen == ["committed"]


def test_step_11_a_retry_sends_the_same_bytes(world: World) -> None:
    """The answer got lost twice: the third post carries the first one's bytes and gets its receipt."""
    transport = Unreachable(world.federation.transport(), losses=2)
    with world.client(mechanism=HISTOGRAM, transport=transport) as client:
        joined = client.join(ROUND)
        for _ in range(2):
            with pytest.raises(PeerError) as caught:
                joined.contribute(records=records("bay"))
            assert caught.value.retryable
        assert joined.contribute(records=records("bay")).outcome is Outcome.ADMITTED
        assert len(transport.posted) == 3
        assert len(set(transport.posted)) == 1
        assert len(charges(client)) == 1
        assert events(client).count(("bundle.released", "success")) == 1
        assert events(client).count(("bundle.sent", "success")) == 1


# -- 12 -----------------------------------------------------------------------------------------------------


def test_step_12_the_receipt_is_verified_kept_and_logged(world: World, unsafe: Client) -> None:
    """Its entry is in the server's log; asked again, it is read from the outbox and nothing is sent."""
    receipt = unsafe.join(ROUND).contribute()
    entry = unsafe.site.audit.entries(0, 100)[-1].event
    assert (entry.type, entry.peer_entry) == ("receipt.received", receipt.log_index)
    silent = Altering(world.federation.transport(), post=lambda data: b"")
    row = outbox(unsafe)[0]
    assert deliver(row, world.joined(unsafe), unsafe.site, silent) == receipt


@pytest.mark.parametrize(
    ("alterations", "code"),
    [
        ({"post": lambda data: flipped(data, -1)}, "SF326"),
        ({"post": lambda data: b""}, "SF326"),
        ({"log_entry": lambda data: flipped(data, 40)}, "SF326"),
    ],
)
def test_step_12_a_receipt_that_does_not_verify_is_refused(world: World, alterations: Any, code: str) -> None:
    """SF326 and an audit entry; an honest answer later is still taken."""
    transport = Altering(world.federation.transport(), **alterations)
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        with pytest.raises(PeerError) as caught:
            client.join(ROUND).contribute()
        assert caught.value.code == code
        assert events(client)[-1] == ("receipt.received", "failed")
    with world.client(mechanism=UNSAFE) as client:
        assert client.join(ROUND).contribute().outcome is Outcome.ADMITTED


def test_step_12_a_rejection_is_a_receipt_too(world: World) -> None:
    """The server refused the bundle with a code: verified, kept, logged as denied."""
    world.open_round("strict", max_epsilon="1", mechanisms=(Mechanism.DP_SGD,))
    with world.client(mechanism=UNSAFE) as client:
        receipt = client.join("strict").contribute()
        assert (receipt.outcome, receipt.code) == (Outcome.REJECTED, "SF310")
        assert events(client)[-1] == ("receipt.received", "denied")


def test_all_steps_are_announced_in_order(world: World) -> None:
    """One release passes every number once, in order."""
    steps: list[str] = []
    with world.client(mechanism=UNSAFE, on_step=steps.append) as client:
        client.join(ROUND).contribute()
    assert steps == [f"release {number}" for number in range(1, 13)]


def test_the_door_is_numbered_like_its_check_list() -> None:
    """Every number of the list at the top stands at a block of code and in the name of a test."""
    source = Path(release.__file__).read_text()
    tests = Path(__file__).read_text()
    for number in range(1, 13):
        assert f"\n{number:2}. " in source
        assert f"        # {number}. " in source or f"    # {number}. " in source
        assert f"def test_step_{number}_" in tests


def test_a_preview_after_the_release_costs_nothing_more(world: World, histogram: Client) -> None:
    """What stands in the ledger is not added again."""
    histogram.join(ROUND).contribute(records=records("bay"))
    shown = preview(draft(world.joined(histogram), Ballots((("a", 0, 0), ("b", 1, 1))), histogram), histogram.site)
    assert shown.epsilon_before == shown.epsilon_after
