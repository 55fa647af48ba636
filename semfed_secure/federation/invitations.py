"""The invitations of a federation root, one row each; a token is used once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from semfed_secure.clock import from_ms, to_iso, to_ms
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.identity.enrolment import Invitation, encode_invitation, parse_invitation
from semfed_secure.storage.pin_rows import read_pin, replace_pin, set_pin_once

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.ids import KeyId, MemberId
    from semfed_secure.storage import Transaction


def store_invitation(tx: Transaction, invitation: Invitation) -> None:
    """Keep a new invitation."""
    set_pin_once(tx, _pin(invitation.token_key_id), encode_invitation(invitation))


def redeem(tx: Transaction, token_key_id: KeyId, member_id: MemberId, *, now: datetime) -> None:
    """Use up the token whose key this is, for a record of ``member_id``; undone if ``tx`` is rolled back.

    Raises:
        PeerError: ``SF332`` not a token of ours for this member; ``SF334`` used before; ``SF333`` expired.
        IntegrityError: ``SF531`` the stored invitation is damaged.
    """
    stored = read_pin(tx, _pin(token_key_id))
    invitation = None if stored is None else _read(stored)
    if invitation is None or invitation.member_id != member_id:
        raise PeerError("SF332", f"a token that was made here for {member_id} was expected")
    if invitation.state != "open":
        raise PeerError("SF334", f"a token of {member_id} that was not used before was expected")
    if to_ms(now) >= invitation.expires_at_ms:
        expired = to_iso(from_ms(invitation.expires_at_ms))
        raise PeerError("SF333", f"a token of {member_id} that has not expired was expected, this one did at {expired}")
    used = encode_invitation(replace(invitation, state="used"))
    replace_pin(tx, _pin(token_key_id), expected=stored, value=used)


def _read(stored: bytes) -> Invitation:
    try:
        return parse_invitation(stored)
    except PeerError as error:
        raise IntegrityError("SF531", "a stored invitation is damaged") from error


def _pin(token_key_id: KeyId) -> str:
    return f"invitation/{token_key_id}"
