"""Taking a roster from somebody else than the server, who may withhold the one that revokes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.pins import last_roster, see_roster
from semfed_secure.clock import from_ms, to_iso
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import hex_digest

if TYPE_CHECKING:
    from semfed_secure.client.office import Office
    from semfed_secure.identity.roster import Roster


def take_roster(site: Office, data: bytes) -> Roster:
    """Verify a roster file against the pinned root and remember it as the newest seen; again, nothing happens.

    From then on the server has to show this roster or a newer one, whatever it showed before.

    Raises:
        PeerError: SF322, it does not verify, has expired, or is older than one that this site saw.
        IntegrityError: SF502, it cannot be remembered.
    """
    with site.database.transaction() as tx:
        sequence, digest = last_roster(tx)
        roster = verify_roster(data, root=site.root, now=site.clock.now(), last_sequence=sequence, last_digest=digest)
        if roster.sequence > sequence:
            see_roster(tx, roster)
            site.audit.append(_accepted(site, roster), tx)
    return roster


def _accepted(site: Office, roster: Roster) -> Event:
    return Event(
        type=EventType.ROSTER_ACCEPTED,
        outcome="success",
        actor=site.member_id,
        details={
            "roster_digest": hex_digest(roster.digest),
            "sequence": roster.sequence,
            "expires_at": to_iso(from_ms(roster.expires_at_ms)),
            "members": len(roster.records),
            "revocations": len(roster.revocations),
        },
    )
