"""Which entries may lose their content when their time to be kept is over, and which never may, and why.

A closed table beside the catalogue: a type without a place here fails a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.catalogue import EventType

if TYPE_CHECKING:
    from collections.abc import Mapping

PRUNABLE = frozenset({
    EventType.REPORT_CREATED,
    EventType.DECISION,
    EventType.DATASET_OPENED,
    EventType.TRAINING_STARTED,
    EventType.TRAINING_FINISHED,
    EventType.DETECTOR_SUMMARY,
    EventType.LABELS_REFUSED,
    EventType.ADAPTER_KEPT,
    EventType.ADAPTER_ROLLED_BACK,
    EventType.PEOPLE_NAMED,
})  # fmt: skip
"""What tells of the daily work of a site and its people, and what nothing else is held against.

It may only grow: a type that is taken out turns every removal that counted it into a false one.
"""

_LOG = "the log itself: who wrote, verified, exported, held and pruned it"
_POLICY = "releases name a policy by its digest, and these entries say which version that was"
_ROUND = "a round is told once, and members compare what they were shown of it"
_BUNDLE = "what left one member and reached another: `semfed audit reconcile` compares both sides"
_LEDGER = "the privacy ledger is held against them, from the first charge to the last"
_TRUST = "whose keys counted from when to when: signatures are read by it"

KEPT: Mapping[EventType, str] = {
    EventType.LOG_STARTED: _LOG,
    EventType.LOG_STOPPED: _LOG,
    EventType.LOG_VERIFIED: _LOG,
    EventType.LOG_COSIGNED: _LOG,
    EventType.LOG_EXPORTED: _LOG,
    EventType.LOG_CLOCK_BACK: _LOG,
    EventType.LOG_REPAIRED: _LOG,
    EventType.LOG_PRUNED: _LOG,
    EventType.LOG_HELD: _LOG,
    EventType.LOG_HOLD_LIFTED: _LOG,
    EventType.POLICY_LOADED: _POLICY,
    EventType.POLICY_REJECTED: _POLICY,
    EventType.PROMPTS_REVIEWED: "the log is the only record of who approved or refused a prompt set",
    EventType.PRIVACY_AUDITED: "the privacy card cites it",
    EventType.BUDGET_RESERVED: _LEDGER,
    EventType.BUDGET_COMMITTED: _LEDGER,
    EventType.BUDGET_REFUSED: _LEDGER,
    EventType.BUNDLE_RELEASED: _BUNDLE,
    EventType.BUNDLE_SENT: _BUNDLE,
    EventType.BUNDLE_COMMITTED: _BUNDLE,
    EventType.BUNDLE_ADMITTED: _BUNDLE,
    EventType.BUNDLE_REJECTED: _BUNDLE,
    EventType.BUNDLE_DELETED: _BUNDLE,
    EventType.RECEIPT_RECEIVED: _BUNDLE,
    EventType.PEER_REFUSED: _BUNDLE,
    EventType.ROUND_OPENED: _ROUND,
    EventType.COMMITMENTS_CLOSED: _ROUND,
    EventType.COMMITMENTS_VERIFIED: _ROUND,
    EventType.ROUND_CLOSED: _ROUND,
    EventType.ROUND_ABORTED: _ROUND,
    EventType.CONSENSUS_PUBLISHED: _ROUND,
    EventType.CONSENSUS_VERIFIED: _ROUND,
    EventType.CONSENSUS_REFUSED: _ROUND,
    EventType.STANDING_RESET: _ROUND,
    EventType.LABELS_ACCEPTED: _ROUND,
    EventType.ROSTER_SIGNED: _TRUST,
    EventType.ROSTER_ACCEPTED: _TRUST,
    EventType.ROSTER_REFUSED: _TRUST,
    EventType.MEMBER_INVITED: _TRUST,
    EventType.MEMBER_ADDED: _TRUST,
    EventType.MEMBER_ROTATED: _TRUST,
    EventType.MEMBER_REFUSED: _TRUST,
    EventType.MEMBER_REVOKED: _TRUST,
    EventType.AUTHORITY_FOUNDED: _TRUST,
    EventType.CERTIFICATE_ISSUED: _TRUST,
    EventType.CERTIFICATE_REFUSED: _TRUST,
    EventType.KEY_CREATED: _TRUST,
    EventType.KEY_LOADED: _TRUST,
    EventType.KEY_DESTROYED: _TRUST,
    EventType.PERSON_ERASED: "that somebody was forgotten must be shown for as long as the log is",
}
"""Why the content of an entry of this type always stays."""
