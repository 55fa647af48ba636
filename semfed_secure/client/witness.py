"""Witnessing: holding the server's log to what this member saw before, and vouching for it with a cosignature.

No member can tell alone that it is shown another log than the others. But an honest witness vouches for one history
only, so sites that demand the word of enough witnesses cannot be shown different ones.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.notes import Checkpoint, Note, cosign
from semfed_secure.client.pins import server_checkpoint
from semfed_secure.client.roster import take_roster
from semfed_secure.client.server_log import follow, verified_checkpoint
from semfed_secure.clock import to_ms
from semfed_secure.errors import PeerError
from semfed_secure.identity.records import Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from semfed_secure.client.office import Office
    from semfed_secure.client.transport import Transport

EVERY_SECONDS = 60.0
"""How often a site that runs looks whether the log has grown."""
AGAIN_SECONDS = 86_400.0
"""How often it vouches anew for a log that has not grown: a cosignature counts for some days only."""
UNREACHED = frozenset({"SF341", "SF342"})
"""The server could not be asked, or would not answer: nothing that it said was wrong."""


def vouch(office: Office, transport: Transport) -> Checkpoint:
    """Cosign the newest checkpoint of the server's log, and hand the cosignature in; the checkpoint.

    Steps: 1 the roster is the newest seen, the server is a server on it and this member a witness; 2 the checkpoint is
    signed by the server and extends the last one that this member saw; 3 it is on the disk, and what is signed is what
    is read from there; 4 the cosignature is in this member's log; 5 the server has taken it. A crash at any point loses
    at most a cosignature: whatever is shown later must extend what is on the disk.

    Raises:
        PeerError: SF322 for the roster, SF306 for the server's role, SF323 for the log, after ``peer.refused`` is in
            this member's log; SF306 for its own role; SF341 or SF342 if the server cannot be asked or does not take it.
    """
    now = office.clock.now()
    # 1
    with _refusals_logged(office):
        roster = take_roster(office, transport.roster())
        server = roster.member(office.server_id, role=Role.SERVER, at=now)
    roster.member(office.member_id, role=Role.WITNESS, at=now)
    office.on_step("witness 1")
    # 2
    with _refusals_logged(office):
        follow(office.database, transport, server, transport.checkpoint())
    office.on_step("witness 2")
    # 3
    with office.database.snapshot() as tx:
        seen = server_checkpoint(tx)
    checkpoint = verified_checkpoint(seen or "", server)
    line = cosign(checkpoint, office.keys.log, at=to_ms(now) // 1000)
    office.on_step("witness 3")
    # 4
    office.audit.append(_event(office, EventType.LOG_COSIGNED, checkpoint=checkpoint))
    office.on_step("witness 4")
    # 5
    try:
        transport.cosign(Note(checkpoint.text, (line,)).encoded)
    except PeerError as error:
        office.audit.append(_event(office, EventType.LOG_COSIGNED, checkpoint=checkpoint, error=error))
        raise
    office.on_step("witness 5")
    return checkpoint


@dataclass(slots=True)
class Vigil:
    """Vouches while a site goes about its rounds, if the site has the role of a witness.

    A server that cannot be asked, or takes no cosignature, does not keep a site from its rounds, nor does a roster that
    no longer gives it the role: the log stays without this witness, and the next look is the next attempt.
    """

    office: Office
    transport: Transport
    _looked_at: datetime | None = None
    _vouched: tuple[str, datetime] | None = None

    def keep(self) -> None:
        """Look whether the log has grown, if it is time to, and vouch for it.

        Raises:
            PeerError: SF322 or SF323, what the server showed does not verify.
        """
        now = self.office.clock.now()
        if Role.WITNESS not in self.office.keys.record.roles or _within(EVERY_SECONDS, self._looked_at, now):
            return
        self._looked_at = now
        try:
            if not self._stands(now):
                self._vouched = vouch(self.office, self.transport).text, now
        except PeerError as error:
            if error.code not in UNREACHED | {"SF306"}:
                raise

    def _stands(self, now: datetime) -> bool:
        """Whether the log still says what was vouched for, and not long ago."""
        if self._vouched is None or not _within(AGAIN_SECONDS, self._vouched[1], now):
            return False
        text, _, _ = self.transport.checkpoint().rpartition("\n\n")
        return f"{text}\n" == self._vouched[0]


@contextmanager
def _refusals_logged(office: Office) -> Iterator[None]:
    try:
        yield
    except PeerError as error:
        if error.code not in UNREACHED:
            office.audit.append(_event(office, EventType.PEER_REFUSED, error=error))
        raise


def _within(seconds: float, before: datetime | None, now: datetime) -> bool:
    return before is not None and 0 <= (now - before).total_seconds() < seconds


def _event(
    office: Office, kind: EventType, *, checkpoint: Checkpoint | None = None, error: PeerError | None = None
) -> Event:
    details: dict[str, object] = {}
    if checkpoint is not None:
        details = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
    return Event(
        type=kind,
        outcome="success" if error is None else ("denied" if checkpoint is None else "failed"),
        actor=office.member_id,
        peer=office.server_id,
        codes=() if error is None else (error.code,),
        reason=None if error is None else error.message,
        details=details,
    )
