"""A round that is open now, and every step of admission applied to a body."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.clock import SystemRandomness
from semfed_secure.errors import PeerError
from semfed_secure.identity.records import Role
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import RoundId
from semfed_secure.server.admission import (
    AdmissionContext,
    AdmittedBundle,
    RoundTerms,
    accept,
    admit,
    authenticate,
    read_contribution,
)
from semfed_secure.server.opening import Ground, RoundPlan, make_manifest
from semfed_secure.server.round import RoundState
from semfed_secure.units import OutputKind
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import SignedMessage, encode_signed, parse_signed
from semfed_secure.wire.messages import (
    encode_contribution,
    parse_contribution,
)
from tests.server.world import (
    EMBEDDER,
    FEDERATION,
    FLOOR,
    NOW,
    PLURALITY,
    PROMPTS,
    SEMANTIC,
    member,
    root,
    roster_file,
)

if TYPE_CHECKING:
    from semfed_secure.wire.messages import RoundManifest

WIDE = Limits(max_bytes=1 << 20)


def NOTHING_STANDS(_member: str) -> None:  # noqa: N802 - a constant that is called
    """Nobody sent anything before."""


def make_context(kind: OutputKind = OutputKind.VOTES, **changes: Any) -> AdmissionContext:
    """A round that is open now, with everybody on the roster."""
    hub = member("hub", Role.SERVER).keys
    roster = verify_roster(roster_file(), root=root()[0], now=NOW, last_sequence=0)
    text = kind is OutputKind.TEXT
    plan = RoundPlan(
        round_id=RoundId("round-1"),
        kind=kind,
        rule=SEMANTIC if text else PLURALITY,
        dp_floor=FLOOR,
        max_new_tokens=16,
        opens_at=NOW,
        closes_at=NOW + timedelta(seconds=600),
        opening_ends_at=NOW + timedelta(seconds=1_200) if text else None,
        embedder=EMBEDDER if text else None,
    )
    ground = Ground(
        federation=FEDERATION,
        roster=roster,
        recipient_key=hub.opening.public,
        log_checkpoint="checkpoint",
    )
    manifest = make_manifest(plan, PROMPTS, ground, SystemRandomness())
    context = AdmissionContext(
        federation=FEDERATION,
        round_id=manifest.round_id,
        terms=RoundTerms(manifest, PROMPTS, RoundState.OPENING if text else RoundState.COLLECTING),
        pinned=roster,
        current=roster,
        key=hub.opening,
        max_body_bytes=1 << 20,
        now=NOW,
        standing=NOTHING_STANDS,
    )
    return replace(context, **changes)


VOTES, TEXT = make_context(), make_context(OutputKind.TEXT)


def manifest_of(context: AdmissionContext) -> RoundManifest:
    """The manifest of the context's round."""
    assert context.terms is not None
    return context.terms.manifest


def judge(body: bytes, context: AdmissionContext = VOTES) -> AdmittedBundle:
    """All fifteen steps; texts are taken as committed to before, unless the context says what is."""
    unverified = read_contribution(body, context)
    if context.standing is NOTHING_STANDS and context.terms is not None and context.terms.state is RoundState.OPENING:
        context = replace(context, standing=lambda _member: unverified.statement.digest)
    return admit(accept(authenticate(unverified, context), context))


def refused(body: bytes, context: AdmissionContext = VOTES) -> str:
    """The code for which it is refused."""
    with pytest.raises(PeerError) as refusal:
        judge(body, context)
    return refusal.value.code


def with_envelope(body: bytes, envelope: SignedMessage) -> bytes:
    """The same contribution with another signed envelope."""
    return encode_contribution(replace(parse_contribution(body), statement=encode_signed(envelope)))


def envelope_of(body: bytes) -> SignedMessage:
    """The signed envelope of a contribution, taken apart."""
    return parse_signed(parse_contribution(body).statement, limits=WIDE)
