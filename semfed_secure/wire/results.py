"""What the server answers: a receipt for each contribution, and the consensus of the round."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from semfed_secure.ids import DIGEST_BYTES, Digest, RoundId, sha256
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.manifest import MAX_CHECKPOINT_BYTES, MAX_MEMBERS
from semfed_secure.wire.payload import MAX_TEXT_BYTES
from semfed_secure.wire.prompts import MAX_PROMPTS
from semfed_secure.wire.schema import (
    DIGEST,
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
CONSENSUS_LIMITS = Limits(max_bytes=96 * 1024 * 1024, max_items=64 + 1_024 + 10 * MAX_PROMPTS)


class Outcome(StrEnum):
    """What became of a contribution."""

    ADMITTED = "admitted"
    REJECTED = "rejected"


class PromptStatus(StrEnum):
    """What became of one prompt."""

    AGREED = "agreed"
    CONTESTED = "contested"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The server's signed answer to one contribution, with its place in the server's log.

    ``code`` is the refusal's ``SF3xx`` code, None if admitted; never a reason in words (no oracle).
    """

    statement_digest: Digest
    round_id: RoundId
    outcome: Outcome
    code: str | None
    log_index: int
    log_checkpoint: str
    inclusion_proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PromptResult:
    """The result for one prompt: its pseudo-label if agreed, with the weight behind it in millionths.

    ``support_ppm`` is the winner's share of the weight that answered, ``margin_ppm`` its lead over the next.
    """

    status: PromptStatus
    label: str | None
    support_ppm: int
    margin_ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """The server's signed result of one round, in the order of the prompt set.

    It names no client: ``batch_root`` commits to the admitted statements, ``rejections`` count by code.
    """

    manifest_digest: Digest
    round_id: RoundId
    results: tuple[PromptResult, ...]
    batch_root: Digest
    admitted_count: int
    rejections: tuple[tuple[str, int], ...]
    log_checkpoint: str

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoded consensus; the next round's manifest names it."""
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
    if (receipt.code is None) != (receipt.outcome == Outcome.ADMITTED):
        raise WireValueError("a code exactly for a rejected contribution was expected")


def _label_iff_agreed(result: PromptResult) -> None:
    if (result.label is None) == (result.status == PromptStatus.AGREED):
        raise WireValueError("a label exactly for an agreed prompt was expected")


def _codes_in_order(consensus: Consensus) -> None:
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
            6: ("log_index", whole(0, 2**63 - 1)),
            7: ("log_checkpoint", text(MAX_CHECKPOINT_BYTES)),
            8: ("inclusion_proof", many(octets(DIGEST_BYTES), MAX_PROOF_HASHES)),
        },
        _code_iff_rejected,
    ),
    RECEIPT_LIMITS,
)
_RESULT = record(
    PromptResult,
    {
        1: ("status", choice(PromptStatus)),
        2: ("label", maybe(text(MAX_TEXT_BYTES))),
        3: ("support_ppm", PPM),
        4: ("margin_ppm", PPM),
    },
    _label_iff_agreed,
)
_CONSENSUS = Message(
    MessageType.CONSENSUS.value,
    1,
    record(
        Consensus,
        {
            2: ("manifest_digest", DIGEST),
            3: ("round_id", NAME),
            4: ("results", many(_RESULT, MAX_PROMPTS, 1)),
            5: ("batch_root", DIGEST),
            6: ("admitted_count", whole(0, MAX_MEMBERS)),
            7: ("rejections", many(pair(_CODE, whole(1, 2**31 - 1)), 100)),
            8: ("log_checkpoint", text(MAX_CHECKPOINT_BYTES)),
        },
        _codes_in_order,
    ),
    CONSENSUS_LIMITS,
)
