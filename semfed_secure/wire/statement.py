"""The contribution statement: what a client signs about its sealed outputs, with nothing private in it."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from functools import lru_cache

from semfed_secure.ids import Digest, FederationId, KeyId, MemberId, RoundId, sha256
from semfed_secure.units import Mechanism, OutputKind, PrivacyDeclaration, PrivacyUnit, Relation
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.manifest import NONCE_BYTES
from semfed_secure.wire.prompts import MAX_PROMPTS
from semfed_secure.wire.schema import (
    DECIMAL,
    DIGEST,
    INSTANT_MS,
    KEY_ID,
    NAME,
    Codec,
    Message,
    choice,
    many,
    octets,
    one_of,
    record,
    text,
    text_map,
    whole,
)
from semfed_secure.wire.types import MessageType

COMMITMENT_BYTES = 32
MAX_CLIENT_CHECKPOINT_BYTES = 5 * 1024
"""A client's log checkpoint with its two log signatures; with it, the sealing context stays below 8 KiB."""
MAX_RECIPIENTS = 2
"""The server, and in ``split`` the helper."""
STATEMENT_LIMITS = Limits(max_bytes=8 * 1024)
ITEM_TYPES = {OutputKind.VOTES: "int16", OutputKind.TEXT: "utf-8", OutputKind.EMBEDDING: "int16"}
"""The element type that each output kind travels as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContributionStatement:
    """One client's signed account of one bundle: context, commitment, ciphertext digests, declared privacy.

    It names the manifest, the sender, the recipient and the exact ciphertexts, so a sealed bundle cannot be
    signed by another, stripped, forwarded, or moved to another round.

    Attributes:
        commitment: `commit` over the salted payload; an auditor can be shown the payload later.
        ciphertext_digests: SHA-256 of each sealed blob, in the order of recipients.
        dtype: Element type of the outputs, as in `ITEM_TYPES`.
        scale: Divisor of integer elements; 1 for votes and text.
        privacy: Declared, not proven.
        policy_digest: The policy that permitted the release.
        log_checkpoint: The head of the client's audit log before this release.
    """

    manifest_digest: Digest
    federation: FederationId
    round_id: RoundId
    nonce: bytes
    prompt_set_digest: Digest
    kind: OutputKind
    sender: MemberId
    signing_key_id: KeyId
    recipient_key_id: KeyId
    created_at_ms: int
    commitment: bytes
    ciphertext_digests: tuple[Digest, ...]
    item_count: int
    dtype: str
    scale: int
    privacy: PrivacyDeclaration
    policy_digest: Digest
    log_checkpoint: str

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoded statement: the name of this contribution."""
        return _digest_of(self)


@lru_cache(maxsize=64)  # it is asked for at every step that somebody takes with a contribution
def _digest_of(statement: ContributionStatement) -> Digest:
    return sha256(encode_statement(statement))


def encode_statement(statement: ContributionStatement) -> bytes:
    """The deterministic bytes of ``statement``; ``SF105`` if a field is out of range."""
    return _STATEMENT.encode(statement)


def parse_statement(data: bytes) -> ContributionStatement:
    """Read a statement payload.

    Raises:
        PeerError: ``SF301``, ``SF302`` or ``SF303``.
    """
    return _STATEMENT.parse(data)


def statement_info(statement: ContributionStatement) -> bytes:
    """The HPKE ``info`` of the bundle that ``statement`` describes: all its fields but the ciphertext digests.

    A blob sealed for one statement opens for no statement that differs in any other field. The digests cannot
    be part of it, for they are made from the sealed blob; the same bytes result before and after they are set.
    """
    return _SEALING_CONTEXT.encode(replace(statement, ciphertext_digests=()))


def commit(salt: bytes, payload: bytes) -> bytes:
    """HMAC-SHA256 of the encoded payload under the 32-byte salt that stands inside it.

    Binding (one payload per commitment) and hiding (the salt is secret until the payload is opened).
    """
    return hmac.digest(salt, payload, hashlib.sha256)


_PRIVACY = record(
    PrivacyDeclaration,
    {
        1: ("mechanism", choice(Mechanism)),
        2: ("epsilon", DECIMAL),
        3: ("delta", DECIMAL),
        4: ("unit", choice(PrivacyUnit)),
        5: ("relation", choice(Relation)),
        6: ("accountant", text(32)),
        7: ("parameters", text_map(16, text(32, "[a-z0-9_]+"), text(32))),
    },
)


def _body(min_digests: int, max_digests: int) -> Codec[ContributionStatement]:
    return record(
        ContributionStatement,
        {
            2: ("manifest_digest", DIGEST),
            3: ("federation", NAME),
            4: ("round_id", NAME),
            5: ("nonce", octets(NONCE_BYTES)),
            6: ("prompt_set_digest", DIGEST),
            7: ("kind", choice(OutputKind)),
            8: ("sender", NAME),
            9: ("signing_key_id", KEY_ID),
            10: ("recipient_key_id", KEY_ID),
            11: ("created_at_ms", INSTANT_MS),
            12: ("commitment", octets(COMMITMENT_BYTES)),
            13: ("ciphertext_digests", many(DIGEST, max_digests, min_digests)),
            14: ("item_count", whole(1, MAX_PROMPTS)),
            15: ("dtype", one_of(*sorted(set(ITEM_TYPES.values())))),
            16: ("scale", whole(1, 32_767)),
            17: ("privacy", _PRIVACY),
            18: ("policy_digest", DIGEST),
            19: ("log_checkpoint", text(MAX_CLIENT_CHECKPOINT_BYTES)),
        },
    )


_STATEMENT = Message(MessageType.STATEMENT.value, 1, _body(1, MAX_RECIPIENTS), STATEMENT_LIMITS)
_SEALING_CONTEXT = Message("semfed/sealing-context", 1, _body(0, 0), STATEMENT_LIMITS)
