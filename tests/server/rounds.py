"""What tests of rounds share: verified messages, honest contributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.crypto.signing import verify
from semfed_secure.identity.records import Role
from semfed_secure.ids import RoundId
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import parse_signed
from semfed_secure.wire.messages import (
    CONSENSUS_LIMITS,
    RECEIPT_LIMITS,
    Consensus,
    MessageType,
    Outcome,
    Receipt,
    parse_consensus,
    parse_contribution,
    parse_receipt,
    parse_statement,
)
from tests.server.world import (
    SITES,
    World,
    bare,
    member,
    post,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from semfed_secure.wire.messages import Payload, RoundManifest

ROUND = RoundId("round-1")
HUB = member("hub", Role.SERVER).keys


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


def commit(world: World, manifest: RoundManifest, answered: Mapping[str, Payload]) -> dict[str, bytes]:
    """Commitments of the named sites; the bodies that open them."""
    bodies = {name: post(name, manifest, payload) for name, payload in answered.items()}
    for body in bodies.values():
        answer = world.server.receive(manifest.round_id, bare(body))
        assert answer.outcome is Outcome.COMMITTED
    return bodies


def contribute_texts(world: World, manifest: RoundManifest, answered: Mapping[str, Payload]) -> dict[str, bytes]:
    """Commitments of the named sites, closed, and opened; the bodies that opened them."""
    bodies = commit(world, manifest, answered)
    if world.state(manifest.round_id) == "collecting":
        world.server.close_round(manifest.round_id)
    for body in bodies.values():
        assert world.server.receive(manifest.round_id, body).admitted
    return bodies


def contribute(world: World, names: Any = SITES, **changes: Any) -> None:
    """Honest contributions of the named sites."""
    manifest = world.server.store.terms(ROUND).manifest
    for name in names:
        assert world.server.receive(ROUND, post(name, manifest, **changes)).admitted
