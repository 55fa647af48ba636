"""The only door out of a site, steps 7 to 12: from protected outputs to a verified receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.client import release
from semfed_secure.client.outputs import Ballots, Votes
from semfed_secure.client.progress import RoundState, state_of
from semfed_secure.client.release import deliver, finish
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.ids import RoundId, sha256
from semfed_secure.storage import Database
from semfed_secure.storage.ledger_rows import charge_by_key
from semfed_secure.testing import Altering, Garbling, TransportWrapper, Unreachable, flipped
from semfed_secure.wire.messages import Outcome, commit, parse_contribution
from tests.client.world import HISTOGRAM, ROUND, UNSAFE, VOTES, World, charges, events, outbox, records, through

if TYPE_CHECKING:
    from semfed_secure.client.session import Client
    from semfed_secure.client.transport import Transport


@pytest.fixture
def world(world: World) -> World:
    """A federation with one open round of votes."""
    world.open_round()
    return world


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
    assert statement.recipient_key_id == world.federation.context.round_keys.of(statement.round_id).key_id
    assert bytes(VOTES) not in row.body


def test_step_9_the_signature_covers_the_ciphertext(world: World, unsafe: Client) -> None:
    """The statement carries the digest of what was sealed, the sender, and the site's policy and log."""
    row = finish(through(world, unsafe, Votes(VOTES)), unsafe.site)
    statement, _, _ = world.opened(row.body)
    (sealed,) = parse_contribution(row.body).sealed
    assert statement.ciphertext_digests == (sha256(sealed),)
    assert (statement.sender, statement.policy_digest) == ("bay", unsafe.site.policy.digest)
    assert statement.log_checkpoint.startswith("bay.example/")


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
    with world.client(mechanism=UNSAFE, transport=Garbling(world.federation.transport())) as client:
        receipt = client.join(ROUND).contribute()
        assert (receipt.outcome, receipt.code) == (Outcome.REJECTED, "SF311")
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
    here = Path(__file__).parent
    files = ("test_release.py", "test_release_bytes.py", "test_commit_then_open.py")
    tests = "".join((here / name).read_text() for name in files)
    for number in range(1, 16):
        assert f"\n{number:2}. " in source
        assert f"        # {number}. " in source or f"    # {number}. " in source
        assert f"def test_step_{number}_" in tests
