"""Rounds of texts: committed to first, opened when nobody can commit any more; the site's side."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.progress import RoundState, state_of
from semfed_secure.client.round import VerifiedCommitments, VerifiedReceipt
from semfed_secure.crypto.signing import sign, verify
from semfed_secure.errors import ConsensusError, PeerError
from semfed_secure.ids import Digest, RoundId, sha256
from semfed_secure.storage import Database
from semfed_secure.testing import Altering, TransportWrapper, flipped
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import (
    COMMITMENTS_LIMITS,
    CONSENSUS_LIMITS,
    MessageType,
    Outcome,
    encode_commitments,
    encode_consensus,
    parse_commitments,
    parse_consensus,
    parse_contribution,
)
from tests.client.world import MEMBERS, OPEN_PROMPTS, UNSAFE, World, charges, events, outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.client.transport import Transport

TEXTS = RoundId("texts")


@pytest.fixture
def world(world: World) -> World:
    """A federation with one open round of texts, to which the two other sites have committed."""
    world.open_round(TEXTS, OPEN_PROMPTS, kind=OutputKind.TEXT)
    for member in MEMBERS[1:]:
        with world.client(member, mechanism=UNSAFE) as client:
            assert client.join(TEXTS).contribute().outcome is Outcome.COMMITTED
    return world


class Watching(TransportWrapper):
    """Looks at every post, and into the site's database at its moment."""

    def __init__(self, inner: Transport, path: Path) -> None:
        super().__init__(inner)
        self.path = path
        self.posts: list[tuple[bool, str]] = []

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        database = Database.open_read_only(self.path)
        with database.snapshot() as tx:
            state = state_of(tx, round_id)
        database.close()
        self.posts.append((bool(parse_contribution(body).sealed), str(state)))
        return super().post(round_id, body)


def watching(world: World, inner: Transport | None = None) -> Watching:
    """A transport that tells what was posted when."""
    transport = inner if inner is not None else world.federation.transport()
    return Watching(transport, world.federation.site("bay") / "state" / "site.db")


def others_open(world: World) -> None:
    """Both other sites open what they committed to."""
    for member in MEMBERS[1:]:
        with world.client(member, mechanism=UNSAFE) as client, pytest.raises(ConsensusError):
            client.join(TEXTS).wait_for_consensus()


def test_step_14_texts_leave_only_after_the_site_has_seen_and_noted_the_closed_list(world: World) -> None:
    """First the statement alone; the sealed texts when the state on disk is `opened`; each exactly once."""
    transport = watching(world)
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        joined = client.join(TEXTS)
        assert joined.contribute().outcome is joined.contribute().outcome is Outcome.COMMITTED
        others_open(world)
        consensus = joined.wait_for_consensus()
        assert transport.posts == [(False, "released"), (True, "opened")]
        assert (joined.state, joined.receipt.outcome) == (RoundState.COLLECTED, Outcome.ADMITTED)
        assert consensus.consensus.admitted_count == 3
        seen = [name for name, _ in events(client) if name.split(".")[0] in {"bundle", "receipt", "commitments"}]
        assert seen == [
            "bundle.released",
            "bundle.sent",
            "receipt.received",
            "commitments.verified",
            "bundle.sent",
            "receipt.received",
        ]
        assert [row.kind for row in outbox(client)] == ["contribution", "commitment"]
        assert len(charges(client)) == 1


def resigned(world: World, **changes: Any) -> Callable[[bytes], bytes]:
    """The list with ``changes``, as the server itself would sign it."""

    def change(data: bytes) -> bytes:
        key = world.federation.context.keys.signing
        payload = verify(MessageType.COMMITMENTS, data, [key.public], limits=COMMITMENTS_LIMITS).payload
        shown = parse_commitments(payload)
        made = {name: value(shown) if callable(value) else value for name, value in changes.items()}
        return sign(MessageType.COMMITMENTS, encode_commitments(replace(shown, **made)), key)

    return change


