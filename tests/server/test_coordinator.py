"""The coordinator: idempotent, crash-safe, and never stopped by one bad bundle."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from semfed_secure.audit.notes import verify_checkpoint
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import ConfigurationError, ConsensusError, IntegrityError, PeerError
from semfed_secure.identity.records import Role
from semfed_secure.ids import RoundId, sha256
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.forming import batch_root
from semfed_secure.server.round import RoundInput, RoundState
from semfed_secure.storage import Database, log_rows
from semfed_secure.units import OutputKind
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import parse_signed
from semfed_secure.wire.messages import (
    CONSENSUS_LIMITS,
    MANIFEST_LIMITS,
    RECEIPT_LIMITS,
    Consensus,
    Embedder,
    MessageType,
    PromptStatus,
    Receipt,
    parse_consensus,
    parse_contribution,
    parse_manifest,
    parse_receipt,
    parse_statement,
)
from semfed_secure.wire.prompts import PromptSet
from tests.server.world import (
    FEDERATION,
    NOW,
    PLURALITY,
    PROMPTS,
    SEMANTIC,
    SITES,
    WordEmbedder,
    World,
    answers,
    member,
    post,
    roster_file,
    votes,
)

if TYPE_CHECKING:
    from pathlib import Path

ROUND = RoundId("round-1")
HUB = member("hub", Role.SERVER).keys


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh server."""
    return World(tmp_path)


def receipt_of(data: bytes) -> Receipt:
    """A verified receipt."""
    return parse_receipt(verify(MessageType.RECEIPT, data, [HUB.signing.public], limits=RECEIPT_LIMITS).payload)


def consensus_of(world: World, round_id: RoundId = ROUND) -> Consensus:
    """The verified consensus of a published round."""
    data = world.server.consensus(round_id)
    return parse_consensus(verify(MessageType.CONSENSUS, data, [HUB.signing.public], limits=CONSENSUS_LIMITS).payload)


def digest_of(body: bytes) -> bytes:
    """The statement digest of a contribution."""
    signed = parse_signed(parse_contribution(body).statement, limits=Limits(max_bytes=1 << 20))
    return parse_statement(signed.payload).digest


def contribute(world: World, names: Any = SITES, **changes: Any) -> None:
    """Honest contributions of the named sites."""
    manifest = world.server.store.terms(ROUND).manifest
    for name in names:
        assert world.server.receive(ROUND, post(name, manifest, **changes)).admitted


def test_a_votes_round_runs_from_manifest_to_consensus(world: World) -> None:
    """Five sites, four honest: the honest label agrees, and the consensus commits to all five statements."""
    manifest = world.open()
    bodies = [post(name, manifest) for name in SITES[:4]] + [post("north", manifest, votes(3, 3, 3, 0, 3, 3))]
    for body in bodies:
        assert world.server.receive(ROUND, body).admitted
    world.server.advance()
    consensus = consensus_of(world)
    assert [result.label for result in consensus.results] == ["heart", "lung", "skin", "eye", "heart", "lung"]
    assert {result.status for result in consensus.results} == {PromptStatus.AGREED}
    assert {result.support_ppm for result in consensus.results} == {800_000}
    assert consensus.admitted_count == 5
    assert consensus.batch_root == batch_root([digest_of(body) for body in bodies])
    assert consensus.manifest_digest == manifest.digest
    expected = ["round.opened", *["bundle.admitted"] * 5, "round.closed", "consensus.published"]
    assert world.events() == expected


def test_a_round_runs_on_every_database(tmp_path: Path, database_url: str) -> None:
    """SQLite and PostgreSQL: the same round, a replay, an equivocation, a restart in the middle."""
    world = World(tmp_path, url=database_url)
    manifest = world.open()
    body = post("bay", manifest)
    first = world.server.receive(ROUND, body)
    world.restart()
    assert world.server.receive(ROUND, body) == first
    assert not world.server.receive(ROUND, post("bay", manifest, votes(3, 3, 3, 3, 3, 3))).admitted
    contribute(world, SITES[1:])
    world.server.advance()
    assert consensus_of(world).admitted_count == 5
    assert world.events()[-2:] == ["round.closed", "consensus.published"]
    world.database.close()


