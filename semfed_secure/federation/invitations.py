"""Who vouches for a record: an invitation of the federation root, or the key of the member's record before.

Invitations stand in the root's log and nowhere else, so nobody changes one unnoticed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.errors import PeerError
from semfed_secure.federation.entries import granted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from semfed_secure.audit.events import Entry
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.ids import KeyId, MemberId


def require_redeemable(entries: Iterable[Entry], token_key_id: KeyId, member: MemberRecord, *, now: datetime) -> None:
    """Accept only a token that was made for just this member, enrolled nobody yet, and has not expired.

    Args:
        entries: Every entry of the root's log, which verifies.
        token_key_id: The key of the token with which the member's request was made.
        member: The record in it.
        now: The present.

    Raises:
        PeerError: ``SF332`` not a token of ours for this member; ``SF334`` used before; ``SF333`` expired;
            ``SF336`` the record claims what was not invited.
    """
    member_id = member.member_id
    events = [entry.event for entry in entries if entry.event.details.get("token_digest") == token_key_id]
    made = [event for event in events if event.type is EventType.MEMBER_INVITED and event.target == member_id]
    if not made:
        raise PeerError("SF332", f"a token that was made here for {member_id} was expected")
    if any(event.type is EventType.MEMBER_ADDED for event in events):
        raise PeerError("SF334", f"a token of {member_id} that was not used before was expected")
    expires_at = made[0].details["expires_at"]
    if now >= datetime.fromisoformat(expires_at):
        raise PeerError("SF333", f"a token of {member_id} that has not expired was expected, this one did {expires_at}")
    _require_granted(member_id, [name for name, value in granted(member).items() if value != made[0].details[name]])


def require_next(member: MemberRecord, before: MemberRecord) -> None:
    """Accept only what a key may vouch for: the very record before, or the next one with other keys or another term.

    Raises:
        PeerError: ``SF336`` it claims what only the root grants, or another log or suite; ``SF331`` another sequence.
    """
    stays = ("roles", "domain", "jurisdiction", "log_key", "suite")
    _require_granted(member.member_id, [name for name in stays if getattr(member, name) != getattr(before, name)])
    if member != before and member.sequence != before.sequence + 1:
        raise PeerError("SF331", f"a record of {member.member_id} with sequence {before.sequence + 1} was expected")


def _require_granted(member_id: MemberId, others: Sequence[str]) -> None:
    if others:
        raise PeerError("SF336", f"a record of {member_id} with {', '.join(others)} as granted was expected")
