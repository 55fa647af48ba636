"""The coordinator: rounds from manifest to consensus, and what the operator sees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from semfed_secure.audit.notes import verify_checkpoint
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import ConfigurationError, ConsensusError
from semfed_secure.ids import RoundId
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.forming import batch_root
from semfed_secure.storage import log_rows
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import (
    MANIFEST_LIMITS,
    MessageType,
    PromptStatus,
    encode_consensus,
    parse_manifest,
)
from semfed_secure.wire.prompts import PromptSet
from tests.server.world import (
    FEDERATION,
    NOW,
    PLURALITY,
    PROMPTS,
    SEMANTIC,
    SITES,
    World,
    answers,
    post,
    votes,
)

if TYPE_CHECKING:
    from pathlib import Path

from tests.server.rounds import HUB, ROUND, consensus_of, contribute, contribute_texts, digest_of, receipt_of


def test_a_votes_round_runs_from_manifest_to_consensus(world: World) -> None:
    """Five sites, four honest: the honest label agrees, and the consensus commits to all five statements."""
    manifest = world.open()
    bodies = [post(name, manifest) for name in SITES[:4]] + [post("north", manifest, votes(3, 3, 3, 0, 3, 3))]
    for body in bodies:
        assert world.server.receive(ROUND, body).admitted
    world.server.advance()
    consensus = consensus_of(world)
    assert [result.label for result in consensus.results[0]] == ["heart", "lung", "skin", "eye", "heart", "lung"]
    assert {result.status for result in consensus.results[0]} == {PromptStatus.AGREED}
    assert {result.support_ppm for result in consensus.results[0]} == {800_000}
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
    contribute_texts(world, manifest, {name: answers(*texts, None, None, None) for name, texts in rows.items()})
    world.server.advance()
    first, second, third, *rest = consensus_of(world).results[0]
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


def test_manifests_are_signed_and_stored_as_signed(world: World) -> None:
    """What is handed out verifies under the server's key and says what was opened."""
    manifest = world.open()
    stored = world.server.store.terms(ROUND).manifest_bytes
    verified = verify(MessageType.MANIFEST, stored, [HUB.signing.public], limits=MANIFEST_LIMITS)
    assert parse_manifest(verified.payload) == manifest
    assert manifest.federation == FEDERATION
    assert world.server.store.prompts(manifest.prompt_set_digest) == world.server.store.terms(ROUND).prompt_set_bytes


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
    assert {
        client["member"]: client["influence"]["agreed_without"] for client in report["groups"][0]["clients"]
    } == dict.fromkeys(SITES[:3], 0)
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
    # Signatures, of the message and of the log's checkpoint in it, are random: any three letters may stand in them.
    public = encode_consensus(replace(consensus_of(world), log_checkpoint=""))
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
    assert [result.label for result in consensus_of(world).results[0]][:3] == ["no 0", "yes 1", "no 2"]