def test_a_text_round_releases_an_answer_that_an_honest_site_gave(world: World) -> None:
    """The server embeds the texts itself; guards part a negation from what it negates."""
    manifest = world.open(kind=OutputKind.TEXT)
    rows = {
        "bay": ("asthma", "hip fracture", "gout"),
        "hill": ("asthma attack", "hip fracture left", "rash"),
        "lake": ("asthma bronchial", "hip fracture", "burn"),
        "moor": ("poison text", "hip without fracture", None),
        "north": ("asthma", None, None),
    }
    for name, texts in rows.items():
        assert world.server.receive(ROUND, post(name, manifest, answers(*texts, None, None, None))).admitted
    world.server.advance()
    first, second, third, *rest = consensus_of(world).results
    assert first.label in {"asthma", "asthma attack", "asthma bronchial"}
    assert first.support_ppm == 800_000
    assert second.label in {"hip fracture", "hip fracture left"}
    assert second.support_ppm == 750_000
    assert (third.status, third.label) == (PromptStatus.CONTESTED, None)
    assert {result.status for result in rest} == {PromptStatus.TOO_FEW}


def test_a_receipt_proves_its_entry_in_the_log(world: World) -> None:
    """The inclusion proof leads from the very entry to the checkpoint that the log's own key signed."""
    manifest = world.open()
    body = post("bay", manifest)
    receipt = receipt_of(world.server.receive(ROUND, body).receipt)
    tree = verify_checkpoint(receipt.log_checkpoint, HUB.log.public).checkpoint
    with world.database.snapshot() as tx:
        (entry,) = log_rows.read_entries(tx, receipt.log_index, receipt.log_index + 1)
    assert entry.body.count(digest_of(body).hex().encode()) == 1
    verify_inclusion(
        leaf_hash(entry.body), index=receipt.log_index, size=tree.size, proof=receipt.inclusion_proof, root=tree.root
    )


def test_the_log_of_the_consensus_extends_that_of_the_manifest(world: World) -> None:
    """A client that kept the manifest's checkpoint can demand this proof."""
    manifest = world.open()
    contribute(world)
    world.server.advance()
    old, new = (
        verify_checkpoint(text, HUB.log.public).checkpoint
        for text in (manifest.log_checkpoint, consensus_of(world).log_checkpoint)
    )
    proof = world.audit.consistency_proof(old.size, new.size)
    verify_consistency(old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof)


# -- replays and equivocation ---------------------------------------------------------------------------


def test_a_replay_gets_its_stored_receipt_and_no_second_entry(world: World) -> None:
    """The same bytes again, before and after a restart, during and after the round: the same receipt."""
    body = post("bay", world.open())
    first = world.server.receive(ROUND, body)
    entries = world.audit.size()
    assert world.server.receive(ROUND, body) == first
    world.restart()
    assert world.server.receive(ROUND, body) == first
    world.clock.advance(3600)
    assert world.server.receive(ROUND, body) == first
    assert world.audit.size() == entries


def test_a_rejected_statement_gets_its_stored_receipt_too(world: World) -> None:
    """A refusal is as durable as an admission."""
    body = post("bay", world.open(), votes(9, 9, 9, 9, 9, 9))
    first = world.server.receive(ROUND, body)
    assert receipt_of(first.receipt).code == "SF314"
    world.restart()
    assert world.server.receive(ROUND, body) == first


