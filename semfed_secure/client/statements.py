"""The statement over a site's outputs, before they are sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.clock import to_ms
from semfed_secure.wire.messages import ITEM_TYPES, ContributionStatement

if TYPE_CHECKING:
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.units import PrivacyDeclaration


def state_unsealed(
    round_: VerifiedRound, privacy: PrivacyDeclaration, site: Site, *, commitment: bytes
) -> ContributionStatement:
    """What this site says about its outputs, still without the digest of the ciphertext."""
    manifest = round_.manifest
    return ContributionStatement(
        manifest_digest=round_.manifest_digest,
        federation=manifest.federation,
        round_id=manifest.round_id,
        nonce=manifest.nonce,
        prompt_set_digest=manifest.prompt_set_digest,
        kind=manifest.kind,
        sender=site.member_id,
        signing_key_id=site.keys.signing.key_id,
        recipient_key_id=manifest.recipient_key_id,
        created_at_ms=to_ms(site.clock.now()),
        commitment=commitment,
        ciphertext_digests=(),
        item_count=manifest.prompt_count,
        dtype=ITEM_TYPES[manifest.kind],
        scale=1,
        privacy=privacy,
        policy_digest=site.policy.digest,
        log_checkpoint=site.audit.checkpoint(),
    )
