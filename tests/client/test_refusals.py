"""Everything that must be refused on the way, and what is pinned."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure import Client
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError, PolicyDenied
from semfed_secure.ids import RoundId, hex_digest
from semfed_secure.testing import Altering, LocalFederation, Silent, TableModel, Unreachable, flipped
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import MessageType, Outcome, encode_manifest
from tests.client.world import OPEN_PROMPTS, PROMPTS, ROUND, UNSAFE, World, charges, events, records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("message", "codes"),
    [("roster", {"SF322"}), ("manifest", {"SF324"}), ("prompts", {"SF327"}), ("consensus", {"SF325"})],
)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_flipped_bit_of_any_message_is_refused_and_logged(
    world: World, message: str, codes: set[str], share: float
) -> None:
    """Exit 13 with the code that names the message, an audit entry, no traceback of another kind; then honest again."""
    world.open_round(min_clients=1)
    with world.client("hill", mechanism=UNSAFE) as other:
        other.join(ROUND).contribute()
    if message == "consensus":
        with world.client(mechanism=UNSAFE) as client:
            client.join(ROUND)
        world.federation.close_round(ROUND)

    def flip(data: bytes) -> bytes:
        return flipped(data, round(share * (len(data) - 1)))

    transport = Altering(world.federation.transport(), **{message: flip})
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        with pytest.raises(PeerError) as caught:
            client.join(ROUND).wait_for_consensus()
        assert caught.value.code in codes
        assert caught.value.exit_code == 13
        assert events(client)[-1] in {("peer.refused", "denied"), ("consensus.refused", "denied")}
    if message == "consensus":
        with world.client(mechanism=UNSAFE) as client:
            assert client.join(ROUND).wait_for_consensus().consensus.admitted_count == 1


def test_a_manifest_that_changed_since_joining_is_refused(world: World) -> None:
    """SF324: the server signed two manifests for one round."""
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        client.join(ROUND)
    terms = world.federation.coordinator.store.terms(ROUND).manifest
    other = encode_manifest(dataclasses.replace(terms, nonce=bytes(32)))
    second = sign(MessageType.MANIFEST, other, world.federation.context.keys.signing)
    transport = Altering(world.federation.transport(), manifest=lambda _: second)
    with world.client(mechanism=UNSAFE, transport=transport) as client:
        with pytest.raises(PeerError) as caught:
            client.join(ROUND)
        assert caught.value.code == "SF324"


def test_a_roster_that_went_back_is_refused(world: World) -> None:
    """The highest sequence seen is pinned: an older roster is SF322, in another process too."""
    old = world.federation.transport().roster()
    world.federation.publish_roster(sequence=2)
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        client.join(ROUND)
    with world.client(
        mechanism=UNSAFE, transport=Altering(world.federation.transport(), roster=lambda _: old)
    ) as client:
        with pytest.raises(PeerError) as caught:
            client.join(ROUND)
        assert caught.value.code == "SF322"


def test_a_roster_that_was_forked_is_refused(world: World) -> None:
    """One sequence, one roster: another one under the sequence that was seen is SF322, in another process too."""
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        client.join(ROUND)
    fork = world.federation.sign_roster(1, revoked=["hill"])
    with world.client(
        mechanism=UNSAFE, transport=Altering(world.federation.transport(), roster=lambda _: fork)
    ) as client:
        with pytest.raises(PeerError) as caught:
            client.join(ROUND)
        assert caught.value.code == "SF322"


def test_a_new_key_is_logged_when_it_is_first_used(world: World) -> None:
    """Once, however often the site is opened."""
    for _ in range(2):
        with world.client(mechanism=UNSAFE) as client:
            loaded = [row.event for row in client.site.audit.entries(0, 99) if row.event.type == "key.loaded"]
            assert [event.target for event in loaded] == [client.site.keys.signing.key_id]


def test_a_revoked_site_is_told_so(world: World) -> None:
    """SF306 at once, from the next roster on."""
    world.open_round()
    world.federation.publish_roster(sequence=2, revoked=["bay"])
    with world.client(mechanism=UNSAFE) as client, pytest.raises(PeerError) as caught:
        client.join(ROUND)
    assert caught.value.code == "SF306"


@pytest.mark.parametrize(
    ("policy", "codes"),
    [
        ({"grants": {"prompts": []}}, {"PRM-001"}),
        ({"grants": {"actions": []}}, {"ACT-001"}),
        ({"grants": {"peers": []}}, {"PEER-001"}),
    ],
)
def test_joining_is_the_policys_decision(world: World, policy: dict[str, Any], codes: set[str]) -> None:
    """A prompt set that is not on the list, an act or a server that is not granted: exit 10, reasons, an entry."""
    world.open_round()
    with world.client(mechanism=UNSAFE, policy=policy) as client:
        with pytest.raises(PolicyDenied) as caught:
            client.join(ROUND)
        assert {reason["code"] for reason in caught.value.fields["reasons"]} >= codes
        assert caught.value.exit_code == 10
        assert events(client)[-1] == ("decision", "denied")


def test_a_policy_that_forbids_text(world: World) -> None:
    """Exit 10 with the reason, in the log; nothing is charged and nothing is sent."""
    world.open_round("texts", OPEN_PROMPTS, kind=OutputKind.TEXT)
    transport = Unreachable(world.federation.transport(), losses=0)
    with world.client(mechanism=UNSAFE, policy={"grants": {"kinds": ["votes"]}}, transport=transport) as client:
        with pytest.raises(PolicyDenied) as caught:
            client.join("texts").contribute()
        assert [reason["code"] for reason in caught.value.fields["reasons"]] == ["KIND-001"]
        assert events(client)[-1] == ("decision", "denied")
        assert (charges(client), transport.posted) == ([], [])


def test_to_peers_declined_absent_and_late_look_the_same(world: World) -> None:
    """The server's database and log are the same whether a site refused, never came, or could not send."""
    world.open_round(min_clients=1)
    with world.client("hill", mechanism=UNSAFE) as honest:
        honest.join(ROUND).contribute()

    def known() -> tuple[Any, int]:
        context = world.federation.context
        return world.federation.coordinator.status(RoundId(ROUND)), context.audit.size()

    before = known()
    votes_denied = {"grants": {"kinds": ["text"]}}
    with world.client("bay", mechanism=UNSAFE, policy=votes_denied) as declining, pytest.raises(PolicyDenied):
        declining.join(ROUND).contribute()
    assert known() == before
    silent = Silent(world.federation.transport())
    with world.client("lake", mechanism=UNSAFE, transport=silent) as cut_off, pytest.raises(PeerError):
        cut_off.join(ROUND).contribute()
    assert known() == before


