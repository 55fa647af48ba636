"""The root's log entries: one event for each thing that the root did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.clock import from_ms, to_iso
from semfed_secure.ids import hex_digest, sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.errors import SemfedError
    from semfed_secure.identity.enrolment import Application, Invitation, Invitee
    from semfed_secure.identity.federation_files import SignedRoster
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.identity.roster import Revocation
    from semfed_secure.ids import KeyId

ACTOR = "root"
"""Who acts in this log."""


def key_event(kind: EventType, key_id: KeyId, suite: str, purpose: str) -> Event:
    """A key was made or opened."""
    details = {"key_id": key_id, "suite": suite, "purpose": purpose}
    return Event(type=kind, outcome="success", actor=ACTOR, target=key_id, details=details)


def invited_event(invitation: Invitation) -> Event:
    """A token was made."""
    return Event(
        type=EventType.MEMBER_INVITED,
        outcome="success",
        actor=ACTOR,
        target=invitation.invitee.member_id,
        details={
            "token_digest": invitation.token_key_id,
            "expires_at": to_iso(invitation.expires_at),
            **granted(invitation.invitee),
        },
    )


def enrolled_event(kind: EventType, application: Application, introduced_by: str) -> Event:
    """A record was taken into the roster; ``introduced_by`` says who vouched for its keys."""
    details = _described(application) | {"introduced_by": introduced_by}
    return Event(type=kind, outcome="success", actor=ACTOR, target=application.member.member_id, details=details)


def refused_event(application: Application | None, error: SemfedError) -> Event:
    """A record was not taken."""
    return Event(
        type=EventType.MEMBER_REFUSED,
        outcome="denied",
        actor=ACTOR,
        target=None if application is None else application.member.member_id,
        codes=(error.code,),
        reason=error.message,
        details={} if application is None else _described(application),
    )


def revoked_event(revocation: Revocation, number: int, signed: SignedRoster) -> Event:
    """A member was revoked; its number is its place in the roster's list, which only grows."""
    return Event(
        type=EventType.MEMBER_REVOKED,
        outcome="success",
        actor=ACTOR,
        target=revocation.member_id,
        reason=revocation.reason,
        details={
            "number": number,
            "record_sequence": revocation.up_to_sequence,
            "at": to_iso(from_ms(revocation.at_ms)),
            "roster_digest": hex_digest(signed.roster.digest),
        },
    )


def signed_event(signed: SignedRoster, keys: Sequence[SigningKey]) -> Event:
    """A roster was signed."""
    roster = signed.roster
    return Event(
        type=EventType.ROSTER_SIGNED,
        outcome="success",
        actor=ACTOR,
        details={
            "roster_digest": hex_digest(roster.digest),
            "sequence": roster.sequence,
            "expires_at": to_iso(from_ms(roster.expires_at_ms)),
            "members": len(roster.records),
            "revocations": len(roster.revocations),
            "signed_by": [key.key_id for key in keys],
        },
    )


def granted(to: Invitee | MemberRecord) -> dict[str, object]:
    """What only the root grants: in an invitation's entry, and in that of the record which it lets in."""
    return {"roles": sorted(to.roles), "domain": to.domain, "jurisdiction": to.jurisdiction}


def _described(application: Application) -> dict[str, object]:
    member = application.member
    details = granted(member) | {
        "record_digest": hex_digest(sha256(application.record)),
        "sequence": member.sequence,
        "key_ids": [key.key_id for key in member.signing_keys],
    }
    if application.token_key_id is not None:
        details["token_digest"] = application.token_key_id
    if member.overlap_until_ms is not None:
        details["overlap_until"] = to_iso(from_ms(member.overlap_until_ms))
    return details
