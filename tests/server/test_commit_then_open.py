"""Rounds of texts: committed to first, opened when nobody can commit any more; the server's side."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from semfed_secure.audit.events import parse_entry
from semfed_secure.audit.merkle import leaf_hash, verify_inclusion
from semfed_secure.audit.notes import verify_checkpoint
from semfed_secure.consensus import tie_seed
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import ConsensusError, IntegrityError, PeerError
from semfed_secure.ids import hex_digest
from semfed_secure.server.forming import batch_root
from semfed_secure.server.round import RoundInput, RoundState
from semfed_secure.storage import Database, log_rows
from semfed_secure.storage.round_rows import read_contribution
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import (
    COMMITMENTS_LIMITS,
    Commitments,
    MessageType,
    Outcome,
    encode_contribution,
    parse_commitments,
    parse_contribution,
)
from tests.server.rounds import HUB, ROUND, commit, consensus_of, contribute_texts, digest_of, receipt_of
from tests.server.test_crash import Crash, _Death, _insist
from tests.server.world import PRIVACY, SITES, World, answers, bare, post, roster_file, votes

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.wire.messages import RoundManifest

SAID = answers("asthma", "gout", None, "rash", "burn", "croup")


@pytest.fixture
def manifest(world: World) -> RoundManifest:
    """A round of texts that takes commitments."""
    return world.open(kind=OutputKind.TEXT)


def commitments_of(world: World) -> Commitments:
    """The verified list."""
    data = world.server.commitments(ROUND)
    verified = verify(MessageType.COMMITMENTS, data, [HUB.signing.public], limits=COMMITMENTS_LIMITS)
    return parse_commitments(verified.payload)


def refused(world: World, body: bytes) -> str:
    """The code for which a post is refused without a receipt."""
    with pytest.raises(PeerError) as refusal:
        world.server.receive(ROUND, body)
    return refusal.value.code


def test_a_commitment_gets_a_receipt_and_the_payload_another(world: World, manifest: RoundManifest) -> None:
    """Committed, then admitted: each with its entry; the round goes on by itself as soon as everybody did each."""
    bodies = commit(world, manifest, dict.fromkeys(SITES, SAID))
    world.server.advance()
    assert world.state() == "opening"
    for body in bodies.values():
        receipt = receipt_of(world.server.receive(ROUND, body).receipt)
        assert (receipt.outcome, receipt.statement_digest) == (Outcome.ADMITTED, digest_of(body))
    world.server.advance()
    assert consensus_of(world).admitted_count == 5
    assert world.events() == [
        "round.opened",
        *["bundle.committed"] * 5,
        "commitments.closed",
        *["bundle.admitted"] * 5,
        "round.closed",
        "consensus.published",
    ]


def test_the_server_looks_at_no_payload_before_the_commitments_are_closed(
    world: World, manifest: RoundManifest
) -> None:
    """SF304 for a whole contribution; where its statement is committed to, the stored receipt and nothing more."""
    body = post("bay", manifest, SAID)
    assert refused(world, body) == "SF304"
    committed = world.server.receive(ROUND, bare(body))
    assert world.server.receive(ROUND, body) == committed
    with world.database.snapshot() as tx:
        row = read_contribution(tx, ROUND, digest_of(body))
    assert (row.outcome, row.payload) == ("committed", None)


def test_the_list_is_signed_before_the_first_payload_and_holds_every_commitment(
    world: World, manifest: RoundManifest
) -> None:
    """Its root stands in the log entry that its proof leads to, and in the consensus; before that there is no list."""
    bodies = commit(world, manifest, dict.fromkeys(SITES[:4], SAID))
    with pytest.raises(ConsensusError, match="SF401"):
        world.server.commitments(ROUND)
    assert world.server.close_round(ROUND) == "opening"
    shown = commitments_of(world)
    assert list(shown.statements) == sorted(digest_of(body) for body in bodies.values())
    assert (shown.manifest_digest, shown.round_id) == (manifest.digest, ROUND)
    tree = verify_checkpoint(shown.log_checkpoint, HUB.log.public).checkpoint
    with world.database.snapshot() as tx:
        (entry,) = log_rows.read_entries(tx, shown.log_index, shown.log_index + 1)
    verify_inclusion(
        leaf_hash(entry.body), index=shown.log_index, size=tree.size, proof=shown.inclusion_proof, root=tree.root
    )
    root = batch_root(shown.statements)
    assert parse_entry(entry.body).event.details["commitments_root"] == hex_digest(root)
    for body in list(bodies.values())[:3]:
        assert world.server.receive(ROUND, body).admitted
    world.server.close_round(ROUND)
    world.server.advance()
    consensus = consensus_of(world)
    assert (consensus.commitments_root, consensus.admitted_count) == (root, 3)
    assert consensus.batch_root == batch_root([digest_of(body) for body in list(bodies.values())[:3]])


def test_nobody_commits_once_payloads_are_taken(world: World, manifest: RoundManifest) -> None:
    """SF304 for a late commitment, and for a whole contribution that was never committed to."""
    commit(world, manifest, dict.fromkeys(SITES[:3], SAID))
    world.server.close_round(ROUND)
    late = post("moor", manifest, SAID)
    assert refused(world, bare(late)) == refused(world, late) == "SF304"


def test_what_is_opened_is_what_was_committed_to(world: World, manifest: RoundManifest) -> None:
    """Other blobs are SF311: nobody signed them, so they are only counted, and the true ones are still taken."""
    mine, other = post("bay", manifest, SAID), post("bay", manifest, SAID, created_at_ms=2)
    world.server.receive(ROUND, bare(mine))
    world.server.close_round(ROUND)
    entries = world.audit.size()
    swapped = replace(parse_contribution(mine), sealed=parse_contribution(other).sealed)
    for _ in range(5):
        assert refused(world, encode_contribution(swapped)) == "SF311"
    assert world.audit.size() == entries
    assert world.server.receive(ROUND, mine).admitted


@pytest.mark.parametrize(
    ("defect", "code"),
    [
        ({"plaintext": b"\xf6"}, "SF314"),
        ({"payload": votes()}, "SF314"),
        ({"payload": answers("SSN 536-22-8726", *[None] * 5)}, "SF315"),
    ],
    ids=["not-a-payload", "votes-for-texts", "identifier"],
)
def test_a_bad_payload_is_refused_when_it_is_opened(
    world: World, manifest: RoundManifest, defect: dict[str, object], code: str
) -> None:
    """Its sender committed to it and cannot take it back: the code in a signed receipt, and no second try."""
    body = post("bay", manifest, **{"payload": SAID, **defect})
    assert world.server.receive(ROUND, bare(body)).outcome is Outcome.COMMITTED
    world.server.close_round(ROUND)
    answer = world.server.receive(ROUND, body)
    assert receipt_of(answer.receipt).code == code
    assert world.server.receive(ROUND, body) == answer
    assert world.events()[-1] == "bundle.rejected"


def test_a_refused_commitment_does_not_burn_the_slot_and_a_second_one_is_equivocation(
    world: World, manifest: RoundManifest
) -> None:
    """SF310, then a good one, then another: SF309, over a restart too."""
    weak = post("bay", manifest, SAID, privacy=replace(PRIVACY, epsilon=PRIVACY.epsilon * 100))
    assert receipt_of(world.server.receive(ROUND, bare(weak)).receipt).code == "SF310"
    assert world.server.receive(ROUND, bare(post("bay", manifest, SAID))).outcome is Outcome.COMMITTED
    world.restart()
    again = world.server.receive(ROUND, bare(post("bay", manifest, SAID, created_at_ms=2)))
    assert receipt_of(again.receipt).code == "SF309"


def test_who_does_not_open_is_refused_by_a_code_of_its_own_and_counted(world: World, manifest: RoundManifest) -> None:
    """SF316 in the consensus, in the log, and in the receipt that the same bytes get from then on."""
    bodies = commit(world, manifest, dict.fromkeys(SITES[:4], SAID))
    world.clock.advance(600)
    world.server.advance()
    for name in SITES[:3]:
        assert world.server.receive(ROUND, bodies[name]).admitted
    world.clock.advance(599.999)
    world.server.advance()
    assert world.state() == "opening"
    world.clock.advance(0.001)
    assert refused(world, bodies["moor"]) == "SF304"
    world.server.advance()
    assert consensus_of(world).rejections == (("SF316", 1),)
    silent = world.server.receive(ROUND, bodies["moor"])
    assert (receipt_of(silent.receipt).code, receipt_of(silent.receipt).outcome) == ("SF316", Outcome.REJECTED)
    assert world.server.receive(ROUND, bare(bodies["moor"])) == silent
    assert world.server.status(ROUND)["refused"] == [{"member": "moor", "code": "SF316"}]


def test_a_round_that_nobody_committed_to_ends_at_once(world: World, manifest: RoundManifest) -> None:
    """There is nothing to open, and too few to agree: SF402."""
    world.clock.advance(600)
    assert [state for _, state in world.server.advance()] == ["opening", "closed", "aborted"]
    with pytest.raises(ConsensusError, match="SF402"):
        world.server.consensus(ROUND)


def test_ties_break_by_nonce_and_all_commitments_not_by_who_opened(world: World, manifest: RoundManifest) -> None:
    """The seed hangs on what was committed to; who keeps silent afterwards changes nothing of it."""
    digests = [digest_of(post(name, manifest, SAID)) for name in SITES]
    seed = tie_seed(manifest.nonce, batch_root(digests))
    assert seed == tie_seed(manifest.nonce, batch_root(digests[::-1]))
    assert seed != tie_seed(manifest.nonce, batch_root(digests[:4]))
    assert seed != tie_seed(bytes(32), batch_root(digests))


def test_nobody_waits_for_the_payload_of_a_revoked_member(world: World, manifest: RoundManifest) -> None:
    """It is refused when it comes (SF306), and the round does not wait until its opening ends."""
    bodies = commit(world, manifest, dict.fromkeys(SITES[:4], SAID))
    world.server.close_round(ROUND)
    world.publish_roster(roster_file(sequence=2, revoked=["moor"]))
    assert refused(world, bodies["moor"]) == "SF306"
    for name in SITES[:3]:
        assert world.server.receive(ROUND, bodies[name]).admitted
    world.server.advance()
    assert consensus_of(world).admitted_count == 3


@pytest.mark.parametrize("column", ["commitments", "state"])
def test_a_list_that_changed_on_disk_forms_nothing(world: World, manifest: RoundManifest, column: str) -> None:
    """SF531 to the operator, and the round is given up: also for a list that is gone."""
    contribute_texts(world, manifest, dict.fromkeys(SITES, SAID))
    world.server._transitions.take(ROUND, RoundState.OPENING, RoundInput.CLOSE)
    value = "NULL" if column == "state" else "zeroblob(4000)"
    with world.database.transaction() as tx:
        tx.connection.execute(text(f"UPDATE round SET commitments = {value}"))
    world.restart()
    if column == "commitments":
        with pytest.raises(IntegrityError, match="SF531"):
            world.server.status(ROUND)
    for _ in range(3):
        world.server.advance()
        world.clock.advance(60)
    assert "SF531" in world.server.store.head(ROUND).reason


def test_a_crash_anywhere_in_a_round_of_texts_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies around its n-th commit, for every n, before and after it; all come again; one result."""
    outlived = False
    for fatal in range(40):
        for after_commit in (fatal % 2 == 0,):
            directory = tmp_path / f"{fatal}-{after_commit}"
            directory.mkdir()
            world = World(directory)
            death = _Death(fatal, after_commit=after_commit)
            with monkeypatch.context() as patched:
                patched.setattr(Database, "transaction", death.transaction)
                manifest = _insist(world, lambda world=world: world.open(kind=OutputKind.TEXT))
                bodies = [post(name, manifest, SAID) for name in SITES[:3]]
                for body in bodies:
                    answer = _insist(world, lambda body=body, world=world: world.server.receive(ROUND, bare(body)))
                    assert answer.outcome is Outcome.COMMITTED
                world.clock.advance(600)
                while _insist(world, world.state) != "opening":
                    _insist(world, world.server.advance)
                for body in bodies:
                    assert _insist(world, lambda body=body, world=world: world.server.receive(ROUND, body)).admitted
                world.clock.advance(600)
                while _insist(world, world.state) != "published":
                    with suppress(Crash):
                        _insist(world, world.server.advance)
            assert consensus_of(world).admitted_count == 3
            once = ("commitments.closed", "round.closed", "consensus.published")
            assert [world.events().count(name) for name in once] == [1, 1, 1]
            assert world.events().count("bundle.committed") == world.events().count("bundle.admitted") == 3
            world.database.close()
        outlived = not death.happened
        if outlived:
            break
    assert outlived, "the run was not long enough to outlive its last write"
