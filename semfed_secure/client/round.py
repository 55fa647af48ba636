"""The client's side of a round without I/O: bytes in, verified objects out.

Nothing here reads a clock, a disk or a network; whoever holds a `VerifiedRound` or a `VerifiedConsensus` holds
something whose every signature and digest was checked against the pinned federation root.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from semfed_secure.clock import from_ms, to_iso, to_ms
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import ConsensusError, PeerError, SemfedError
from semfed_secure.identity.records import MemberRecord, Role
from semfed_secure.identity.roster import Roster, verify_roster
from semfed_secure.ids import Digest, MemberId, RoundId, sha256
from semfed_secure.units import Aggregation, OutputKind
from semfed_secure.wire.messages import (
    CONSENSUS_LIMITS,
    MANIFEST_LIMITS,
    RECEIPT_LIMITS,
    Consensus,
    MessageType,
    PromptStatus,
    Receipt,
    RoundManifest,
    parse_consensus,
    parse_manifest,
    parse_receipt,
)
from semfed_secure.wire.prompts import PromptSet, parse_prompt_set

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.identity.root import FederationRoot
    from semfed_secure.units import Mechanism
    from semfed_secure.wire.cbor import Limits

SUPPORTED_KINDS = frozenset({OutputKind.VOTES, OutputKind.TEXT})


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client believes before the server says anything: the pinned root, who it is, whom it asks.

    ``last_roster_sequence`` and ``last_roster_digest`` are of the newest roster it has seen (0 and None at first).
    """

    root: FederationRoot
    member_id: MemberId
    server_id: MemberId
    last_roster_sequence: int
    last_roster_digest: Digest | None


@dataclass(frozen=True, slots=True)
class VerifiedRound:
    """A round whose manifest the roster's server signed, with the prompt set that the manifest names.

    Only `verify_round` makes one.
    """

    manifest: RoundManifest
    manifest_digest: Digest
    prompts: PromptSet
    server: MemberRecord
    member: MemberRecord
    roster: Roster


@dataclass(frozen=True, slots=True)
class VerifiedConsensus:
    """A consensus of ``round`` that its server signed, one result per prompt. Only `verify_consensus` makes one."""

    round: VerifiedRound
    consensus: Consensus


def verify_manifest(
    data: bytes, roster: bytes, *, trust: Trust, round_id: RoundId, now: datetime
) -> tuple[RoundManifest, Roster]:
    """Verify a round's announcement against the pinned federation root.

    Steps: 1 roster, signed by the root's threshold, in force, not older than one seen; 2 the server we ask is a valid
    server on it, and we a valid client; 3 manifest signed by that server's key; 4 it is of this federation and the
    round we asked for; 5 it names a roster we can have seen; 6 outputs would be sealed to that server; 7 it asks for
    something that this client gives.

    Raises:
        PeerError: SF322 for the roster, SF306 for a membership, SF324 for the manifest.
    """
    # 1
    verified = verify_roster(
        roster,
        root=trust.root,
        now=now,
        last_sequence=trust.last_roster_sequence,
        last_digest=trust.last_roster_digest,
    )
    # 2
    server = verified.member(trust.server_id, role=Role.SERVER, at=now)
    verified.member(trust.member_id, role=Role.CLIENT, at=now)
    # 3
    payload = _verify(MessageType.MANIFEST, data, server, MANIFEST_LIMITS, code="SF324")
    try:
        manifest = parse_manifest(payload)
    except PeerError as error:
        raise _recoded("SF324", error) from error
    # 4
    if manifest.federation != trust.root.federation or manifest.round_id != round_id:
        _refuse("SF324", f"the manifest of {trust.root.federation}/{round_id} was expected")
    # 5
    if manifest.roster_sequence > verified.sequence:
        _refuse("SF322", "the manifest names a newer roster than the server shows")
    if manifest.roster_sequence == verified.sequence and manifest.roster_digest != verified.digest:
        _refuse("SF322", "the manifest names another roster of the same sequence")
    # 6
    if server.sealing_key is None or manifest.recipient_key_id != server.sealing_key.key_id:
        _refuse("SF324", "outputs would be sealed to a key that is not the server's")
    # 7
    if manifest.kind not in SUPPORTED_KINDS or manifest.aggregation is not Aggregation.DIRECT:
        _refuse("SF324", f"this client takes no part in {manifest.kind} by {manifest.aggregation} aggregation")
    return manifest, verified


