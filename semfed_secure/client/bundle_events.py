"""What a release leaves in the audit log: counts, digests and codes, never an output."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.audit.carried import carried
from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.decisions import account, privacy_fields
from semfed_secure.ids import Digest, hex_digest
from semfed_secure.wire.messages import ABSTAIN, Outcome

if TYPE_CHECKING:
    from semfed_secure.client.door import ReleasedOutputs
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.screening import Screened
    from semfed_secure.client.site import Site
    from semfed_secure.errors import SemfedError
    from semfed_secure.storage.outbox_rows import OutboxRow
    from semfed_secure.wire.messages import ContributionStatement, Receipt


def screened_event(screened: Screened, round_: VerifiedRound, site: Site, *, dry_run: bool) -> Event:
    """What the detectors read and found, by kind."""
    return Event(
        type=EventType.DETECTOR_SUMMARY,
        outcome="failed" if screened.failed else "success",
        actor=site.member_id,
        round_id=round_.manifest.round_id,
        details={
            "outputs": round_.manifest.prompt_count,
            "scanned": screened.texts,
            "findings": dict(screened.findings),
            "detectors": list(screened.detectors),
            "kind": str(round_.manifest.kind),
            "failed": screened.failed,
            "dry_run": dry_run,
        },
    )


def released_event(released: ReleasedOutputs, statement: ContributionStatement, size: int, site: Site) -> Event:
    """What left the site's hands: written in the transaction that makes it final."""
    abstained = sum(vote == ABSTAIN for vote in released.votes) + sum(text is None for text in released.texts)
    return Event(
        type=EventType.BUNDLE_RELEASED,
        outcome="success",
        actor=site.member_id,
        target=site.config.data.dataset,
        round_id=statement.round_id,
        peer=site.server_id,
        bundle_digest=hex_digest(statement.digest),
        policy_id=site.policy.id,
        policy_digest=hex_digest(site.policy.digest),
        privacy=privacy_fields(site, account(site), released.privacy.mechanism),
        details={
            "kind": str(statement.kind),
            "source": "caller" if released.from_caller else "model",
            "items": statement.item_count,
            "abstained": abstained,
            "alike": released.alike,
            "bytes": size,
            "aggregation": str(released.round.manifest.aggregation),
            "mechanism": str(released.privacy.mechanism),
            "parameters": json.dumps(dict(released.privacy.parameters), sort_keys=True),
            "accountant": released.privacy.accountant,
            "manifest_digest": hex_digest(statement.manifest_digest),
            "prompt_set_digest": hex_digest(statement.prompt_set_digest),
            "recipient_key_id": statement.recipient_key_id,
        },
    )


def sent_event(row: OutboxRow, site: Site) -> Event:
    """The first attempt to send: from here on the server may have the bytes."""
    return Event(
        type=EventType.BUNDLE_SENT,
        outcome="success",
        actor=site.member_id,
        round_id=row.round_id,
        peer=site.server_id,
        bundle_digest=_digest(row),
        details={"bytes": len(row.body), "source": row.kind},
    )


def receipt_event(receipt: Receipt, row: OutboxRow, site: Site) -> Event:
    """The server's verified answer, with the number of its own log entry."""
    refused = receipt.outcome is Outcome.REJECTED
    return Event(
        type=EventType.RECEIPT_RECEIVED,
        outcome="denied" if refused else "success",
        actor=site.member_id,
        round_id=row.round_id,
        peer=site.server_id,
        peer_entry=receipt.log_index,
        bundle_digest=_digest(row),
        codes=() if receipt.code is None else (receipt.code,),
        details={"outcome": str(receipt.outcome), **carried(receipt.log_checkpoint)},
    )


def unanswered_event(error: SemfedError, row: OutboxRow, site: Site) -> Event:
    """The server gave no receipt that verifies; ``SF342`` carries the server's own code beside ours."""
    said = error.fields.get("server_code")
    codes = (error.code, said) if isinstance(said, str) and said else (error.code,)
    return Event(
        type=EventType.RECEIPT_RECEIVED,
        outcome="failed",
        actor=site.member_id,
        round_id=row.round_id,
        peer=site.server_id,
        bundle_digest=_digest(row),
        codes=codes,
        reason=error.message,
    )


def _digest(row: OutboxRow) -> str:
    return hex_digest(Digest(row.statement_digest))
