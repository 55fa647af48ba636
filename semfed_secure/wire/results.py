"""What the server answers: a receipt for each contribution, the closed commitments, the consensus of the round."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from semfed_secure.ids import DIGEST_BYTES, Digest, RoundId, sha256
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.manifest import MAX_CHECKPOINT_BYTES, MAX_GROUPS, MAX_MEMBERS
from semfed_secure.wire.payload import MAX_TEXT_BYTES
from semfed_secure.wire.prompts import CANDIDATE, MAX_PROMPTS, MAX_PROPOSED, require_distinct
from semfed_secure.wire.schema import (
    DIGEST,
    MAX_EXACT,
    NAME,
    PPM,
    Message,
    WireValueError,
    choice,
    many,
    maybe,
    octets,
    pair,
    record,
    text,
    whole,
)
from semfed_secure.wire.types import MessageType

MAX_PROOF_HASHES = 64
"""An inclusion path in a log of up to 2**63 entries."""
RECEIPT_LIMITS = Limits(max_bytes=32 * 1024)
COMMITMENTS_LIMITS = Limits(max_bytes=64 * 1024, max_items=64 + MAX_MEMBERS + MAX_PROOF_HASHES)
"""One digest for each of `MAX_MEMBERS`, a checkpoint and a proof."""
CONSENSUS_LIMITS = Limits(max_bytes=96 * 1024 * 1024, max_items=64 + 1_024 + (12 + MAX_PROPOSED) * MAX_PROMPTS)


class Outcome(StrEnum):
    """What became of a contribution."""

    COMMITTED = "committed"
    ADMITTED = "admitted"
    REJECTED = "rejected"


class PromptStatus(StrEnum):
    """What became of one prompt; only ``agreed`` has a label, only ``proposed`` has candidates."""

    AGREED = "agreed"
    PROPOSED = "proposed"
    CONTESTED = "contested"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The server's signed answer to one contribution, with its place in the server's log.

    ``code`` is the refusal's ``SF3xx`` code, None if not rejected; never a reason in words (no oracle).
    """

    statement_digest: Digest
    round_id: RoundId
    outcome: Outcome
    code: str | None
    log_index: int
    log_checkpoint: str
    inclusion_proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitments:
    """The server's signed list of all that a round of texts was committed to, with its place in the server's log.

    It stands before the first payload is sent, and the consensus names its root: nothing that was added after
    somebody's payload was seen can count. The log entry tells the root, so that a second list needs a second entry,
    with which the log does not verify.

    Attributes:
        statements: Digests of the committed statements in ascending order.
    """

    manifest_digest: Digest
    round_id: RoundId
    statements: tuple[Digest, ...]
    log_index: int
    log_checkpoint: str
    inclusion_proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PromptResult:
    """The result for one prompt: its pseudo-label if agreed, with the weight behind it in millionths.

    ``support_ppm`` is the winner's share of the weight that answered, ``margin_ppm`` its lead over the next. What a
    round of proposals gives instead is ``candidates`` to vote on, in an order that tells nothing of who gave them.
    """

    status: PromptStatus
    label: str | None
    support_ppm: int
    margin_ppm: int
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """The server's signed result of one round: of each of its groups, or of all clients, as the manifest says.

    ``results`` are by group and in the order of the prompt set, ``admitted_counts`` say how many answers each group's
    rest on. It names no client: ``batch_root`` commits to the admitted statements, ``rejections`` count by code.
    ``commitments_root`` broke ties: in a round of texts the root of `Commitments`, else the ``batch_root`` itself.
    """

    manifest_digest: Digest
    round_id: RoundId
    results: tuple[tuple[PromptResult, ...], ...]
    batch_root: Digest
    commitments_root: Digest
    admitted_counts: tuple[int, ...]
    rejections: tuple[tuple[str, int], ...]
    log_checkpoint: str

    @property
    def admitted_count(self) -> int:
        """Contributions that were admitted, of all groups."""
        return sum(self.admitted_counts)

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoded consensus; the log entry that publishes it names it."""
        return sha256(encode_consensus(self))


def encode_receipt(receipt: Receipt) -> bytes:
    """The deterministic bytes of ``receipt``; ``SF105`` if a field is out of range."""
    return _RECEIPT.encode(receipt)


def parse_receipt(data: bytes) -> Receipt:
    """Read a receipt payload.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _RECEIPT.parse(data)


def encode_commitments(commitments: Commitments) -> bytes:
    """The deterministic bytes of ``commitments``; ``SF105`` if a field is out of range."""
    return _COMMITMENTS.encode(commitments)


