"""The private part of a contribution: the salted outputs, and the body that carries them sealed."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from semfed_secure.units import OutputKind
from semfed_secure.wire.cbor import Limits, Value
from semfed_secure.wire.prompts import MAX_CANDIDATES, MAX_PROMPTS
from semfed_secure.wire.schema import Codec, Message, WireValueError, choice, many, maybe, octets, record, text
from semfed_secure.wire.statement import MAX_RECIPIENTS

SALT_BYTES = 32
ABSTAIN = -1
"""A vote for nothing: abstaining is a value, so the id set of a bundle is always complete."""
MAX_TEXT_BYTES = 4 * 1024
"""One generated answer."""
_TEXT_OVERHEAD_BYTES = 3  # the CBOR head of a string of up to 64 KiB
_FRAME_BYTES = 16 * 1024  # the signed statement, the heads, and the HPKE encapsulation
MAX_SIGNED_STATEMENT_BYTES = 13 * 1024
"""A statement of 8 KiB with two signatures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The outputs of one client for one prompt set, in its order; never printed by ``repr``.

    Attributes:
        salt: 32 random bytes that hide the outputs behind their commitment.
        kind: ``votes`` or ``text``.
        votes: Index of the chosen candidate per prompt, or `ABSTAIN`; empty for text.
        texts: Answer per prompt, or None to abstain; empty for votes.
    """

    salt: bytes = field(repr=False)
    kind: OutputKind
    votes: tuple[int, ...] = field(default=(), repr=False)
    texts: tuple[str | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Contribution:
    """The body of a contribution post: the signed statement and one sealed blob per recipient.

    Without blobs it is a commitment: the statement names the blobs by their digests, and they follow when no more
    commitments are taken.
    """

    statement: bytes
    sealed: tuple[bytes, ...]


def payload_limits(kind: OutputKind, prompt_count: int) -> Limits:
    """What a payload for ``prompt_count`` prompts may take, before it is parsed."""
    per_prompt = 2 if kind is OutputKind.VOTES else MAX_TEXT_BYTES + _TEXT_OVERHEAD_BYTES
    return Limits(max_bytes=1_024 + prompt_count * per_prompt, max_items=64 + prompt_count)


def contribution_limits(kind: OutputKind, prompt_count: int, recipients: int = 1) -> Limits:
    """What a contribution body for ``prompt_count`` prompts may take: admission step 1."""
    sealed = payload_limits(kind, prompt_count).max_bytes + 2 * 1_024
    return Limits(max_bytes=_FRAME_BYTES + recipients * sealed)


def encode_payload(payload: Payload) -> bytes:
    """The deterministic bytes of ``payload``, votes as little-endian int16; ``SF105`` if out of range."""
    return _PAYLOAD.encode(payload)


def parse_payload(data: bytes, *, limits: Limits | None = None) -> Payload:
    """Read an opened payload.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _PAYLOAD.parse(data, limits=limits)


def encode_contribution(contribution: Contribution) -> bytes:
    """The bytes of a contribution post."""
    return _CONTRIBUTION.encode(contribution)


def parse_contribution(data: bytes, *, limits: Limits | None = None) -> Contribution:
    """Read a contribution post; nothing in it is verified yet.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _CONTRIBUTION.parse(data, limits=limits)


def _pack_votes(votes: Any) -> Value:
    if not isinstance(votes, tuple) or len(votes) > MAX_PROMPTS or not all(map(_is_vote, votes)):
        raise WireValueError(f"at most {MAX_PROMPTS} votes of {ABSTAIN} to {MAX_CANDIDATES - 1} were expected")
    return struct.pack(f"<{len(votes)}h", *votes)


def _unpack_votes(value: Any) -> tuple[int, ...]:
    if not isinstance(value, bytes) or len(value) % 2 or len(value) > 2 * MAX_PROMPTS:
        raise WireValueError(f"at most {MAX_PROMPTS} votes of two bytes each were expected")
    votes = struct.unpack(f"<{len(value) // 2}h", value)
    if not all(map(_is_vote, votes)):
        raise WireValueError(f"votes of {ABSTAIN} to {MAX_CANDIDATES - 1} were expected")
    return votes


def _is_vote(vote: Any) -> bool:
    return type(vote) is int and ABSTAIN <= vote < MAX_CANDIDATES


def _one_kind(payload: Payload) -> None:
    filled = {kind for kind, items in ((OutputKind.VOTES, payload.votes), (OutputKind.TEXT, payload.texts)) if items}
    if filled != {payload.kind}:
        raise WireValueError("outputs of the payload's own kind, votes or text, and of no other were expected")


_PAYLOAD = Message(
    "semfed/payload",
    1,
    record(
        Payload,
        {
            2: ("salt", octets(SALT_BYTES)),
            3: ("kind", choice(OutputKind)),
            4: ("votes", Codec(_pack_votes, _unpack_votes)),
            5: ("texts", many(maybe(text(MAX_TEXT_BYTES)), MAX_PROMPTS)),
        },
        _one_kind,
    ),
    payload_limits(OutputKind.TEXT, MAX_PROMPTS),
)
_CONTRIBUTION = Message(
    "semfed/contribution",
    1,
    record(
        Contribution,
        {
            2: ("statement", octets(1, MAX_SIGNED_STATEMENT_BYTES)),
            3: ("sealed", many(octets(1, _PAYLOAD.limits.max_bytes + 2 * 1_024), MAX_RECIPIENTS)),
        },
    ),
    contribution_limits(OutputKind.TEXT, MAX_PROMPTS, MAX_RECIPIENTS),
)
