"""Whole rounds in every suite, with keys that lie in a token, and policies that choose."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from semfed_secure.client.progress import RoundState
from semfed_secure.crypto.external import SignerAddress, read_public_part
from semfed_secure.crypto.keys import Suite
from semfed_secure.errors import PolicyDenied
from semfed_secure.identity.member_files import create_member_keys, load_member_record
from semfed_secure.identity.records import Role
from semfed_secure.ids import FederationId, MemberId
from semfed_secure.testing.federation import FEDERATION, PASSPHRASE, SERVER
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import Algorithm, parse_signed
from semfed_secure.wire.messages import Outcome, parse_contribution
from tests.client.world import MEMBERS, NOW, ROUND, TRUTH, World, outbox, records

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.crypto.parts import PrivatePart

pytestmark = pytest.mark.usefixtures("cheap_key_files")


def enrol(directory: Path, member: str, role: Role, suite: Suite, outside: PrivatePart | None = None) -> None:
    """Give a member keys of ``suite`` in place of those that it was founded with."""
    shutil.rmtree(directory)
    create_member_keys(
        directory,
        federation=FederationId(FEDERATION),
        member_id=MemberId(member),
        domain=f"{member}.example",
        jurisdiction="US",
        roles=frozenset({role}),
        passphrase=PASSPHRASE,
        now=NOW - timedelta(hours=1),
        valid_for=timedelta(days=365),
        suite=suite,
        outside=outside,
    )


def refounded(directory: Path, suites: dict[str, Suite], outside: dict[str, PrivatePart]) -> World:
    """A federation whose members in ``suites`` have new keys, one or the other in a token."""
    world = World(directory)
    for member, suite in suites.items():
        role = Role.SERVER if member == SERVER else Role.CLIENT
        home = world.federation.directory / SERVER if member == SERVER else world.federation.site(member)
        enrol(home / "keys", member, role, suite, outside.get(member))
    world.federation.publish_roster(sequence=2)
    world.federation.close()
    if SERVER in suites:  # a log belongs to its key
        for file in (world.federation.directory / SERVER).glob("server.db*"):
            file.unlink()
    return World(directory)


def take_part(world: World, member: str, **sections: dict[str, str]) -> None:
    """Train and contribute."""
    with world.client(member, sections=sections) as client, client.join(ROUND) as r:
        r.train(records(member))
        assert r.contribute().outcome is Outcome.ADMITTED


@pytest.mark.parametrize("suite", Suite)
def test_a_member_whose_key_lies_in_a_token_takes_part_in_a_whole_round(suite, token, tmp_path) -> None:
    """Its record's proof of possession and its statement are signed in SoftHSM; the rest of the round is as ever."""
    address = SignerAddress(token.uri(), token.pin_file)
    part = address.open(read_public_part(token.public_keys[1]))
    world = refounded(tmp_path, {"bay": suite}, {"bay": part})
    record = load_member_record(world.federation.site("bay") / "keys")
    assert record.signing_keys[0].parts[0] == part.public
    world.open_round()
    inside = {"signer": token.uri(), "signer_pin_file": str(token.pin_file)}
    take_part(world, "bay", identity=inside)
    for member in MEMBERS[1:]:
        take_part(world, member)
    with world.client("bay", sections={"identity": inside}) as client, client.join(ROUND) as r:
        results = r.wait_for_consensus(timeout_seconds=5)
        assert [result.label for result in results.results] == list(TRUTH.values())
        assert r.learn(results).kept
        assert r.state is RoundState.LEARNED
        (sent,) = outbox(client)
    signatures = parse_signed(parse_contribution(sent.body).statement, limits=Limits(max_bytes=1 << 20)).signatures
    expected = {Suite.HYBRID_PQ: [Algorithm.ESP256, Algorithm.ML_DSA_65], Suite.NIST_P256: [Algorithm.ESP256]}
    assert [signature.algorithm for signature in signatures] == expected[suite]


@pytest.mark.parametrize("server", Suite)
def test_suites_meet_in_one_round(server, tmp_path) -> None:
    """Each message by the suite of its sender's keys, each bundle sealed by the suite of the server's."""
    world = refounded(tmp_path, {SERVER: server, "bay": Suite.NIST_P256}, {})
    world.open_round()
    for member in MEMBERS:
        take_part(world, member)
    with world.client("bay") as client:
        results = client.join(ROUND).wait_for_consensus(timeout_seconds=5).results
    assert [result.label for result in results] == list(TRUTH.values())


def test_a_policy_that_allows_one_suite_refuses_a_server_of_another(tmp_path) -> None:
    """KEY-001 by name, before anything is trained or sent."""
    world = refounded(tmp_path, {SERVER: Suite.NIST_P256}, {})
    world.open_round()
    narrow = {"limits": {"peers": {"suites": ["hybrid-pq"]}}}
    with world.client("bay", policy=narrow) as client:
        with pytest.raises(PolicyDenied) as caught:
            client.join(ROUND).train(records("bay"))
        assert "KEY-001" in str(caught.value.fields["reasons"])
        assert outbox(client) == []