@pytest.mark.parametrize("restart", [False, True])
def test_equivocation_is_refused_and_logged_also_after_a_restart(world: World, *, restart: bool) -> None:
    """A second, different contribution of an admitted member is refused; the first still counts."""
    manifest = world.open()
    contribute(world)
    if restart:
        world.restart()
    answer = world.server.receive(ROUND, post("bay", manifest, votes(3, 3, 3, 3, 3, 3)))
    assert not answer.admitted
    assert receipt_of(answer.receipt).code == "SF309"
    assert world.events()[-1] == "bundle.rejected"
    world.server.advance()
    assert [result.support_ppm for result in consensus_of(world).results] == [1_000_000] * 6
    assert consensus_of(world).rejections == (("SF309", 1),)


def test_two_contributions_of_one_member_at_once_admit_exactly_one(world: World) -> None:
    """Between the check and the write there is no gap for a second thread."""
    manifest = world.open()
    bodies = [post("bay", manifest, votes(n % 4, 0, 0, 0, 0, 0)) for n in range(4)]
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda body=body: found.append(world.server.receive(ROUND, body).admitted))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]
    assert world.events().count("bundle.admitted") == 1


def test_a_failed_contribution_does_not_burn_the_slot(world: World) -> None:
    """After a refusal at step 11 or later, the corrected contribution is admitted."""
    manifest = world.open()
    for defect in ({"plaintext": b"\xf6"}, {"digests": (sha256(b"other"),)}, {"payload": votes(1)}):
        assert not world.server.receive(ROUND, post("bay", manifest, **defect)).admitted
    assert world.server.receive(ROUND, post("bay", manifest)).admitted


def test_a_member_cannot_flood_the_log_with_refusals(tmp_path: Path) -> None:
    """After so many refused contributions of one member in one round, further ones are only counted."""
    world = World(tmp_path, limits=LimitsSection(max_rejections=2))
    manifest = world.open()
    for sequence in (1, 2):
        assert not world.server.receive(ROUND, post("bay", manifest, votes(9), sequence=sequence)).admitted
    entries = world.audit.size()
    with pytest.raises(PeerError, match="SF309"):
        world.server.receive(ROUND, post("bay", manifest, votes(9), sequence=3))
    assert world.audit.size() == entries
    assert world.server.receive(ROUND, post("hill", manifest)).admitted


# -- refusals before the signatures ---------------------------------------------------------------------


def test_refusals_before_the_signatures_are_counted_and_logged_once(world: World) -> None:
    """A hundred bad bodies leave one entry, with their sum by code."""
    manifest = world.open()
    for _ in range(100):
        with pytest.raises(PeerError):
            world.server.receive(ROUND, b"garbage")
    with pytest.raises(PeerError):
        world.server.receive(ROUND, post("stranger", manifest))
    entries = world.audit.size()
    assert entries == 1
    world.clock.advance(61)
    world.server.advance()
    (entry,) = world.audit.entries(entries, entries + 9)
    assert entry.event.type == "peer.refused"
    assert entry.event.details["by_code"] == {"SF302": 100, "SF306": 1}
    assert world.server.refusals.total() == {"SF302": 100, "SF306": 1}


def test_refusals_for_unknown_rounds_take_no_memory_per_name(world: World) -> None:
    """Whatever names strangers invent, they share one counter."""
    for number in range(50):
        with pytest.raises(PeerError, match="SF302"):
            world.server.receive(RoundId(f"no-round-{number}"), b"garbage")
    world.server.write_refusals()
    assert world.events() == ["peer.refused"]


# -- one bad bundle, one bad round ----------------------------------------------------------------------


def test_one_bad_bundle_never_stops_a_round(world: World) -> None:
    """A broken one, a late one and a silent one: the rest reach their consensus."""
    manifest = world.open()
    contribute(world, SITES[:3])
    assert not world.server.receive(ROUND, post("moor", manifest, plaintext=b"\0")).admitted
    world.clock.advance(601)
    with pytest.raises(PeerError, match="SF304"):
        world.server.receive(ROUND, post("north", manifest))
    world.server.advance()
    consensus = consensus_of(world)
    assert (consensus.admitted_count, consensus.rejections) == (3, (("SF314", 1),))


