"""What each type of event is called in the vocabularies of others: OCSF, DICOM and ISO 21089."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from semfed_secure.audit.catalogue import EventType

if TYPE_CHECKING:
    from collections.abc import Mapping


class OcsfClass(Enum):
    """Number and name of a class of OCSF 1.8.0; the number begins with that of its category."""

    FINDING = (2003, "Compliance Finding")
    ENTITY = (3004, "Entity Management")
    LIFECYCLE = (6002, "Application Lifecycle")
    API = (6003, "API Activity")
    DATASTORE = (6005, "Datastore Activity")
    SCAN = (6007, "Scan Activity")

    @property
    def uid(self) -> int:
        """Its number."""
        return self.value[0]


class Dicom(Enum):
    """Codes of DICOM's audit messages, which FHIR and IHE BALP use as types of events."""

    ACTIVITY = ("110100", "Application Activity")
    LOG_USED = ("110101", "Audit Log Used")
    EXPORT = ("110106", "Export")
    IMPORT = ("110107", "Import")
    ALERT = ("110113", "Security Alert")


_Action = Literal["C", "R", "U", "D", "E"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One type of event in the words of others.

    Attributes:
        ocsf: Its class.
        activity: Number of the activity within the class; 99 says "other", and then its name is the event type.
        dicom: Its type.
        action: Created, read, updated, deleted, or executed.
        lifecycle: What happened to a record in its life, by ISO 21089; None where nothing there fits.
    """

    ocsf: OcsfClass
    activity: int
    dicom: Dicom
    action: _Action
    lifecycle: str | None = None


_API_ACTIVITY: Mapping[_Action, int] = {"C": 1, "R": 2, "U": 3, "D": 4, "E": 99}


def _api(action: _Action, dicom: Dicom = Dicom.ACTIVITY, lifecycle: str | None = None) -> Meaning:
    return Meaning(OcsfClass.API, _API_ACTIVITY[action], dicom, action, lifecycle)


def _entity(activity: int, action: _Action, lifecycle: str | None = None) -> Meaning:
    return Meaning(OcsfClass.ENTITY, activity, Dicom.ALERT, action, lifecycle)


_OTHER = 99
_CREATED, _READ, _UPDATED, _DELETED, _ENROLLED, _ACTIVATED = 1, 2, 3, 4, 6, 10  # of managed entities
_ROUND_STEP = _api("U")
_BUDGET = _api("U")
_REFUSAL = _api("E", Dicom.ALERT)

MEANINGS: Mapping[EventType, Meaning] = {
    EventType.LOG_STARTED: Meaning(OcsfClass.LIFECYCLE, 3, Dicom.ACTIVITY, "E"),
    EventType.LOG_STOPPED: Meaning(OcsfClass.LIFECYCLE, 4, Dicom.ACTIVITY, "E"),
    EventType.LOG_VERIFIED: _api("R", Dicom.LOG_USED, "verify"),
    EventType.LOG_COSIGNED: _api("R", Dicom.LOG_USED, "attest"),
    EventType.LOG_EXPORTED: _api("R", Dicom.LOG_USED, "extract"),
    EventType.LOG_CLOCK_BACK: _api("E", Dicom.ALERT),
    EventType.LOG_REPAIRED: _api("U", Dicom.LOG_USED, "restore"),
    EventType.LOG_PRUNED: _api("D", Dicom.LOG_USED, "destroy"),
    EventType.LOG_HELD: _api("U", Dicom.LOG_USED, "hold"),
    EventType.LOG_HOLD_LIFTED: _api("U", Dicom.LOG_USED, "unhold"),
    EventType.REPORT_CREATED: _api("C", Dicom.LOG_USED, "report"),
    EventType.POLICY_LOADED: _entity(_ACTIVATED, "U"),
    EventType.POLICY_REJECTED: _entity(_OTHER, "E"),
    EventType.DECISION: _REFUSAL,
    EventType.DATASET_OPENED: Meaning(OcsfClass.DATASTORE, 1, Dicom.ACTIVITY, "R", "access"),
    EventType.PROMPTS_REVIEWED: _api("R", lifecycle="verify"),
    EventType.PRIVACY_AUDITED: Meaning(OcsfClass.FINDING, 1, Dicom.ALERT, "E"),
    EventType.TRAINING_STARTED: Meaning(OcsfClass.DATASTORE, 1, Dicom.ACTIVITY, "R", "access"),
    EventType.TRAINING_FINISHED: Meaning(OcsfClass.DATASTORE, _OTHER, Dicom.ACTIVITY, "E"),
    EventType.DETECTOR_SUMMARY: Meaning(OcsfClass.SCAN, 2, Dicom.ACTIVITY, "R"),
    EventType.BUDGET_RESERVED: _BUDGET,
    EventType.BUDGET_COMMITTED: _BUDGET,
    EventType.BUDGET_REFUSED: _REFUSAL,
    EventType.BUNDLE_RELEASED: _api("R", Dicom.EXPORT, "disclose"),
    EventType.BUNDLE_SENT: _api("R", Dicom.EXPORT, "transmit"),
    EventType.BUNDLE_COMMITTED: _api("C", Dicom.IMPORT, "receive"),
    EventType.BUNDLE_ADMITTED: _api("C", Dicom.IMPORT, "receive"),
    EventType.BUNDLE_REJECTED: _api("C", Dicom.IMPORT),
    EventType.BUNDLE_DELETED: _api("D", lifecycle="destroy"),
    EventType.RECEIPT_RECEIVED: _api("C", Dicom.IMPORT, "receive"),
    EventType.ROUND_OPENED: _api("C"),
    EventType.COMMITMENTS_CLOSED: _ROUND_STEP,
    EventType.COMMITMENTS_VERIFIED: _api("R", lifecycle="verify"),
    EventType.ROUND_CLOSED: _ROUND_STEP,
    EventType.ROUND_ABORTED: _ROUND_STEP,
    EventType.CONSENSUS_PUBLISHED: _api("R", Dicom.EXPORT, "disclose"),
    EventType.CONSENSUS_VERIFIED: _api("C", Dicom.IMPORT, "verify"),
    EventType.CONSENSUS_REFUSED: _api("C", Dicom.IMPORT),
    EventType.STANDING_RESET: _entity(_UPDATED, "U", "amend"),
    EventType.LABELS_ACCEPTED: _api("C", lifecycle="merge"),
    EventType.LABELS_REFUSED: _REFUSAL,
    EventType.ADAPTER_KEPT: _api("U"),
    EventType.ADAPTER_ROLLED_BACK: _api("U", lifecycle="restore"),
    EventType.ROSTER_SIGNED: _entity(_CREATED, "C", "originate"),
    EventType.ROSTER_ACCEPTED: _entity(_ACTIVATED, "U"),
    EventType.ROSTER_REFUSED: _entity(_OTHER, "E"),
    EventType.MEMBER_INVITED: _entity(_CREATED, "C"),
    EventType.MEMBER_ADDED: _entity(_ENROLLED, "C"),
    EventType.MEMBER_ROTATED: _entity(_UPDATED, "U", "amend"),
    EventType.MEMBER_REFUSED: _entity(_OTHER, "E"),
    EventType.MEMBER_REVOKED: _entity(_DELETED, "D"),
    EventType.AUTHORITY_FOUNDED: _entity(_CREATED, "C", "originate"),
    EventType.CERTIFICATE_ISSUED: _entity(_CREATED, "C", "originate"),
    EventType.CERTIFICATE_REFUSED: _entity(_OTHER, "E"),
    EventType.KEY_CREATED: _entity(_CREATED, "C", "originate"),
    EventType.KEY_LOADED: _entity(_READ, "R", "access"),
    EventType.KEY_DESTROYED: _entity(_DELETED, "D", "destroy"),
    EventType.PEOPLE_NAMED: _api("R", Dicom.LOG_USED, "reidentify"),
    EventType.PERSON_ERASED: _api("D", lifecycle="destroy"),
    EventType.PEER_REFUSED: _REFUSAL,
}
"""Every type of the catalogue has its place here; a test fails for one that has not."""
