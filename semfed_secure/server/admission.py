"""Admission: the only way from bytes to an `AdmittedBundle`. Pure: the clock and the past are arguments.

 1. The body is within its size limits.                                                            SF301
 2. It decodes strictly: one contribution, one signed envelope.                                    SF302
 3. Its statement is of a version that we know.                                                    SF303
    -- a statement digest that was answered before gets its stored receipt, whenever it comes --
 4. It is for this federation and for this round, which takes just this now.                       SF304
 5. It names the manifest that we signed, and repeats its terms.                                   SF305
 6. Its sender is on the pinned roster, valid, not revoked since, a client, and in a group.        SF306
 7. Both signatures verify under one key of that sender, the key it names.                         SF307
    -- refusals so far are counted; from here on they are logged and answered with a receipt --
 8. It is sealed to this round's key, which is not destroyed, and to nobody else.                  SF308
 9. No other contribution of this member stands: one that does is equivocation.                    SF309
10. Its declared privacy meets the round's floor and does not contradict itself (not proven).      SF310
    -- texts are committed to first: what came so far is the commitment, the rest follows when no more are taken --
11. The sealed blob is the one whose digest was signed.                                            SF311
12. The blob opens under exactly the context that was signed.                                      SF312
13. The payload is the one that was committed to.                                                  SF313
14. The outputs have the round's kind, number and range: the prompt set, no more and no less.      SF314
15. The content gate finds nothing in any text: length, encoding, identifiers.                     SF315

Only a commitment and an admitted contribution fill their member's slot, so whoever fails a step may send a corrected
one. A round of texts takes signed statements while it collects, and while it opens the sealed blobs of just these.
Vectors have no step here: clients send none, the server embeds admitted texts itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from semfed_secure.clock import to_ms
from semfed_secure.crypto.sealing import open_sealed
from semfed_secure.crypto.signing import verify_envelope
from semfed_secure.detect import scan
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.records import Role
from semfed_secure.ids import sha256
from semfed_secure.privacy.declared import verify_declaration
from semfed_secure.server.round import RoundInput, RoundState, following
from semfed_secure.units import OutputKind, PrivacyDeclaration, PrivacyUnit
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    ITEM_TYPES,
    STATEMENT_LIMITS,
    Contribution,
    ContributionStatement,
    MessageType,
    Payload,
    PrivacyFloor,
    RoundManifest,
    commit,
    contribution_limits,
    parse_contribution,
    parse_payload,
    parse_statement,
    payload_limits,
    statement_info,
)
from semfed_secure.wire.prompts import is_readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from semfed_secure.crypto.keys import OpeningKey
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import Digest, FederationId, MemberId, RoundId
    from semfed_secure.wire.cose import SignedMessage
    from semfed_secure.wire.prompts import PromptSet

MAX_CHARACTERS_PER_TOKEN = 32
"""Longest run of text that one generated token may stand for; a longer answer was not made as the manifest says."""


@dataclass(frozen=True, slots=True)
class RoundTerms:
    """What the server signed about a round, and where the round stands."""

    manifest: RoundManifest
    prompt_set: PromptSet
    state: RoundState


@dataclass(frozen=True, slots=True)
class AdmissionContext:
    """Everything that admission may look at besides the bytes.

    Attributes:
        federation: Ours.
        round_id: The round that the sender addressed.
        terms: Its terms, or None for a round that we do not know.
        pinned: The roster that the round's manifest names.
        current: The newest roster, for revocations since.
        key: The key that opens what is sealed to this round, or None if it is destroyed.
        max_body_bytes: The server's own limit; the round's may be lower.
        now: The present.
        standing: Statement digest of what a member committed to or had admitted in this round, if there is anything.
    """

    federation: FederationId
    round_id: RoundId
    terms: RoundTerms | None
    pinned: Roster
    current: Roster
    key: OpeningKey | None
    max_body_bytes: int
    now: datetime
    standing: Callable[[MemberId], Digest | None]


class _Gate:
    """Held by everything that came through a step of this module; nobody else makes one."""


_GATE = _Gate()


@dataclass(frozen=True, slots=True)
class _Passed:
    gate: _Gate = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a shortcut."""
        if self.gate is not _GATE:
            raise TypeError("contributions come through the steps of semfed_secure.server.admission only")


@dataclass(frozen=True, slots=True)
class UnverifiedContribution:
    """Well-formed bytes; nothing in it is anybody's yet."""

    contribution: Contribution
    envelope: SignedMessage
    statement: ContributionStatement


@dataclass(frozen=True, slots=True)
class AuthenticContribution(_Passed):
    """A statement for this round that its member signed. Only `authenticate` makes one."""

    contribution: Contribution
    statement: ContributionStatement
    terms: RoundTerms
    member: MemberRecord