def test_too_few_contributions_abort_the_round(world: World) -> None:
    """A consensus of two is none where the rule asks for three; the reason is public, in the log and in the status."""
    world.open()
    contribute(world, SITES[:2])
    world.clock.advance(601)
    world.server.advance()
    with pytest.raises(ConsensusError, match="SF402"):
        world.server.consensus(ROUND)
    assert world.events()[-2:] == ["round.closed", "round.aborted"]
    assert world.server.status(ROUND)["reason"] == "SF402 3 admitted contributions were expected, found 2"


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), IntegrityError("SF521", "wrong weights")])
def test_a_round_that_cannot_be_formed_is_aborted_and_stops_no_other(tmp_path: Path, fault: Exception) -> None:
    """An embedder that always fails costs its own round, after a few tries."""

    class Broken(WordEmbedder):
        def embed(self, texts: Any) -> Any:
            raise fault

    world = World(tmp_path, embedder=Broken)
    manifest = world.open("text-round", kind=OutputKind.TEXT)
    for name in SITES:
        world.server.receive(manifest.round_id, post(name, manifest, answers(*["heart"] * 6)))
    world.open()
    contribute(world)
    for _ in range(3):
        world.server.advance()
        world.clock.advance(60)
    assert world.state("text-round") == "aborted"
    assert consensus_of(world).admitted_count == 5


def test_an_embedder_that_is_not_the_pinned_one_forms_nothing(world: World) -> None:
    """The manifest names the weights; other weights are not used."""
    other = Embedder("words", sha256(b"other weights"), 64)
    manifest = world.open(kind=OutputKind.TEXT, embedder=other)
    for name in SITES:
        world.server.receive(ROUND, post(name, manifest, answers(*["heart"] * 6)))
    for _ in range(3):
        world.server.advance()
        world.clock.advance(60)
    assert "SF521" in str(world.server.status(ROUND)["reason"])


# -- time and membership --------------------------------------------------------------------------------


def test_a_round_closes_at_its_time_or_when_everybody_has_answered(world: World) -> None:
    """Four of five wait for the clock; the fifth ends the waiting."""
    world.open()
    contribute(world, SITES[:4])
    world.server.advance()
    assert world.state() == "collecting"
    contribute(world, SITES[4:])
    world.server.advance()
    assert world.state() == "published"


def test_waiting_for_the_clock_can_be_asked_for(tmp_path: Path) -> None:
    """With ``close_when_complete`` off, a complete round waits."""
    world = World(tmp_path, close_when_complete=False)
    world.open()
    contribute(world)
    world.server.advance()
    assert world.state() == "collecting"
    world.clock.advance(600)
    world.server.advance()
    assert world.state() == "published"


def test_an_announced_round_takes_contributions_from_its_opening_time_on(world: World) -> None:
    """Not a second before, and without waiting for the next turn."""
    manifest = world.open(opens_at=NOW + timedelta(seconds=5), closes_at=NOW + timedelta(seconds=60))
    assert world.state() == "announced"
    with pytest.raises(PeerError, match="SF304"):
        world.server.receive(ROUND, post("bay", manifest))
    world.clock.advance(5)
    assert world.server.receive(ROUND, post("bay", manifest)).admitted


def test_nobody_waits_for_a_revoked_member_and_nothing_of_it_counts(world: World) -> None:
    """A member revoked after it was admitted is left out of the consensus."""
    world.open()
    contribute(world, SITES[:4])
    world.publish_roster(roster_file(sequence=2, revoked=["bay", "north"]))
    world.server.advance()
    consensus = consensus_of(world)
    assert consensus.admitted_count == 3
    assert [client["member"] for client in world.server.status(ROUND)["report"]["clients"]] == ["hill", "lake", "moor"]


