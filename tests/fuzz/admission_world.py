"""One server, two rounds and one client with keys that never change: inputs stay what they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from semfed_secure.clock import to_ms
from semfed_secure.crypto.keys import OpeningKey, SigningKey, Suite
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.identity.records import create_record
from semfed_secure.identity.roster import Roster, verify_roster
from semfed_secure.ids import Digest, MemberId, RoundId, sha256
from semfed_secure.server.admission import (
    AcceptedStatement,
    AdmissionContext,
    AdmittedBundle,
    RoundTerms,
    accept,
    admit,
    authenticate,
    read_contribution,
)
from semfed_secure.units import Mechanism, OutputKind, PrivacyDeclaration
from semfed_secure.wire.messages import (
    ConsensusRule,
    Contribution,
    ContributionStatement,
    MessageType,
    RoundManifest,
    commit,
    encode_contribution,
    encode_payload,
    encode_statement,
    statement_info,
)
from tests.identity.identity_examples import NORTH, NOW, RECORDS, ROOT, key, roster
from tests.wire import wire_examples as examples

if TYPE_CHECKING:
    from semfed_secure.server.round import RoundState

# The suite that signs in a tenth of the time: what steps 1 to 15 do is the same, and hybrid envelopes have own targets.
SIGNER, STRANGER = SigningKey.from_secret(Suite.NIST_P256, bytes([1] * 32)), key(2)
HUB_KEY, OTHER_KEY = (OpeningKey.from_seed(bytes([number] * 32), Suite.NIST_P256) for number in (3, 9))
PAYLOADS = {OutputKind.VOTES: replace(examples.VOTES, votes=(1, -1)), OutputKind.TEXT: examples.PAYLOAD}
_RULE = ConsensusRule("weighted_plurality", 3, 500_000, 1, 0, 0, "equal")


@cache
def pinned() -> Roster:
    """The roster that both rounds name."""
    north = create_record(replace(NORTH, signing_keys=(SIGNER.public,)), [SIGNER])
    return verify_roster(roster([north, *RECORDS[1:]]), root=ROOT, now=NOW, last_sequence=0)


@cache
def manifest(kind: OutputKind) -> RoundManifest:
    """What the server signed about its round over ``kind``."""
    text = kind is OutputKind.TEXT
    return replace(
        examples.MANIFEST,
        kind=kind,
        embedder=examples.MANIFEST.embedder if text else None,
        rule=examples.MANIFEST.rule if text else _RULE,
        recipient_key=HUB_KEY.public.encode(),
        opens_at_ms=to_ms(NOW),
        closes_at_ms=to_ms(NOW + timedelta(minutes=10)),
        opening_ends_at_ms=to_ms(NOW + timedelta(minutes=20)) if text else None,
    )


@cache
def context(kind: OutputKind, state: RoundState) -> AdmissionContext:
    """The round over ``kind`` in a state that takes contributions or commitments; nothing stands yet."""
    signed = manifest(kind)
    return AdmissionContext(
        federation=signed.federation,
        round_id=RoundId(signed.round_id),
        terms=RoundTerms(signed, examples.PROMPT_SET, state),
        pinned=pinned(),
        current=pinned(),
        key=HUB_KEY,
        max_body_bytes=1 << 20,
        now=NOW,
        standing=lambda _member: None,
    )


def privacy() -> PrivacyDeclaration:
    """What the floor of both rounds admits."""
    return replace(examples.STATEMENT.privacy, mechanism=Mechanism.DP_SGD, parameters={})


@cache
def statement(kind: OutputKind) -> ContributionStatement:
    """The honest statement, its ciphertext digests still missing."""
    signed, payload = manifest(kind), PAYLOADS[kind]
    return replace(
        examples.STATEMENT,
        manifest_digest=signed.digest,
        kind=kind,
        sender=MemberId("north"),
        signing_key_id=SIGNER.key_id,
        recipient_key_id=HUB_KEY.key_id,
        created_at_ms=to_ms(NOW) + 1,
        commitment=commit(payload.salt, encode_payload(payload)),
        ciphertext_digests=(),
        dtype="int16" if kind is OutputKind.VOTES else "utf-8",
        privacy=privacy(),
    )


@cache
def honest_body(kind: OutputKind) -> tuple[bytes, Digest]:
    """A contribution that passes all steps, and the digest of its statement."""
    unsealed = statement(kind)
    blob = seal(encode_payload(PAYLOADS[kind]), info=statement_info(unsealed), to=HUB_KEY.public)
    said = replace(unsealed, ciphertext_digests=(sha256(blob),))
    signed = sign(MessageType.STATEMENT, encode_statement(said), SIGNER)
    return encode_contribution(Contribution(signed, (blob,))), said.digest


def judge(body: bytes, context: AdmissionContext) -> AdmittedBundle:
    """All fifteen steps."""
    return admit(judge_statement(body, context))


def judge_statement(body: bytes, context: AdmissionContext) -> AcceptedStatement:
    """The ten steps that a commitment goes through."""
    return accept(authenticate(read_contribution(body, context), context), context)