def verify_round(
    manifest: RoundManifest, roster: Roster, prompts: bytes, *, trust: Trust, now: datetime
) -> VerifiedRound:
    """Join a verified manifest with the prompt set that it names.

    Raises:
        PeerError: SF327 if the prompt set is another one, SF306 if a membership ended meanwhile.
    """
    if sha256(prompts) != manifest.prompt_set_digest:
        _refuse("SF327", "the prompt set that the manifest names was expected")
    try:
        prompt_set = parse_prompt_set(prompts)
    except PeerError as error:
        raise _recoded("SF327", error) from error
    if len(prompt_set.prompts) != manifest.prompt_count:
        _refuse("SF327", f"{manifest.prompt_count} prompts were expected")
    if manifest.kind is OutputKind.VOTES and not all(map(prompt_set.candidates_of, prompt_set.prompts)):
        _refuse("SF327", "candidates of every prompt were expected in a round of votes")
    return VerifiedRound(
        manifest=manifest,
        manifest_digest=manifest.digest,
        prompts=prompt_set,
        server=roster.member(trust.server_id, role=Role.SERVER, at=now),
        member=roster.member(trust.member_id, role=Role.CLIENT, at=now),
        roster=roster,
    )


def require_open(manifest: RoundManifest, now: datetime) -> None:
    """Accept only a round that takes contributions at ``now``.

    Raises:
        ConsensusError: SF401 before it opens, SF404 after it closed.
    """
    if to_ms(now) < manifest.opens_at_ms:
        raise ConsensusError("SF401", f"the round opens at {to_iso(from_ms(manifest.opens_at_ms))}")
    if to_ms(now) >= manifest.closes_at_ms:
        raise ConsensusError("SF404", f"the round closed at {to_iso(from_ms(manifest.closes_at_ms))}")


def require_admissible(manifest: RoundManifest, *, mechanism: Mechanism, epsilon: Decimal, delta: Decimal) -> None:
    """Accept only a round that admits what this site would declare; otherwise the release would be paid for nothing.

    Raises:
        PeerError: SF310.
    """
    floor = manifest.dp_floor
    admitted = mechanism in floor.mechanisms and epsilon <= Decimal(floor.max_epsilon)
    if not admitted or delta > Decimal(floor.max_delta):
        _refuse(
            "SF310",
            f"the round admits epsilon up to {floor.max_epsilon} at delta {floor.max_delta} by "
            f"{', '.join(floor.mechanisms)}; this site would declare {epsilon} at {delta} by {mechanism}",
        )


def verify_receipt(data: bytes, *, round_: VerifiedRound, statement_digest: Digest) -> Receipt:
    """Verify that the round's server answered exactly this statement.

    The log index and proof in it are checked against the server's log by `semfed_secure.client.server_log`.

    Raises:
        PeerError: SF326.
    """
    payload = _verify(MessageType.RECEIPT, data, round_.server, RECEIPT_LIMITS, code="SF326")
    try:
        receipt = parse_receipt(payload)
    except PeerError as error:
        raise _recoded("SF326", error) from error
    if receipt.statement_digest != statement_digest or receipt.round_id != round_.manifest.round_id:
        _refuse("SF326", "the receipt of this site's own statement was expected")
    return receipt


def verify_consensus(data: bytes, *, round_: VerifiedRound) -> VerifiedConsensus:
    """Verify a consensus: signed by the round's server, of this manifest, one possible result per prompt.

    A label of a round of votes is one of its prompt's candidates, and an agreed result has the support and margin
    that the manifest's rule demands, from no fewer clients than it demands.

    Raises:
        PeerError: SF325.
    """
    payload = _verify(MessageType.CONSENSUS, data, round_.server, CONSENSUS_LIMITS, code="SF325")
    try:
        consensus = parse_consensus(payload)
    except PeerError as error:
        raise _recoded("SF325", error) from error
    manifest = round_.manifest
    if consensus.manifest_digest != round_.manifest_digest or consensus.round_id != manifest.round_id:
        _refuse("SF325", "the consensus of this round's manifest was expected")
    if len(consensus.results) != manifest.prompt_count:
        _refuse("SF325", f"{manifest.prompt_count} results were expected")
    agreed = False
    for prompt, result in zip(round_.prompts.prompts, consensus.results, strict=True):
        if result.status is not PromptStatus.AGREED:
            continue
        agreed = True
        if manifest.kind is OutputKind.VOTES and result.label not in round_.prompts.candidates_of(prompt):
            _refuse("SF325", "an agreed label is none of its prompt's candidates")
        if result.support_ppm < manifest.rule.min_support_ppm or result.margin_ppm < manifest.rule.min_margin_ppm:
            _refuse("SF325", "an agreed label lacks the support that the manifest's rule demands")
    if agreed and consensus.admitted_count < manifest.rule.min_clients:
        _refuse("SF325", f"agreement of at least {manifest.rule.min_clients} clients was expected")
    return VerifiedConsensus(round_, consensus)


def _verify(kind: MessageType, data: bytes, server: MemberRecord, limits: Limits, *, code: str) -> bytes:
    try:
        return verify(kind, data, server.signing_keys, limits=limits).payload
    except PeerError as error:
        raise _recoded(code, error) from error


def _recoded(code: str, error: SemfedError) -> PeerError:
    """The client's own code for a message that failed a lower check, which stays in ``cause``."""
    return PeerError(code, error.message, cause=error.code)


def _refuse(code: str, sentence: str) -> NoReturn:
    raise PeerError(code, sentence)