def test_a_revocation_after_forming_forms_the_consensus_anew(world: World) -> None:
    """Whoever is revoked before the publication is not in what is published."""
    world.open()
    contribute(world)
    transitions = world.server._transitions
    for happening in (RoundInput.CLOSE, RoundInput.FORM):
        transitions.take(ROUND, RoundState(world.state()), happening)
    assert world.state() == "consensus"
    world.publish_roster(roster_file(sequence=2, revoked=["moor"]))
    moves = [state for _, state in world.server.advance()]
    assert moves == ["closed", "consensus", "published"]
    assert consensus_of(world).admitted_count == 4


def test_a_roster_that_is_older_or_forged_changes_nothing(world: World) -> None:
    """The last good roster stands, over restarts too, and the keeper says why."""
    keeper = world.context.rosters
    world.publish_roster(roster_file(sequence=5))
    assert keeper.current().sequence == 5
    world.publish_roster(roster_file(sequence=4))
    assert (keeper.current().sequence, keeper.problem) == (5, "SF322")
    forged = bytearray(roster_file(sequence=6))
    forged[len(forged) // 2] ^= 1
    world.publish_roster(bytes(forged))
    assert (keeper.current().sequence, keeper.problem) == (5, "SF322")
    world.publish_roster(roster_file(sequence=4))
    with pytest.raises(PeerError, match="SF322"):
        world.restart()


def test_rounds_wait_for_a_roster_in_force(world: World) -> None:
    """A roster that expires costs no round: the next one takes it up where it stood."""
    world.open()
    contribute(world, SITES[:3])
    world.clock.advance(200 * 86_400)
    for _ in range(5):
        with pytest.raises(PeerError, match="SF322"):
            world.server.advance()
        world.clock.advance(60)
    world.publish_roster(roster_file(sequence=2, issued_at=world.clock.now()))
    world.server.advance()
    assert consensus_of(world).admitted_count == 3


def test_a_round_in_trouble_is_tried_again_later_not_at_once(tmp_path: Path) -> None:
    """A passing fault costs ten seconds, not the round."""
    calls: list[int] = []

    class Flaky(WordEmbedder):
        def embed(self, texts: Any) -> Any:
            calls.append(1)
            if len(calls) == 1:
                raise RuntimeError("a passing fault")
            return super().embed(texts)

    world = World(tmp_path, embedder=Flaky)
    manifest = world.open(kind=OutputKind.TEXT)
    for name in SITES:
        world.server.receive(ROUND, post(name, manifest, answers(*["heart"] * 6)))
    for _ in range(5):
        world.server.advance()
    assert (len(calls), world.state()) == (1, "closed")
    world.clock.advance(10)
    world.server.advance()
    assert (len(calls), world.state()) == (2, "published")


def test_an_expired_roster_opens_no_round(world: World) -> None:
    """Without a roster in force nobody is anybody."""
    world.clock.advance(200 * 86_400)
    with pytest.raises(PeerError, match="SF322"):
        world.open()


def test_a_running_round_keeps_its_pinned_roster_over_a_restart(world: World) -> None:
    """A site that a newer roster leaves out without revoking may finish the round that it began."""
    manifest = world.open()
    world.publish_roster(roster_file(SITES[:4], sequence=2))
    world.restart()
    assert world.server.receive(ROUND, post("north", manifest)).admitted


# -- opening --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rule": SEMANTIC}, "SF105"),
        ({"kind": OutputKind.EMBEDDING}, "SF105"),
        ({"round_id": RoundId("Round 1")}, "SF105"),
        ({"closes_at": NOW}, "SF105"),
        ({"kind": OutputKind.TEXT, "embedder": None}, "SF105"),
    ],
    ids=["rule-of-another-kind", "vectors-from-clients", "bad-name", "no-time", "text-without-embedder"],
)
def test_a_round_that_cannot_be_held_is_not_opened(world: World, changes: dict[str, Any], code: str) -> None:
    """It is refused before anything is signed, stored or logged."""
    with pytest.raises(ConfigurationError, match=code):
        world.open(**changes)
    assert world.events() == []


