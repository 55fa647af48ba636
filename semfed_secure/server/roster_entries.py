"""The server's log of rosters: which one it took into force, whom that revokes, and which it refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.clock import from_ms, to_iso
from semfed_secure.errors import IntegrityError
from semfed_secure.ids import DIGEST_BYTES, hex_digest
from semfed_secure.storage import pin_rows

if TYPE_CHECKING:
    from semfed_secure.identity.roster import Roster
    from semfed_secure.server.context import ServerContext
    from semfed_secure.storage import Transaction

_LOGGED = "roster/logged"  # eight bytes of sequence, four of how many revocations, then the digest


class RosterEntries:
    """Writes each roster down once, over processes and restarts, and each revocation in it."""

    def __init__(self, context: ServerContext) -> None:
        """Watch the rosters of ``context``."""
        self._context = context
        self._refused: str | None = None

    def note(self) -> None:
        """Write what changed since the last call.

        Raises:
            PeerError: ``SF322`` the newest roster has expired.
            IntegrityError: ``SF502`` the log cannot be written; ``SF531`` the note of the last roster is damaged.
        """
        roster, problem = self._context.rosters.current(), self._context.rosters.problem
        if problem != self._refused:
            if problem is not None:
                self._context.audit.append(self._event(EventType.ROSTER_REFUSED, roster, code=problem))
            self._refused = problem
        with self._context.database.snapshot() as tx:
            if _parse(pin_rows.read_pin(tx, _LOGGED))[0] >= roster.sequence:
                return
        with self._context.database.transaction() as tx:
            self._note_accepted(tx, roster)

    def _note_accepted(self, tx: Transaction, roster: Roster) -> None:
        stands = pin_rows.read_pin(tx, _LOGGED)
        sequence, known = _parse(stands)
        if sequence >= roster.sequence:  # another process was faster
            return
        revoked = [
            Event(
                type=EventType.MEMBER_REVOKED,
                outcome="success",
                actor=self._context.member,
                target=revocation.member_id,
                reason=revocation.reason or None,
                details={
                    "number": number,
                    "record_sequence": revocation.up_to_sequence,
                    "at": to_iso(from_ms(revocation.at_ms)),
                    "roster_digest": hex_digest(roster.digest),
                },
            )
            for number, revocation in enumerate(roster.revocations, 1)
            if number > known
        ]
        self._context.audit.append_all([self._event(EventType.ROSTER_ACCEPTED, roster), *revoked], tx)
        value = roster.sequence.to_bytes(8, "big") + len(roster.revocations).to_bytes(4, "big") + roster.digest
        pin_rows.replace_pin(tx, _LOGGED, expected=stands, value=value)

    def _event(self, kind: EventType, roster: Roster, *, code: str | None = None) -> Event:
        return Event(
            type=kind,
            outcome="success" if code is None else "denied",
            actor=self._context.member,
            codes=() if code is None else (code,),
            reason=None if code is None else f"roster {roster.sequence} stays in force",
            details={
                "roster_digest": hex_digest(roster.digest),
                "sequence": roster.sequence,
                "expires_at": to_iso(from_ms(roster.expires_at_ms)),
                "members": len(roster.records),
                "revocations": len(roster.revocations),
            },
        )


def _parse(stored: bytes | None) -> tuple[int, int]:
    """Sequence and number of revocations of the roster that was logged last; nothing was logged before the first."""
    if stored is None:
        return 0, 0
    if len(stored) != 8 + 4 + DIGEST_BYTES:
        raise IntegrityError("SF531", "the note of the roster that was logged last is damaged")
    return int.from_bytes(stored[:8], "big"), int.from_bytes(stored[8:12], "big")