def parse_commitments(data: bytes) -> Commitments:
    """Read the payload of closed commitments.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _COMMITMENTS.parse(data)


def encode_consensus(consensus: Consensus) -> bytes:
    """The deterministic bytes of ``consensus``; ``SF105`` if a field is out of range."""
    return _CONSENSUS.encode(consensus)


def parse_consensus(data: bytes) -> Consensus:
    """Read a consensus payload.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _CONSENSUS.parse(data)


def _code_iff_rejected(receipt: Receipt) -> None:
    if (receipt.code is None) == (receipt.outcome == Outcome.REJECTED):
        raise WireValueError("a code exactly for a rejected contribution was expected")


def _content_of_status(result: PromptResult) -> None:
    if (result.label is None) == (result.status == PromptStatus.AGREED):
        raise WireValueError("a label exactly for an agreed prompt was expected")
    if bool(result.candidates) != (result.status == PromptStatus.PROPOSED):
        raise WireValueError("candidates exactly for a prompt with proposals were expected")
    require_distinct(result.candidates)


def _digests_in_order(commitments: Commitments) -> None:
    if list(commitments.statements) != sorted(set(commitments.statements)):
        raise WireValueError("digests in ascending order without repeats were expected")


def _whole_round(consensus: Consensus) -> None:
    prompts = {len(results) for results in consensus.results}
    if len(prompts) != 1 or len(consensus.admitted_counts) != len(consensus.results):
        raise WireValueError("results of the same prompts and a count for each group were expected")
    if sum(map(len, consensus.results)) > MAX_PROMPTS or sum(consensus.admitted_counts) > MAX_MEMBERS:
        raise WireValueError(f"at most {MAX_PROMPTS} results of {MAX_MEMBERS} members were expected")
    codes = [code for code, _ in consensus.rejections]
    if codes != sorted(set(codes)):
        raise WireValueError("rejections sorted by code without repeats were expected")


_CODE = text(5, "SF[1-5][0-9]{2}")
_RECEIPT = Message(
    MessageType.RECEIPT.value,
    1,
    record(
        Receipt,
        {
            2: ("statement_digest", DIGEST),
            3: ("round_id", NAME),
            4: ("outcome", choice(Outcome)),
            5: ("code", maybe(_CODE)),
            6: ("log_index", whole(0, MAX_EXACT)),
            7: ("log_checkpoint", text(MAX_CHECKPOINT_BYTES)),
            8: ("inclusion_proof", many(octets(DIGEST_BYTES), MAX_PROOF_HASHES)),
        },
        _code_iff_rejected,
    ),
    RECEIPT_LIMITS,
)
_COMMITMENTS = Message(
    MessageType.COMMITMENTS.value,
    1,
    record(
        Commitments,
        {
            2: ("manifest_digest", DIGEST),
            3: ("round_id", NAME),
            4: ("statements", many(DIGEST, MAX_MEMBERS)),
            5: ("log_index", whole(0, MAX_EXACT)),
            6: ("log_checkpoint", text(MAX_CHECKPOINT_BYTES)),
            7: ("inclusion_proof", many(octets(DIGEST_BYTES), MAX_PROOF_HASHES)),
        },
        _digests_in_order,
    ),
    COMMITMENTS_LIMITS,
)
_RESULT = record(
    PromptResult,
    {
        1: ("status", choice(PromptStatus)),
        2: ("label", maybe(text(MAX_TEXT_BYTES))),
        3: ("support_ppm", PPM),
        4: ("margin_ppm", PPM),
        5: ("candidates", many(CANDIDATE, MAX_PROPOSED)),
    },
    _content_of_status,
)
_CONSENSUS = Message(
    MessageType.CONSENSUS.value,
    1,
    record(
        Consensus,
        {
            2: ("manifest_digest", DIGEST),
            3: ("round_id", NAME),
            4: ("results", many(many(_RESULT, MAX_PROMPTS, 1), MAX_GROUPS, 1)),
            5: ("batch_root", DIGEST),
            6: ("commitments_root", DIGEST),
            7: ("admitted_counts", many(whole(0, MAX_MEMBERS), MAX_GROUPS, 1)),
            8: ("rejections", many(pair(_CODE, whole(1, 2**31 - 1)), 100)),
            9: ("log_checkpoint", text(MAX_CHECKPOINT_BYTES)),
        },
        _whole_round,
    ),
    CONSENSUS_LIMITS,
)