def test_votes_need_candidates(world: World) -> None:
    """A prompt without candidates cannot be voted on."""
    bare = PromptSet("bare", tuple(replace(prompt, candidates=()) for prompt in PROMPTS.prompts))
    plan_of = world.server.open_round
    world.server.open_round = lambda plan, _prompts: plan_of(plan, bare)  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="SF104"):
        world.open()


def test_round_ids_are_unique_and_open_rounds_limited(tmp_path: Path) -> None:
    """The second round of a name, and one more than allowed, are refused; finished ones do not count."""
    world = World(tmp_path, limits=LimitsSection(max_open_rounds=2))
    world.open("first")
    with pytest.raises(ConfigurationError, match="taken"):
        world.open("first")
    world.open("second")
    with pytest.raises(ConfigurationError, match="at most 2"):
        world.open("third")
    world.server.abort_round(RoundId("first"), "a test")
    world.open("third")


def test_each_manifest_names_the_consensus_before_it(world: World) -> None:
    """Rounds form a chain."""
    assert world.open().previous_consensus_digest is None
    contribute(world)
    world.server.advance()
    assert world.open("round-2").previous_consensus_digest == consensus_of(world).digest


def test_manifests_are_signed_and_stored_as_signed(world: World) -> None:
    """What is handed out verifies under the server's key and says what was opened."""
    manifest = world.open()
    stored = world.server.store.terms(ROUND).manifest_bytes
    verified = verify(MessageType.MANIFEST, stored, [HUB.signing.public], limits=MANIFEST_LIMITS)
    assert parse_manifest(verified.payload) == manifest
    assert manifest.federation == FEDERATION
    assert world.server.store.prompts(manifest.prompt_set_digest) == world.server.store.terms(ROUND).prompt_set_bytes


# -- crashes --------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process is gone: nothing catches it."""


