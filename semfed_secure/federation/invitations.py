"""The invitations of a federation root. They stand in its log and nowhere else, so nobody changes one unnoticed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from semfed_secure.audit.events import Entry
    from semfed_secure.ids import KeyId, MemberId


def require_redeemable(entries: Iterable[Entry], token_key_id: KeyId, member_id: MemberId, *, now: datetime) -> None:
    """Accept only a token that was made for ``member_id``, enrolled nobody yet, and has not expired.

    Args:
        entries: Every entry of the root's log, which verifies.
        token_key_id: The key of the token with which the member's request was made.
        member_id: Whose record it holds.
        now: The present.

    Raises:
        PeerError: ``SF332`` not a token of ours for this member; ``SF334`` used before; ``SF333`` expired.
    """
    events = [entry.event for entry in entries if entry.event.details.get("token_digest") == token_key_id]
    made = [event for event in events if event.type is EventType.MEMBER_INVITED and event.target == member_id]
    if not made:
        raise PeerError("SF332", f"a token that was made here for {member_id} was expected")
    if any(event.type is EventType.MEMBER_ADDED for event in events):
        raise PeerError("SF334", f"a token of {member_id} that was not used before was expected")
    expires_at = made[0].details["expires_at"]
    if now >= datetime.fromisoformat(expires_at):
        raise PeerError("SF333", f"a token of {member_id} that has not expired was expected, this one did {expires_at}")