@dataclass(frozen=True, slots=True)
class AcceptedStatement(_Passed):
    """A statement that this round takes; of a round of texts, a commitment. Only `accept` makes one."""

    contribution: Contribution
    statement: ContributionStatement
    terms: RoundTerms
    member: MemberRecord
    key: OpeningKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdmittedBundle(_Passed):
    """Outputs that passed every step. Only `admit` makes one."""

    statement: ContributionStatement
    member: MemberRecord
    payload: Payload
    payload_bytes: bytes


def body_limit(terms: RoundTerms | None, max_body_bytes: int) -> int:
    """Largest body that step 1 lets pass; known before the first byte is read."""
    if terms is None:
        return max_body_bytes
    return min(max_body_bytes, contribution_limits(terms.manifest.kind, terms.manifest.prompt_count).max_bytes)


def read_contribution(body: bytes, context: AdmissionContext) -> UnverifiedContribution:
    """Steps 1 to 3.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    # 1. size
    limit = body_limit(context.terms, context.max_body_bytes)
    if len(body) > limit:
        raise PeerError("SF301", f"a contribution of at most {limit} bytes was expected", limit_bytes=limit)
    # 2. strict decode
    contribution = parse_contribution(body, limits=Limits(max_bytes=limit))
    envelope = parse_signed(contribution.statement, limits=signed_limits(STATEMENT_LIMITS))
    # 3. version
    return UnverifiedContribution(contribution, envelope, parse_statement(envelope.payload))


def authenticate(unverified: UnverifiedContribution, context: AdmissionContext) -> AuthenticContribution:
    """Steps 4 to 7: whose is it, and is it for this round.

    Raises:
        PeerError: ``SF304`` to ``SF307``.
    """
    statement = unverified.statement
    # 4. federation and round, open now for this
    terms = _open_terms(unverified, context)
    # 5. manifest
    if not _repeats_terms(statement, terms.manifest):
        _refuse(5, "the terms of the manifest that this server signed were expected")
    # 6. member
    member = context.pinned.member(statement.sender, role=Role.CLIENT, at=context.now)
    if context.current.sequence > context.pinned.sequence and context.current.revoked(member, at=context.now):
        _refuse(6, "a member that is not revoked since the round was opened was expected")
    if terms.manifest.place_of(statement.sender) is None:
        _refuse(6, "a member of one of the round's groups was expected")
    # 7. signatures
    named = statement.signing_key_id
    # A member that changed its key since has one record on the pinned roster and another on the newest: both decide.
    stands = context.current.counts(statement.sender, named, at=context.now)
    keys = [key for key in member.signing_keys if key.key_id == named and stands]
    verify_envelope(MessageType.STATEMENT, unverified.envelope, keys, limits=STATEMENT_LIMITS)
    return AuthenticContribution(_GATE, unverified.contribution, statement, terms, member)


def accept(authentic: AuthenticContribution, context: AdmissionContext) -> AcceptedStatement:
    """Steps 8 to 10: whether this round takes what the statement says.

    Raises:
        PeerError: ``SF308`` to ``SF310``.
    """
    statement = authentic.statement
    # 8. recipient
    key = context.key
    if key is None or statement.recipient_key_id != key.key_id or len(statement.ciphertext_digests) != 1:
        _refuse(8, "a bundle sealed to the key of this round alone was expected")
    # 9. equivocation
    if context.standing(statement.sender) not in {None, statement.digest}:
        _refuse(9, "the contribution that stands already was expected, found another of the same member")
    # 10. declared privacy
    if not _meets(statement.privacy, authentic.terms.manifest.dp_floor):
        _refuse(10, "privacy at or above the floor of the round was expected to be declared")
    return AcceptedStatement(_GATE, authentic.contribution, statement, authentic.terms, authentic.member, key)


def admit(accepted: AcceptedStatement) -> AdmittedBundle:
    """Steps 11 to 15: what is in it.

    Raises:
        PeerError: ``SF311`` to ``SF315``.
    """
    statement, manifest, sealed = accepted.statement, accepted.terms.manifest, accepted.contribution.sealed
    # 11. ciphertext
    if not carries_signed_blobs(accepted.contribution, statement):
        _refuse(11, "the ciphertext that was signed was expected")
    # 12. open
    plaintext = open_sealed(sealed[0], info=statement_info(statement), key=accepted.key)
    # 13. commitment
    payload = _decode(plaintext, manifest)
    if commit(payload.salt, plaintext) != statement.commitment:
        _refuse(13, "the payload that was committed to was expected")
    # 14. shape and range
    _check_shape(payload, statement, accepted.terms)
    # 15. content
    for text in payload.texts:
        if text is not None:
            _check_content(text, manifest)
    return AdmittedBundle(_GATE, statement, accepted.member, payload, plaintext)


def carries_signed_blobs(contribution: Contribution, statement: ContributionStatement) -> bool:
    """Whether the sealed blobs are those whose digests the sender signed: step 11."""
    return tuple(sha256(blob) for blob in contribution.sealed) == statement.ciphertext_digests


def happening_of(contribution: Contribution, kind: OutputKind) -> RoundInput:
    """What a well-formed body would be to a round of ``kind``: texts without their blobs are a commitment."""
    return RoundInput.COMMIT if kind is OutputKind.TEXT and not contribution.sealed else RoundInput.CONTRIBUTE


def _open_terms(unverified: UnverifiedContribution, context: AdmissionContext) -> RoundTerms:
    terms, statement = context.terms, unverified.statement
    if statement.federation != context.federation or statement.round_id != context.round_id or terms is None:
        _refuse(4, "a contribution to a known round of this federation was expected")
    manifest, opening = terms.manifest, terms.state is RoundState.OPENING
    if following(terms.state, happening_of(unverified.contribution, manifest.kind), manifest.kind) is None:
        _refuse(4, "a contribution that follows from where the round stands was expected")
    closes = manifest.opening_ends_at_ms if opening else manifest.closes_at_ms
    assert closes is not None  # INVARIANT: the table opens only rounds of texts, and their manifests say until when
    if not manifest.opens_at_ms <= to_ms(context.now) < closes:
        _refuse(4, "a contribution to a round that is open now was expected")
    if opening and context.standing(statement.sender) != statement.digest:
        _refuse(4, "what was committed to in time was expected")
    return terms


def _repeats_terms(statement: ContributionStatement, manifest: RoundManifest) -> bool:
    return (statement.manifest_digest, statement.nonce, statement.prompt_set_digest, statement.kind) == (
        manifest.digest,
        manifest.nonce,
        manifest.prompt_set_digest,
        manifest.kind,
    )


def _meets(declared: PrivacyDeclaration, floor: PrivacyFloor) -> bool:
    return (
        declared.mechanism in floor.mechanisms
        and declared.epsilon <= Decimal(floor.max_epsilon)
        and declared.delta <= Decimal(floor.max_delta)
        and declared.unit in {floor.unit, PrivacyUnit.ORGANISATION}  # hiding a whole organisation hides each entity
        and declared.relation is floor.relation
        and _may_be_true(declared)
    )


def _may_be_true(declared: PrivacyDeclaration) -> bool:
    try:
        verify_declaration(declared)
    except ConfigurationError:
        return False
    return True


def _decode(plaintext: bytes, manifest: RoundManifest) -> Payload:
    try:
        return parse_payload(plaintext, limits=payload_limits(manifest.kind, manifest.prompt_count))
    except PeerError:
        # Without its salt there is no commitment to compare: what does not decode has the wrong shape.
        _refuse(14, "a payload for the prompt set of the round was expected")


def _check_shape(payload: Payload, statement: ContributionStatement, terms: RoundTerms) -> None:
    manifest, prompt_set = terms.manifest, terms.prompt_set
    outputs = payload.votes if manifest.kind is OutputKind.VOTES else payload.texts
    if payload.kind is not manifest.kind or not len(outputs) == statement.item_count == manifest.prompt_count:
        _refuse(14, "one output, or an abstention, for each prompt was expected")
    if (statement.dtype, statement.scale) != (ITEM_TYPES[manifest.kind], 1):
        _refuse(14, "the element type of the round's output kind was expected")
    for vote, prompt in zip(payload.votes, prompt_set.prompts, strict=False):  # votes are empty for text
        if vote >= len(prompt_set.candidates_of(prompt)):
            _refuse(14, "votes for candidates of their prompt were expected")


def _check_content(text: str, manifest: RoundManifest) -> None:
    if len(text) > MAX_CHARACTERS_PER_TOKEN * manifest.decoding.max_new_tokens:
        _refuse(15, "a text no longer than the round's decoding can make was expected")
    if not is_readable(text):
        _refuse(15, "readable text was expected")
    try:
        found = bool(scan(text))
    except Exception:  # noqa: BLE001 - a detector that breaks has not said that the text is clean
        found = True
    if found:
        _refuse(15, "text without personal or financial identifiers was expected")


def _refuse(step: int, sentence: str) -> NoReturn:
    raise PeerError(f"SF3{step:02d}", sentence, step=step)