def test_a_crash_at_any_write_resumes_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies just before, or just after, its n-th commit, for every n; clients try again; all ends well."""
    ends = []
    for fatal in range(60):
        for after_commit in (False, True):
            world = World(_new(tmp_path, f"{fatal}-{after_commit}"))
            crashes = _run_with_one_crash(world, monkeypatch, fatal, after_commit=after_commit)
            consensus = consensus_of(world)
            assert consensus.admitted_count == 3
            assert [result.label for result in consensus.results][:2] == ["heart", "lung"]
            assert world.events().count("bundle.admitted") == 3
            assert world.events().count("consensus.published") == 1
            world.database.close()
            ends.append(crashes)
        if not ends[-1]:
            break
    assert ends.count(True) > 12
    assert not ends[-1], "the run was not long enough to outlive its last write"


def _new(path: Path, name: str) -> Path:
    directory = path / name
    directory.mkdir()
    return directory


def _run_with_one_crash(world: World, monkeypatch: pytest.MonkeyPatch, fatal: int, *, after_commit: bool) -> bool:
    death = _Death(fatal, after_commit=after_commit)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", death.transaction)
        manifest = _insist(world, world.open)
        for name in SITES[:3]:
            body = post(name, manifest)
            assert _insist(world, lambda body=body: world.server.receive(ROUND, body)).admitted
        world.clock.advance(600)
        while _insist(world, world.state) != "published":
            _insist(world, world.server.advance)  # the server of the moment: a restart makes a new one
    return death.happened


class _Death:
    """Stands in for `Database.transaction` and dies once, around the n-th commit."""

    def __init__(self, fatal: int, *, after_commit: bool) -> None:
        self._left, self._after_commit, self.happened = fatal, after_commit, False

    @property
    def transaction(self) -> Any:
        """The method to put in place."""
        real = Database.transaction

        @contextmanager
        def dying(database: Database) -> Any:
            dies = self._left == 0 and not self.happened
            self._left -= 1
            self.happened = self.happened or dies
            with real(database) as tx:
                yield tx
                if dies and not self._after_commit:
                    raise Crash
            if dies:
                raise Crash

        return dying


def _insist(world: World, act: Any) -> Any:
    """Do it until it is done, as clients and operators do."""
    while True:
        try:
            return act()
        except Crash:
            world.restart()
        except ConfigurationError as error:  # the round was opened just before the crash
            if "taken" not in error.message:
                raise
            return world.server.store.terms(ROUND).manifest


def test_a_reader_never_sees_a_consensus_before_it_is_published(world: World) -> None:
    """Formed is not published: until its entry is in the log, the answer is *not yet*."""
    world.open()
    contribute(world)
    for happening in (RoundInput.CLOSE, RoundInput.FORM):
        world.server._transitions.take(ROUND, RoundState(world.state()), happening)
        with pytest.raises(ConsensusError, match="SF401"):
            world.server.consensus(ROUND)
    world.server.advance()
    assert world.server.consensus(ROUND)


# -- what the operator sees -----------------------------------------------------------------------------


def test_the_status_names_who_was_admitted_and_refused(world: World) -> None:
    """With codes, sizes, times and each client's influence."""
    manifest = world.open()
    contribute(world, SITES[:3])
    world.server.receive(ROUND, post("moor", manifest, votes(9)))
    world.clock.advance(601)
    world.server.advance()
    status = world.server.status(ROUND)
    assert (status["state"], status["admitted"]) == ("published", [*SITES[:3]])
    assert status["refused"] == [{"member": "moor", "code": "SF314"}]
    assert status["expected"] == [*SITES]
    report = status["report"]
    assert {client["member"]: client["influence"]["agreed_without"] for client in report["clients"]} == dict.fromkeys(
        SITES[:3], 0
    )
    body = post("bay", manifest)
    assert report["bytes"]["contributions"]["bay"] == len(body)
    assert report["bytes"]["consensus"] == len(world.server.consensus(ROUND))
    assert set(report["seconds"]) == {"embed", "consensus", "influence"}


def test_the_signed_consensus_names_no_member(world: World) -> None:
    """Neither ids nor statement digests stand in what clients receive."""
    manifest = world.open()
    bodies = {name: post(name, manifest) for name in SITES}
    for body in bodies.values():
        world.server.receive(ROUND, body)
    world.server.advance()
    public = world.server.consensus(ROUND)
    for name, body in bodies.items():
        assert name.encode() not in public
        assert digest_of(body) not in public


def test_closing_by_hand_forms_the_consensus_in_the_next_turn(world: World) -> None:
    """The operator need not wait for the clock."""
    world.open()
    contribute(world, SITES[:3])
    assert world.server.close_round(ROUND) == "closed"
    with pytest.raises(ConsensusError, match="SF404"):
        world.server.close_round(ROUND)
    world.server.advance()
    assert consensus_of(world).admitted_count == 3
    with pytest.raises(ConsensusError, match="SF404"):
        world.server.abort_round(ROUND, "too late")


def test_prompts_with_their_own_candidates_are_labelled_from_them(world: World) -> None:
    """An index means what its own prompt says."""
    own = PromptSet(
        "own",
        tuple(replace(prompt, candidates=(f"yes {n}", f"no {n}")) for n, prompt in enumerate(PROMPTS.prompts)),
    )
    opened = world.server.open_round
    world.server.open_round = lambda plan, _prompts: opened(plan, own)  # type: ignore[method-assign]
    manifest = world.open(rule=PLURALITY)
    for name in SITES:
        world.server.receive(ROUND, post(name, manifest, votes(1, 0, 1, 0, 1, 0)))
    world.server.advance()
    assert [result.label for result in consensus_of(world).results][:3] == ["no 0", "yes 1", "no 2"]
