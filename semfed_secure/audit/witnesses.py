"""Who vouches for a log: members that hold it to what they saw before and cosign its checkpoints.

A cosignature (C2SP ``tlog-cosignature``) states that this checkpoint was, at its time, the largest that the witness had
seen of the log, and consistent with all before. Two histories of one log cannot both be vouched for by the same honest
witness, whoever holds the log's keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.notes import Checkpoint, NoteSignature, parse_checkpoint, parse_note, verify_cosignature
from semfed_secure.clock import to_ms
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import PeerError
from semfed_secure.identity.records import MemberRecord, Role

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.identity.roster import Roster

FRESH_SECONDS = 7 * 86_400
"""How long a cosignature counts. A log that is forked behind its last cosignatures goes unnoticed no longer than that:
newer ones are needed, and no honest witness gives them to both histories."""
AHEAD_SECONDS = 300
"""By how much the clock of a witness may be fast."""


def verify_witness(
    checkpoint: Checkpoint, signature: NoteSignature, roster: Roster, *, server: MemberRecord, now: datetime
) -> MemberRecord:
    """Accept only a fresh cosignature of exactly this checkpoint by a present witness; its record.

    A witness is a member of the roster with that role, of another organisation than the log's own: one that has another
    domain.

    Raises:
        PeerError: ``SF306`` the key is not a present witness's; ``SF328`` it did not sign this, or not lately.
    """
    for member in roster.members(role=Role.WITNESS, at=now):
        key = LogVerificationKey.parse(member.log_key)
        if key.name == signature.name and member.domain != server.domain:
            age = to_ms(now) // 1000 - verify_cosignature(checkpoint, signature, key)
            if not -AHEAD_SECONDS <= age <= FRESH_SECONDS:
                raise PeerError("SF328", f"a cosignature of the last {FRESH_SECONDS // 86_400} days was expected")
            return member
    raise PeerError("SF306", "the cosignature of a present witness of another organisation was expected")


def vouching(
    note: str, roster: Roster, *, server: MemberRecord, now: datetime
) -> tuple[tuple[MemberRecord, NoteSignature], ...]:
    """The witnesses that vouch for a checkpoint now, one of each organisation, with their lines of ``note``.

    Lines of anybody else, old ones and bad ones count for nothing; that the log itself signed is the business of
    `semfed_secure.audit.notes.verify_checkpoint`.

    Raises:
        PeerError: ``SF328`` it is no checkpoint.
    """
    parsed = parse_note(note)
    checkpoint = parse_checkpoint(parsed.text)
    found: dict[str, tuple[MemberRecord, NoteSignature]] = {}
    for signature in parsed.signatures:
        try:
            member = verify_witness(checkpoint, signature, roster, server=server, now=now)
        except PeerError:
            continue
        found.setdefault(member.domain, (member, signature))
    return tuple(found.values())