@pytest.mark.parametrize(
    "lie",
    [
        lambda _world: lambda data: flipped(data, len(data) // 2),
        lambda _world: lambda data: b"",
        lambda world: resigned(world, manifest_digest=sha256(b"another manifest")),
        lambda world: resigned(world, round_id=RoundId("texts-2")),
        lambda world: resigned(world, statements=()),
        lambda world: resigned(world, statements=lambda shown: tuple(sorted((*shown.statements, sha256(b"late"))))),
        lambda world: resigned(world, log_index=0),
    ],
    ids=["flipped", "empty", "other-manifest", "other-round", "without-ours", "one-more-than-logged", "other-entry"],
)
def test_step_13_texts_stay_at_home_when_the_list_does_not_verify(
    world: World, lie: Callable[[World], Callable[[bytes], bytes]]
) -> None:
    """SF329, exit 13, an audit entry, and no sealed byte was sent; an honest answer later is still taken."""
    with world.client(mechanism=UNSAFE) as client:
        client.join(TEXTS).contribute()
    world.federation.coordinator.advance()
    transport = watching(world, Altering(world.federation.transport(), commitments=lie(world)))
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        with pytest.raises(PeerError) as caught:
            client.join(TEXTS).wait_for_consensus()
        assert (caught.value.code, caught.value.exit_code) == ("SF329", 13)
        assert events(client)[-1] == ("peer.refused", "denied")
        assert transport.posts == []
    with world.client(mechanism=UNSAFE) as client, client.join(TEXTS) as joined:
        with pytest.raises(ConsensusError):
            joined.wait_for_consensus()
        assert joined.receipt.outcome is Outcome.ADMITTED


def test_a_consensus_over_another_list_is_refused(world: World) -> None:
    """SF325: the server signed one list for this site and counted another."""
    with world.client(mechanism=UNSAFE) as client:
        client.join(TEXTS).contribute()
    others_open(world)

    def another(data: bytes) -> bytes:
        key = world.federation.context.keys.signing
        payload = verify(MessageType.CONSENSUS, data, [key.public], limits=CONSENSUS_LIMITS).payload
        changed = replace(parse_consensus(payload), commitments_root=Digest(bytes(32)))
        return sign(MessageType.CONSENSUS, encode_consensus(changed), key)

    transport = Altering(world.federation.transport(), consensus=another)
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        with pytest.raises(PeerError) as caught:
            client.join(TEXTS).wait_for_consensus()
        assert caught.value.code == "SF325"


class Claiming(TransportWrapper):
    """A server that proves another thing about its consensus than it shows."""

    def __init__(self, inner: Transport, change: Callable[[str], str]) -> None:
        super().__init__(inner)
        self.change = change

    def consensus_proof(self, round_id: RoundId) -> str:
        return self.change(super().consensus_proof(round_id))


def resigned_consensus(world: World, **changes: Any) -> Callable[[bytes], bytes]:
    """The consensus with ``changes``, as the server itself would sign it."""

    def change(data: bytes) -> bytes:
        key = world.federation.context.keys.signing
        payload = verify(MessageType.CONSENSUS, data, [key.public], limits=CONSENSUS_LIMITS).payload
        return sign(MessageType.CONSENSUS, encode_consensus(replace(parse_consensus(payload), **changes)), key)

    return change


@pytest.mark.parametrize(
    "lie",
    [
        lambda world, way: Altering(way, consensus=resigned_consensus(world, batch_root=Digest(bytes(32)))),
        lambda _world, way: Claiming(way, lambda _proof: ""),
        lambda _world, way: Claiming(way, lambda proof: re.sub("index [0-9]+", "index 0", proof)),
    ],
    ids=["another-consensus", "no-proof", "another-entry"],
)
def test_a_consensus_that_the_servers_log_does_not_publish_is_refused(
    world: World, lie: Callable[[World, Transport], Transport]
) -> None:
    """SF325, however well it is signed; the one that was published is taken, and its entry noted."""
    with world.client(mechanism=UNSAFE) as client:
        client.join(TEXTS).contribute()
    others_open(world)
    with world.client(mechanism=UNSAFE, transport=lie(world, world.federation.transport())) as client:
        with pytest.raises(PeerError) as caught:
            client.join(TEXTS).wait_for_consensus()
        assert (caught.value.code, events(client)[-1]) == ("SF325", ("consensus.refused", "denied"))
    with world.client(mechanism=UNSAFE) as client:
        client.join(TEXTS).wait_for_consensus()
        noted = [each.event for each in client.site.audit.entries(0, 99) if each.event.type == "consensus.verified"]
        logged = world.federation.context.audit.entries(0, 99)
        published = [each.seq for each in logged if each.event.type == "consensus.published"]
        assert [event.peer_entry for event in noted] == published


class Losing(TransportWrapper):
    """A network that loses every answer to a post until it is told otherwise."""

    losing = True

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        receipt = super().post(round_id, body)
        if self.losing:
            raise PeerError("SF341", "the answer got lost")
        return receipt


def test_step_15_answers_that_got_lost_are_asked_for_again(world: World) -> None:
    """Of the commitment and of the payload: the same bytes, the stored receipts, one bundle."""
    transport = Losing(world.federation.transport())
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        joined = client.join(TEXTS)
        for act in (joined.contribute, joined.wait_for_consensus):
            with pytest.raises(PeerError, match="SF341"):
                act()
        transport.losing = False
        with pytest.raises(ConsensusError):
            joined.wait_for_consensus()
        transport.losing = True
        assert joined.receipt.outcome is Outcome.ADMITTED
        assert joined.contribute().outcome is Outcome.COMMITTED
        assert events(client).count(("bundle.released", "success")) == 1


class AnsweringAsBefore(TransportWrapper):
    """A server that reads the opened texts, counts nothing, and answers with its receipt of the commitment."""

    before: bytes | None = None

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        if not parse_contribution(body).sealed:
            self.before = super().post(round_id, body)
        assert self.before is not None
        return self.before


def test_step_15_the_receipt_of_the_commitment_is_none_for_the_texts(world: World) -> None:
    """SF326, kept as evidence; the texts count as not answered, and are sent again to whoever answers them."""
    with world.client(mechanism=UNSAFE, transport=AnsweringAsBefore(world.federation.transport())) as client:
        joined = client.join(TEXTS)
        joined.contribute()
        others_open(world)
        with pytest.raises(PeerError) as caught:
            joined.wait_for_consensus()
        assert (caught.value.code, caught.value.exit_code) == ("SF326", 13)
        assert events(client)[-1] == ("receipt.received", "failed")
    with world.client(mechanism=UNSAFE) as client, client.join(TEXTS) as joined:
        assert joined.wait_for_consensus().consensus.admitted_count == 3
        assert joined.receipt.outcome is Outcome.ADMITTED


def finish(world: World) -> None:
    """The opening ends."""
    world.clock.advance(1_200)
    world.federation.coordinator.advance()


def test_a_site_that_comes_too_late_to_open_sends_nothing_and_learns_what_the_others_said(world: World) -> None:
    """Its receipt stays `committed`; the server has counted it by its own code."""
    transport = watching(world)
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        joined = client.join(TEXTS)
        joined.contribute()
        others_open(world)
        finish(world)
        consensus = joined.wait_for_consensus().consensus
        assert (consensus.admitted_count, consensus.rejections) == (2, (("SF316", 1),))
        assert (joined.receipt.outcome, transport.posts) == (Outcome.COMMITTED, [(False, "released")])


def test_a_site_that_the_server_waits_for_no_more_is_told_so_by_a_signed_receipt(world: World) -> None:
    """The operator ended the opening early: SF316, once, and the consensus of the others is collected."""
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(TEXTS)
        joined.contribute()
        others_open(world)
        world.federation.coordinator.close_round(TEXTS)
        assert joined.wait_for_consensus().consensus.admitted_count == 2
        assert (joined.receipt.outcome, joined.receipt.code) == (Outcome.REJECTED, "SF316")
        assert events(client).count(("receipt.received", "denied")) == 1


class Refusing(TransportWrapper):
    """Something on the way that lets no sealed outputs through."""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        if parse_contribution(body).sealed:
            raise PeerError("SF342", "the server refused", server_code="SF301")
        return super().post(round_id, body)


def test_texts_that_are_refused_without_a_receipt_are_sent_once_in_a_wait(world: World) -> None:
    """SF342 is in the log once, not once a second; the next call tries again."""
    with world.client(mechanism=UNSAFE, transport=Refusing(world.federation.transport())) as client:
        joined = client.join(TEXTS)
        joined.contribute()
        joined._sleep = lambda _seconds: None
        for attempt in (1, 2):
            with pytest.raises(ConsensusError, match="SF401"):
                joined.wait_for_consensus(timeout_seconds=5)
            assert events(client).count(("receipt.received", "failed")) == attempt


@pytest.mark.parametrize("opened", [False, True])
def test_an_aborted_round_of_texts_charges_nothing_twice_and_keeps_what_was_charged(
    world: World, *, opened: bool
) -> None:
    """SF403, exit 15, logged once; the released bundle was paid for and stays so; no step follows any more."""
    transport = watching(world)
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        joined = client.join(TEXTS)
        joined.contribute()
        if opened:
            with pytest.raises(ConsensusError, match="SF401"):
                joined.wait_for_consensus()
        world.federation.coordinator.abort_round(TEXTS, "a wrong prompt set")
        sent = list(transport.posts)
        for _ in range(2):
            with pytest.raises(ConsensusError) as caught:
                joined.wait_for_consensus()
            assert (caught.value.code, caught.value.exit_code) == ("SF403", 15)
        assert (transport.posts, joined.state) == (sent, RoundState.ABORTED)
        assert [row.state for row in charges(client)] == ["committed"]
        assert [event for event, _ in events(client)].count("round.aborted") == 1


def test_what_nobody_verified_cannot_be_held(world: World) -> None:
    """The types of verified messages are made by their verifier alone."""
    fields = {"statement_digest": sha256(b""), "round_id": TEXTS, "outcome": Outcome.ADMITTED, "code": None}
    place: dict[str, Any] = {"log_index": 0, "log_checkpoint": "x", "inclusion_proof": ()}
    with pytest.raises(TypeError):
        VerifiedReceipt(**fields, **place, proof=object())
    with pytest.raises(TypeError):
        VerifiedCommitments(manifest_digest=sha256(b""), round_id=TEXTS, statements=(), **place, proof=object())


def test_only_the_release_holds_the_key_of_the_door_and_only_the_verifier_the_proof() -> None:
    """Nobody else in the package imports them."""
    package = Path(__file__).parents[2] / "semfed_secure"
    holders = {"DOOR": {"door.py", "release.py"}, "_PROOF": {"round.py"}, "_GATE": {"admission.py"}}
    sources = {path.name: path.read_text() for path in package.rglob("*.py")}
    for name, files in holders.items():
        assert {file for file, source in sources.items() if re.search(rf"\b{name}\b", source)} == files
