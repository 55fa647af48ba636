"""Bundles that a site has kept for as long as its policy allows: their bytes are deleted when the site is opened.

What was released stays in the audit log as counts and digests. A bundle that still may have to be sent again is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.progress import FINISHED, Step, state_of
from semfed_secure.clock import Clock, to_ms
from semfed_secure.ids import Digest, RoundId, hex_digest
from semfed_secure.storage.outbox_rows import KeptBundle, delete_bytes, list_kept

if TYPE_CHECKING:
    from semfed_secure.audit.log import AuditLog
    from semfed_secure.policy.effective import EffectivePolicy
    from semfed_secure.storage import Database, Transaction

_DAY_MS = 86_400_000


def delete_expired(database: Database, audit: AuditLog, policy: EffectivePolicy, *, clock: Clock, actor: str) -> int:
    """Delete the bytes of bundles that are older than `limits.retention.bundle_days`; how many were deleted.

    Only of those that were answered, or whose round is over. The bytes and the entry about each are one transaction,
    and nothing of them is left in the files of the database.

    Raises:
        IntegrityError: SF502, the database cannot be written; nothing was deleted.
    """
    days = policy.limits.retention.bundle_days
    if days is None:
        return 0
    until_ms = to_ms(clock.now()) - days * _DAY_MS
    with database.snapshot() as tx:
        if not _expired(tx, until_ms):
            return 0
    with database.transaction() as tx:
        expired = _expired(tx, until_ms)
        for bundle in expired:
            delete_bytes(tx, bundle.id)
            audit.append(_event(bundle, policy, days, actor), tx)
    database.forget()
    return len(expired)


def _expired(tx: Transaction, until_ms: int) -> list[KeptBundle]:
    return [
        bundle
        for bundle in list_kept(tx, step=Step.RELEASE, until_ms=until_ms)
        if bundle.state == "answered" or state_of(tx, RoundId(bundle.round_id)) in FINISHED
    ]


def _event(bundle: KeptBundle, policy: EffectivePolicy, days: int, actor: str) -> Event:
    return Event(
        type=EventType.BUNDLE_DELETED,
        outcome="success",
        actor=actor,
        round_id=bundle.round_id,
        bundle_digest=hex_digest(Digest(bundle.statement_digest)),
        policy_id=policy.id,
        policy_digest=hex_digest(policy.digest),
        details={"kind": bundle.kind, "bytes": bundle.size, "keep_days": days},
    )
