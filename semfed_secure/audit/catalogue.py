"""Every event that is ever written to a log, and which further facts each may state."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventType(StrEnum):
    """Everything that is ever written to a log."""

    LOG_STARTED = "log.started"
    LOG_STOPPED = "log.stopped"
    LOG_VERIFIED = "log.verified"
    LOG_COSIGNED = "log.cosigned"
    LOG_EXPORTED = "log.exported"
    LOG_CLOCK_BACK = "log.clock_stepped_back"
    LOG_REPAIRED = "log.repaired"
    LOG_PRUNED = "log.pruned"
    LOG_HELD = "log.held"
    LOG_HOLD_LIFTED = "log.hold_lifted"
    REPORT_CREATED = "report.created"
    POLICY_LOADED = "policy.loaded"
    POLICY_REJECTED = "policy.rejected"
    DECISION = "decision"
    DATASET_OPENED = "dataset.opened"
    PROMPTS_REVIEWED = "prompts.reviewed"
    PRIVACY_AUDITED = "privacy.audited"
    TRAINING_STARTED = "training.started"
    TRAINING_FINISHED = "training.finished"
    DETECTOR_SUMMARY = "detector.summary"
    BUDGET_RESERVED = "budget.reserved"
    BUDGET_COMMITTED = "budget.committed"
    BUDGET_REFUSED = "budget.refused"
    BUNDLE_RELEASED = "bundle.released"
    BUNDLE_SENT = "bundle.sent"
    BUNDLE_COMMITTED = "bundle.committed"
    BUNDLE_ADMITTED = "bundle.admitted"
    BUNDLE_REJECTED = "bundle.rejected"
    BUNDLE_DELETED = "bundle.deleted"
    RECEIPT_RECEIVED = "receipt.received"
    ROUND_OPENED = "round.opened"
    COMMITMENTS_CLOSED = "commitments.closed"
    COMMITMENTS_VERIFIED = "commitments.verified"
    ROUND_CLOSED = "round.closed"
    ROUND_ABORTED = "round.aborted"
    CONSENSUS_PUBLISHED = "consensus.published"
    CONSENSUS_VERIFIED = "consensus.verified"
    CONSENSUS_REFUSED = "consensus.refused"
    STANDING_RESET = "standing.reset"
    LABELS_ACCEPTED = "labels.accepted"
    LABELS_REFUSED = "labels.refused"
    ADAPTER_KEPT = "adapter.kept"
    ADAPTER_ROLLED_BACK = "adapter.rolled_back"
    ROSTER_SIGNED = "roster.signed"
    ROSTER_ACCEPTED = "roster.accepted"
    ROSTER_REFUSED = "roster.refused"
    MEMBER_INVITED = "member.invited"
    MEMBER_ADDED = "member.added"
    MEMBER_ROTATED = "member.rotated"
    MEMBER_REFUSED = "member.refused"
    MEMBER_REVOKED = "member.revoked"
    AUTHORITY_FOUNDED = "authority.founded"
    CERTIFICATE_ISSUED = "certificate.issued"
    CERTIFICATE_REFUSED = "certificate.refused"
    KEY_CREATED = "key.created"
    KEY_LOADED = "key.loaded"
    KEY_DESTROYED = "key.destroyed"
    PEOPLE_NAMED = "people.named"
    PERSON_ERASED = "person.erased"
    PEER_REFUSED = "peer.refused"


# What the details of an event may say. `int` and `bool` are numbers and flags; `str` is a name, digest, version or
# decimal; `list` holds short sentences or names; `dict` counts things by kind.
_TRAINING: dict[str, type] = {
    "purpose": str, "model": str, "model_digest": str, "adapter_digest": str, "mechanism": str, "parameters": str,
    "records": int, "entities": int, "examples": int, "epochs": int, "steps": int, "milliseconds": int,
}  # fmt: skip
_BUDGET: dict[str, type] = {
    "charge": int, "key": str, "purpose": str, "period": str, "limit": str, "limit_delta": str, "ledger_digest": str,
}  # fmt: skip
# Size and root of the peer's log, as the checkpoint in its message states them: `semfed audit reconcile` compares.
_CARRIED: dict[str, type] = {"log_size": int, "log_root": str}
_BUNDLE: dict[str, type] = {
    "kind": str, "items": int, "abstained": int, "bytes": int, "aggregation": str, "mechanism": str, "parameters": str,
    "accountant": str, "manifest_digest": str, "prompt_set_digest": str, "recipient_key_id": str, "attempt": int,
    "step": int, "outcome": str, "source": str, "alike": int, **_CARRIED,
}  # fmt: skip
_ROUND: dict[str, type] = {
    "kind": str, "aggregation": str, "prompts": int, "prompt_set_digest": str, "manifest_digest": str,
    "roster_digest": str, "rule": str, "opens_at": str, "closes_at": str, "min_clients": int, "admitted": int,
    "rejected": int, "rejected_by_code": dict, "expected": int, "members": list, "committed": int,
    "commitments_root": str, "opening_ends_at": str, "weights": str, "anchors": int, "anchors_digest": str,
    "groups": list, **_CARRIED,
}  # fmt: skip
_CONSENSUS: dict[str, type] = {
    "kind": str, "manifest_digest": str, "consensus_digest": str, "agreed": int, "contested": int, "too_few": int,
    "admitted": int, "rejected_by_code": dict, "outliers": list, "bytes": int, "report_digest": str, **_CARRIED,
}  # fmt: skip
_ADAPTER: dict[str, type] = {
    "adapter_digest": str, "model_digest": str, "score_before": str, "score_after": str, "max_drop": str,
    "examples": int,
}  # fmt: skip
_ROSTER: dict[str, type] = {
    "roster_digest": str, "sequence": int, "expires_at": str, "members": int, "revocations": int, "signed_by": list,
}  # fmt: skip
_MEMBER: dict[str, type] = {
    "roles": list, "record_digest": str, "sequence": int, "key_ids": list, "token_digest": str, "overlap_until": str,
    "introduced_by": str, "domain": str, "jurisdiction": str,
}  # fmt: skip
_KEY: dict[str, type] = {"key_id": str, "suite": str, "purpose": str}
_LOG: dict[str, type] = {"origin": str, "size": int, "root": str, "path": str, "format": str, "verdict": str}
_POLICY: dict[str, type] = {"version": str, "file": str, "extends": list}
DETAILS: Mapping[EventType, Mapping[str, type]] = MappingProxyType({
    EventType.LOG_STARTED: {"version": str, "role": str, "federation": str, "resumed": bool},
    EventType.LOG_STOPPED: {"version": str, "role": str},
    EventType.LOG_VERIFIED: _LOG,
    EventType.LOG_COSIGNED: {"origin": str, "size": int, "root": str},
    EventType.LOG_EXPORTED: {"format": str, "destination": str, "first": int, "last": int},
    EventType.LOG_CLOCK_BACK: {"seconds": int, "newest": str},
    EventType.LOG_REPAIRED: {"parts": list},
    # Up to entry `last` everything is older than `before`; of these, `count` lost their content, `kinds` of each type.
    # `leaves` is the SHA-256 of their hashes in a row.
    EventType.LOG_PRUNED: {
        "before": str, "keep_days": int, "first": int, "last": int, "count": int, "kinds": dict, "leaves": str,
    },
    EventType.LOG_HELD: {"reference": str, "since": str},
    EventType.LOG_HOLD_LIFTED: {"reference": str},
    EventType.REPORT_CREATED: {"kind": str, "digest": str, "size": int, "root": str},
    EventType.POLICY_LOADED: _POLICY,
    EventType.POLICY_REJECTED: _POLICY,
    EventType.DECISION: {
        "action": str, "decision": str, "version": str, "facts_digest": str, "reasons": list, "obligations": list,
        "approvals": list, "dry_run": bool, "kind": str, "detectors": str,
    },
    EventType.DATASET_OPENED: {
        "dataset": str, "population": str, "classification": str, "records": int, "entities": int,
    },
    EventType.PROMPTS_REVIEWED: {"prompt_set_digest": str, "decision": str, "role": str},
    EventType.PRIVACY_AUDITED: {
        "report_digest": str, "verdict": str, "mechanism": str, "epsilon_claimed": str, "epsilon_found": str,
        "canaries": int,
    },
    EventType.TRAINING_STARTED: _TRAINING,
    EventType.TRAINING_FINISHED: _TRAINING,
    EventType.DETECTOR_SUMMARY: {
        "outputs": int, "scanned": int, "findings": dict, "detectors": list, "kind": str, "failed": bool,
        "dry_run": bool,
    },
    EventType.BUDGET_RESERVED: _BUDGET,
    EventType.BUDGET_COMMITTED: _BUDGET,
    EventType.BUDGET_REFUSED: _BUDGET,
    EventType.BUNDLE_RELEASED: _BUNDLE,
    EventType.BUNDLE_SENT: _BUNDLE,
    EventType.BUNDLE_COMMITTED: _BUNDLE,
    EventType.BUNDLE_ADMITTED: _BUNDLE,
    EventType.BUNDLE_REJECTED: _BUNDLE,
    EventType.BUNDLE_DELETED: {"kind": str, "bytes": int, "keep_days": int},
    EventType.RECEIPT_RECEIVED: _BUNDLE,
    EventType.ROUND_OPENED: _ROUND,
    EventType.COMMITMENTS_CLOSED: _ROUND,
    EventType.COMMITMENTS_VERIFIED: _ROUND,
    EventType.ROUND_CLOSED: _ROUND,
    EventType.ROUND_ABORTED: _ROUND,
    EventType.CONSENSUS_PUBLISHED: _CONSENSUS,
    EventType.CONSENSUS_VERIFIED: _CONSENSUS,
    EventType.CONSENSUS_REFUSED: _CONSENSUS,
    EventType.STANDING_RESET: {},
    EventType.LABELS_ACCEPTED: {"kind": str, "labels": int, "refused": int, "consensus_digest": str},
    EventType.LABELS_REFUSED: {"kind": str, "labels": int, "refused": int, "consensus_digest": str},
    EventType.ADAPTER_KEPT: _ADAPTER,
    EventType.ADAPTER_ROLLED_BACK: _ADAPTER,
    EventType.ROSTER_SIGNED: _ROSTER,
    EventType.ROSTER_ACCEPTED: _ROSTER,
    EventType.ROSTER_REFUSED: _ROSTER,
    EventType.MEMBER_INVITED: {
        "token_digest": str, "expires_at": str, "roles": list, "domain": str, "jurisdiction": str,
    },
    EventType.MEMBER_ADDED: _MEMBER,
    EventType.MEMBER_ROTATED: _MEMBER,
    EventType.MEMBER_REFUSED: _MEMBER,
    EventType.MEMBER_REVOKED: {"number": int, "record_sequence": int, "at": str, "roster_digest": str},
    EventType.AUTHORITY_FOUNDED: {"certificate_digest": str, "expires_at": str},
    EventType.CERTIFICATE_ISSUED: {
        "certificate_digest": str, "expires_at": str, "uri": str, "purpose": str, "hosts": list,
    },
    EventType.CERTIFICATE_REFUSED: {"uri": str},
    EventType.KEY_CREATED: _KEY,
    EventType.KEY_LOADED: _KEY,
    EventType.KEY_DESTROYED: _KEY,
    EventType.PEOPLE_NAMED: {"people": int},
    EventType.PERSON_ERASED: {},
    EventType.PEER_REFUSED: {"count": int, "by_code": dict, "since": str, "until": str, "step": int},
})  # fmt: skip