def test_a_late_bundle_is_refused_and_learning_goes_on(world: World) -> None:
    """Sent after the round closed: SF342 with the server's code, logged; the consensus can still be learned."""
    world.open_round(min_clients=1)
    with world.client("hill", mechanism=UNSAFE) as honest:
        honest.join(ROUND).contribute()
    silent = Silent(world.federation.transport())
    with world.client("bay", mechanism=UNSAFE, transport=silent) as client, pytest.raises(PeerError):
        client.join(ROUND).contribute()
    world.federation.close_round(ROUND)
    with world.client("bay", mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        with pytest.raises(PeerError) as caught:
            joined.contribute()
        assert (caught.value.code, caught.value.fields["server_code"]) == ("SF342", "SF304")
        assert events(client)[-1] == ("receipt.received", "failed")
        assert joined.learn(joined.wait_for_consensus()).labels == 6


def test_another_policy_is_refused_unless_named(world: World) -> None:
    """SF522, exit 12, and an entry; with its digest in the site file it is taken on purpose, and logged."""
    world.client().close()
    tighter = {"limits": {"labels": {"min_support_ppm": 700_000}}}
    with pytest.raises(IntegrityError) as caught:
        world.client(policy=tighter)
    assert (caught.value.code, caught.value.exit_code) == ("SF522", 12)
    named = {"policy": {"digest": caught.value.fields["observed"]}, "validation": {"file": str(world.validation)}}
    with world.client(policy=tighter, sections=named) as client:
        assert hex_digest(client.site.policy.digest) == caught.value.fields["observed"]
        kinds = [event for event, _ in events(client)]
        assert (kinds.count("policy.loaded"), kinds.count("policy.rejected")) == (2, 1)
    with world.client(policy=tighter) as client:
        assert hex_digest(client.site.policy.digest) == caught.value.fields["observed"]


def test_a_pinned_policy_that_does_not_load_any_more_is_another_policy(world: World) -> None:
    """SF522 like any other change, with the reason; a first policy that does not load is a configuration error."""
    file = world.federation.site_file("bay")
    (file.parent / "policy.yaml").write_text("{")
    with pytest.raises(ConfigurationError) as first:
        Client.open(file)
    assert first.value.code == "SF111"
    world.client().close()
    (file.parent / "policy.yaml").write_text("{")
    with pytest.raises(IntegrityError, match="does not load") as caught:
        Client.open(file)
    assert (caught.value.code, caught.value.fields["cause"]) == ("SF522", "SF111")


def test_another_model_is_refused_unless_named(world: World) -> None:
    """SF521, exit 12: the weights are not the ones that answered before."""
    world.open_round()
    other = TableModel({"phrase 0": "lung"})
    with world.client(mechanism=UNSAFE) as client:
        client.join(ROUND).contribute(dry_run=True)
    with world.client(mechanism=UNSAFE, model=other) as client:
        with pytest.raises(IntegrityError) as caught:
            client.join(ROUND).contribute()
        assert (caught.value.code, caught.value.exit_code) == ("SF521", 12)
    named = {"model": {"digest": hex_digest(other.weights_digest)}, "validation": {"file": str(world.validation)}}
    with world.client(mechanism=UNSAFE, model=other, sections=named) as client:
        assert client.join(ROUND).contribute().outcome is Outcome.ADMITTED


def test_another_federation_root_is_refused(world: World, tmp_path: Path) -> None:
    """SF322, exit 13: the site does not change federations by a file."""
    world.client().close()
    elsewhere = LocalFederation(tmp_path / "elsewhere", members=("bay",), prompt_sets=(PROMPTS,), clock=world.clock)
    sections = {"federation": {"root": str(tmp_path / "elsewhere" / "federation.root")}}
    with pytest.raises(PeerError) as caught:
        world.client(sections=sections)
    assert caught.value.code == "SF322"
    elsewhere.close()


def test_a_changed_adapter_does_not_answer(world: World) -> None:
    """SF521: the files are not the ones whose training was charged and logged."""
    world.open_round()
    with world.client() as client:
        client.join(ROUND).train(records("bay"))
    path = world.federation.site("bay") / "state" / "adapters" / f"{ROUND}-trained" / "table.json"
    path.write_bytes(flipped(path.read_bytes(), 5))
    with world.client() as client, pytest.raises(IntegrityError) as caught:
        client.join(ROUND).contribute()
    assert caught.value.code == "SF521"


def test_keys_of_somebody_else_are_refused(world: World) -> None:
    """SF101: the site file names one member, the key directory holds another."""
    path = world.federation.site_file("bay", world.settings())
    path.write_text(path.read_text().replace('keys = "keys"', f'keys = "{world.federation.site("hill") / "keys"}"'))
    with pytest.raises(ConfigurationError) as caught:
        Client.open(path, transport=world.federation.transport())
    assert caught.value.code == "SF101"


@pytest.mark.parametrize("rows", ["", '{"prompt": "phrase 0", "answer": "Heart ", "candidates": ["heart", "lung"]}\n'])
def test_a_validation_check_that_checks_nothing_keeps_no_adapter(world: World, rows: str) -> None:
    """SF104: with no prompt, or no answer that can be met, before and after would both be 0 and pass."""
    world.open_round(min_clients=1)
    world.validation.write_text(rows)
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        joined.contribute()
        world.federation.close_round(ROUND)
        with pytest.raises(ConfigurationError) as caught:
            joined.learn(joined.wait_for_consensus())
        assert caught.value.code == "SF104"
        assert client._engine.ready().adapter is None
        assert "adapter.kept" not in dict(events(client))
