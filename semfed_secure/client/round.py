"""The client's side of a round without I/O: bytes in, verified objects out.

Nothing here reads a clock, a disk or a network; whoever holds a `VerifiedRound` or a `VerifiedConsensus` holds
something whose every signature and digest was checked against the pinned federation root.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NoReturn

from semfed_secure.audit.merkle import root_over
from semfed_secure.crypto.keys import SealingKey
from semfed_secure.crypto.signing import verify
from semfed_secure.errors import PeerError, SemfedError
from semfed_secure.identity.records import MemberRecord, Role
from semfed_secure.identity.roster import Roster, verify_roster
from semfed_secure.ids import Digest, MemberId, RoundId, parse_digest, sha256
from semfed_secure.units import Aggregation, OutputKind
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    COMMITMENTS_LIMITS,
    CONSENSUS_LIMITS,
    MANIFEST_LIMITS,
    RECEIPT_LIMITS,
    Commitments,
    Consensus,
    MessageType,
    Outcome,
    PromptStatus,
    Receipt,
    RoundManifest,
    parse_commitments,
    parse_consensus,
    parse_manifest,
    parse_receipt,
)
from semfed_secure.wire.prompts import PromptSet, parse_prompt_set

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from semfed_secure.identity.root import FederationRoot
    from semfed_secure.wire.cbor import Limits
    from semfed_secure.wire.messages import ConsensusRule, PromptResult
    from semfed_secure.wire.prompts import Prompt

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


class _Proof:
    """Held by everything that was verified here; nobody else makes one."""


_PROOF = _Proof()


def _require_proof(proof: object) -> None:
    if proof is not _PROOF:
        raise TypeError("what a server says is verified in semfed_secure.client.round only")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified:
    proof: _Proof = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what nobody verified."""
        _require_proof(self.proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedManifest(_Verified):
    """The terms of a round that the roster's server signed, and that roster. Only `verify_manifest` makes one."""

    manifest: RoundManifest
    roster: Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRound(_Verified):
    """Verified terms with the prompt set that they name. Only `verify_round` makes one."""

    manifest: RoundManifest
    manifest_digest: Digest
    prompts: PromptSet
    server: MemberRecord
    member: MemberRecord
    roster: Roster
    recipient: SealingKey

    @property
    def place(self) -> int:
        """Which of the round's consensuses this site has a part in."""
        place = self.manifest.place_of(self.member.member_id)
        assert place is not None  # `verify_manifest` refuses a round whose groups leave this site out
        return place

    @property
    def group(self) -> str | None:
        """The name of the group that this site answers in; None where all form one consensus."""
        return self.manifest.groups[self.place].name if self.manifest.groups else None

    @property
    def labels(self) -> tuple[str, ...]:
        """What a model learns to choose from: the labels of all prompts, but of proposed candidates none.

        Those are texts of one prompt each, and no wrong answers to the others.
        """
        return () if self.manifest.candidates_from is not None else self.prompts.all_candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt(Receipt):
    """The server's signed answer to this site's own statement. Only `verify_receipt` makes one."""

    proof: _Proof = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what nobody verified."""
        _require_proof(self.proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCommitments(Commitments):
    """The server's signed list of commitments, with this site's own in it. Only `verify_commitments` makes one."""

    proof: _Proof = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what nobody verified."""
        _require_proof(self.proof)

    @property
    def root(self) -> Digest:
        """What the server's log and the consensus say of the list."""
        return Digest(root_over(self.statements))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedConsensus(_Verified):
    """A consensus of ``round`` that its server signed, one result per prompt. Only `verify_consensus` makes one."""

    round: VerifiedRound
    consensus: Consensus

    @property
    def results(self) -> tuple[PromptResult, ...]:
        """What this site's own group came to, or everybody."""
        return self.consensus.results[self.round.place]

    @property
    def admitted_count(self) -> int:
        """The contributions that `results` rest on."""
        return self.consensus.admitted_counts[self.round.place]


def verify_manifest(data: bytes, roster: bytes, *, trust: Trust, round_id: RoundId, now: datetime) -> VerifiedManifest:
    """Verify a round's announcement against the pinned federation root.

    Steps: 1 roster, signed by the root's threshold, in force, not older than one seen; 2 the server we ask is a valid
    server on it, and we a valid client; 3 manifest signed by that server's key; 4 it is of this federation and the
    round we asked for; 5 it names a roster we can have seen; 6 it carries the key that outputs are sealed to, which its
    signatures make the server's own for this round; 7 its groups, where it has any, are of clients of that roster, with
    us among them; 8 it asks for something that this client gives.

    Raises:
        PeerError: SF322 for the roster, SF306 for a membership, of a group too, SF321 for a key that is not the
            server's, SF324 for the manifest.
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
    if _recipient(manifest).suite is not server.suite:  # the policy judges the suite of the server's record
        _refuse("SF324", f"a key of the server's own suite {server.suite} to seal to was expected")
    # 7
    named = {member for group in manifest.groups for member in group.members}
    clients = {record.member_id for record in verified.records if Role.CLIENT in record.roles}
    # Who stood on an older roster is not known here any more; this site may have come since.
    current = manifest.roster_sequence == verified.sequence
    if current and not named <= clients:
        _refuse("SF324", "groups of clients of the roster were expected")
    if manifest.place_of(trust.member_id) is None:
        _refuse("SF324" if current else "SF306", "this site was expected in one of the round's groups")
    # 8
    if manifest.kind not in SUPPORTED_KINDS or manifest.aggregation is not Aggregation.DIRECT:
        _refuse("SF324", f"this client takes no part in {manifest.kind} by {manifest.aggregation} aggregation")
    return VerifiedManifest(manifest=manifest, roster=verified, proof=_PROOF)


def verify_round(announced: VerifiedManifest, prompts: bytes, *, trust: Trust, now: datetime) -> VerifiedRound:
    """Join a verified manifest with the prompt set that it names.

    Raises:
        PeerError: SF327 if the prompt set is another one, SF306 if a membership ended meanwhile.
    """
    manifest, roster = announced.manifest, announced.roster
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
        recipient=_recipient(manifest),
        proof=_PROOF,
    )


def verify_receipt(
    data: bytes, *, round_: VerifiedRound, statement_digest: Digest, outcomes: Collection[Outcome]
) -> VerifiedReceipt:
    """Verify that the round's server answered exactly this statement, by one of ``outcomes``.

    A commitment and what it committed to are of one statement: the answer to the first is none to the second.

    The log index and proof in it are checked against the server's log by `semfed_secure.client.server_log`.

    Raises:
        PeerError: SF326; SF321 if another key signed it.
    """
    payload = _verify(MessageType.RECEIPT, data, round_.server, RECEIPT_LIMITS, code="SF326")
    try:
        receipt = parse_receipt(payload)
    except PeerError as error:
        raise _recoded("SF326", error) from error
    if receipt.statement_digest != statement_digest or receipt.round_id != round_.manifest.round_id:
        _refuse("SF326", "the receipt of this site's own statement was expected")
    if receipt.outcome not in outcomes:
        _refuse("SF326", f"the answer to what was sent was expected, found that it is {receipt.outcome}")
    return VerifiedReceipt(**_fields(receipt), proof=_PROOF)


def verify_commitments(data: bytes, *, round_: VerifiedRound, statement_digest: Digest) -> VerifiedCommitments:
    """Verify that the round's server closed its commitments with this site's own among them.

    Whoever holds the result may send what it committed to: whatever is committed to from now on is not in the list,
    and the consensus names the root of the list. Its place in the server's log is checked by
    `semfed_secure.client.server_log`.

    Raises:
        PeerError: SF329; SF321 if another key signed it.
    """
    payload = _verify(MessageType.COMMITMENTS, data, round_.server, COMMITMENTS_LIMITS, code="SF329")
    try:
        commitments = parse_commitments(payload)
    except PeerError as error:
        raise _recoded("SF329", error) from error
    if (commitments.manifest_digest, commitments.round_id) != (round_.manifest_digest, round_.manifest.round_id):
        _refuse("SF329", "the closed commitments of this round's manifest were expected")
    if statement_digest not in commitments.statements:
        _refuse("SF329", "this site's own statement was expected among the closed commitments")
    return VerifiedCommitments(**_fields(commitments), proof=_PROOF)


def verify_consensus(
    data: bytes, *, round_: VerifiedRound, commitments_root: Digest | None = None
) -> VerifiedConsensus:
    """Verify a consensus: signed by the round's server, of this manifest, one possible result per prompt and group.

    Where this site opened its commitment, the consensus is of the very list (``commitments_root``) that it had seen.
    A label of a round of votes is one of its prompt's candidates, and an agreed result has the support and margin that
    the manifest's rule demands, from no fewer clients of its group than it demands. A round of proposals agrees on
    nothing, and no other has candidates.

    Raises:
        PeerError: SF325; SF321 if another key signed it.
    """
    payload = _verify(MessageType.CONSENSUS, data, round_.server, CONSENSUS_LIMITS, code="SF325")
    try:
        consensus = parse_consensus(payload)
    except PeerError as error:
        raise _recoded("SF325", error) from error
    manifest = round_.manifest
    if consensus.manifest_digest != round_.manifest_digest or consensus.round_id != manifest.round_id:
        _refuse("SF325", "the consensus of this round's manifest was expected")
    if commitments_root is not None and consensus.commitments_root != commitments_root:
        _refuse("SF325", "the consensus of the closed commitments that this site has seen was expected")
    if len(consensus.results) != manifest.consensuses:
        _refuse("SF325", f"results of {manifest.consensuses} groups were expected")
    parts = zip(consensus.results, consensus.admitted_counts, manifest.groups or (None,), strict=True)
    for results, admitted, group in parts:
        if group is not None and admitted > len(group.members):
            _refuse("SF325", f"no more contributions than {group.name} has members were expected")
        _require_possible(results, admitted, round_)
    return VerifiedConsensus(round=round_, consensus=consensus, proof=_PROOF)


def _require_possible(results: tuple[PromptResult, ...], admitted: int, round_: VerifiedRound) -> None:
    rule, prompts = round_.manifest.rule, round_.prompts.prompts
    if len(results) != len(prompts):
        _refuse("SF325", f"{len(prompts)} results were expected")
    for prompt, result in zip(prompts, results, strict=True):
        if result.status is PromptStatus.PROPOSED:
            _require_proposed(result, rule)
        elif result.status is PromptStatus.AGREED:
            _require_agreed(result, prompt, round_)
    formed = any(result.status in {PromptStatus.AGREED, PromptStatus.PROPOSED} for result in results)
    if formed and admitted < rule.min_clients:
        _refuse("SF325", f"results of at least {rule.min_clients} clients were expected")


def _require_proposed(result: PromptResult, rule: ConsensusRule) -> None:
    if rule.name != "proposals" or len(result.candidates) > rule.max_candidates:
        _refuse("SF325", f"at most {rule.max_candidates} proposed candidates of a prompt were expected")


def _require_agreed(result: PromptResult, prompt: Prompt, round_: VerifiedRound) -> None:
    kind, rule = round_.manifest.kind, round_.manifest.rule
    if rule.name == "proposals":
        _refuse("SF325", "a round of proposals agrees on no label")
    if kind is OutputKind.VOTES and result.label not in round_.prompts.candidates_of(prompt):
        _refuse("SF325", "an agreed label is none of its prompt's candidates")
    if result.support_ppm < rule.min_support_ppm or result.margin_ppm < rule.min_margin_ppm:
        _refuse("SF325", "an agreed label lacks the support that the manifest's rule demands")


def _fields(message: Receipt | Commitments) -> dict[str, Any]:
    return {each.name: getattr(message, each.name) for each in fields(message)}


def _recipient(manifest: RoundManifest) -> SealingKey:
    try:
        return SealingKey.parse(manifest.recipient_key)
    except PeerError as error:
        raise _recoded("SF324", error) from error


def _verify(kind: MessageType, data: bytes, server: MemberRecord, limits: Limits, *, code: str) -> bytes:
    try:
        return verify(kind, data, server.signing_keys, limits=limits).payload
    except PeerError as error:
        raise _recoded("SF321" if _names_another_key(data, server, limits) else code, error) from error


def _names_another_key(data: bytes, server: MemberRecord, limits: Limits) -> bool:
    """Whether a message that does not verify says that a key signed it which the roster does not give the server."""
    try:
        signatures = parse_signed(data, limits=signed_limits(limits)).signatures
    except PeerError:
        return False
    known = {parse_digest(key.key_id) for key in server.signing_keys}
    return any(signature.key_id not in known for signature in signatures)


def _recoded(code: str, error: SemfedError) -> PeerError:
    """The client's own code for a message that failed a lower check, which stays in ``cause``."""
    return PeerError(code, error.message, cause=error.code)


def _refuse(code: str, sentence: str) -> NoReturn:
    raise PeerError(code, sentence)
