"""Message types: the tag that opens a payload and stands in what is signed."""

from __future__ import annotations

from enum import StrEnum


class MessageType(StrEnum):
    """Every signed message; the type is covered by the signature, so none can be taken for another."""

    MANIFEST = "semfed/manifest"
    STATEMENT = "semfed/statement"
    RECEIPT = "semfed/receipt"
    COMMITMENTS = "semfed/commitments"
    CONSENSUS = "semfed/consensus"
    MEMBER_RECORD = "semfed/member-record"
    ENROLMENT = "semfed/enrolment"
    ROSTER = "semfed/roster"
    POLICY_BUNDLE = "semfed/policy-bundle"
