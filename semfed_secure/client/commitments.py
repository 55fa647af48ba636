"""Seeing that a round's commitments are closed: the last thing before texts leave the site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.carried import carried
from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.progress import RoundState, Step, advance, seen_root, state_of
from semfed_secure.client.round import verify_commitments
from semfed_secure.client.server_log import follow, verify_commitments_entry
from semfed_secure.clock import to_ms
from semfed_secure.errors import PeerError
from semfed_secure.ids import hex_digest

if TYPE_CHECKING:
    from semfed_secure.client.round import VerifiedCommitments, VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import Digest

_UNREACHED = frozenset({"SF341", "SF342"})


def see_commitments(round_: VerifiedRound, statement_digest: Digest, site: Site, transport: Transport) -> None:
    """Verify the closed list of commitments, and remember its root before anything follows from it.

    After it this site is in the state `RoundState.OPENED`: the root that it has seen is on its disk and in its log, and
    a consensus over any other list will be refused. Again, it does nothing.

    Raises:
        ConsensusError: SF401, commitments are still taken.
        PeerError: SF329 or SF323, what the server shows does not verify; ``peer.refused`` is in the audit log.
        IntegrityError: SF531, the remembered root is damaged.
    """
    with site.database.snapshot() as tx:
        if seen_root(tx, round_.manifest.round_id) is not None:
            return
    try:
        data = transport.commitments(round_.manifest.round_id)
        commitments = verify_commitments(data, round_=round_, statement_digest=statement_digest)
        checkpoint = follow(site.database, transport, round_.server, commitments.log_checkpoint)
        verify_commitments_entry(transport.log_entry(commitments.log_index, checkpoint.size), commitments, checkpoint)
    except PeerError as error:
        if error.code not in _UNREACHED:
            site.audit.append(_event(EventType.PEER_REFUSED, round_, site, error=error))
        raise
    with site.database.transaction() as tx:
        if state_of(tx, commitments.round_id) is not RoundState.OPENED:
            result = {"root": hex_digest(commitments.root)}
            advance(tx, commitments.round_id, Step.OPEN, result, at_ms=to_ms(site.clock.now()))
            site.audit.append(_event(EventType.COMMITMENTS_VERIFIED, round_, site, commitments=commitments), tx)


def _event(
    kind: EventType,
    round_: VerifiedRound,
    site: Site,
    *,
    commitments: VerifiedCommitments | None = None,
    error: PeerError | None = None,
) -> Event:
    details: dict[str, object] = {}
    if commitments is not None:
        details = {
            "kind": str(round_.manifest.kind),
            "manifest_digest": hex_digest(commitments.manifest_digest),
            "committed": len(commitments.statements),
            "commitments_root": hex_digest(commitments.root),
            **carried(commitments.log_checkpoint),
        }
    return Event(
        type=kind,
        outcome="success" if error is None else "denied",
        actor=site.member_id,
        round_id=round_.manifest.round_id,
        peer=site.server_id,
        peer_entry=None if commitments is None else commitments.log_index,
        codes=() if error is None else (error.code,),
        reason=None if error is None else error.message,
        details=details,
    )
