"""A member's contribution as a release makes it, without a ledger or policy of its own; for the benchmarks."""

from __future__ import annotations

import secrets
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from semfed_secure.crypto.keys import SealingKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.ids import sha256
from semfed_secure.units import Mechanism, OutputKind, PrivacyDeclaration, PrivacyUnit, Relation
from semfed_secure.wire.messages import (
    ITEM_TYPES,
    SALT_BYTES,
    Contribution,
    ContributionStatement,
    MessageType,
    Payload,
    commit,
    encode_payload,
    encode_statement,
    statement_info,
)

if TYPE_CHECKING:
    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.ids import MemberId
    from semfed_secure.wire.messages import RoundManifest

PRIVACY = PrivacyDeclaration(
    Mechanism.DP_SGD, Decimal("3.5"), Decimal("0.000001"), PrivacyUnit.ENTITY, Relation.ADD_OR_REMOVE_ONE, "rdp"
)
_CHECKPOINT = "x" * 4_000  # one with both log signatures is about as long


def bundle(member: MemberId, key: SigningKey, manifest: RoundManifest, salt: bytes, plaintext: bytes) -> Contribution:
    """``plaintext``, whatever is in it, committed to, sealed and signed by the functions of production."""
    unsealed = ContributionStatement(
        manifest_digest=manifest.digest,
        federation=manifest.federation,
        round_id=manifest.round_id,
        nonce=manifest.nonce,
        prompt_set_digest=manifest.prompt_set_digest,
        kind=manifest.kind,
        sender=member,
        signing_key_id=key.key_id,
        recipient_key_id=manifest.recipient_key_id,
        created_at_ms=manifest.opens_at_ms,
        commitment=commit(salt, plaintext),
        ciphertext_digests=(),
        item_count=manifest.prompt_count,
        dtype=ITEM_TYPES[manifest.kind],
        scale=1,
        privacy=PRIVACY,
        policy_digest=sha256(b"policy"),
        log_checkpoint=_CHECKPOINT,
    )
    sealed = seal(plaintext, info=statement_info(unsealed), to=SealingKey.parse(manifest.recipient_key))
    statement = replace(unsealed, ciphertext_digests=(sha256(sealed),))
    return Contribution(sign(MessageType.STATEMENT, encode_statement(statement), key), (sealed,))


def text_bundle(member: MemberId, key: SigningKey, manifest: RoundManifest, texts: tuple[str, ...]) -> Contribution:
    """The same for a member's answers in a round of texts."""
    salt = secrets.token_bytes(SALT_BYTES)
    return bundle(member, key, manifest, salt, encode_payload(Payload(salt=salt, kind=OutputKind.TEXT, texts=texts)))
