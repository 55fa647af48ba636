"""Joining a round and collecting its consensus: what is fetched is verified before anything is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.carried import carried
from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.candidates import require_proposed
from semfed_secure.client.decisions import permitted
from semfed_secure.client.facts import history_facts, peer_facts, prompt_facts
from semfed_secure.client.pins import last_roster, see_roster
from semfed_secure.client.progress import RoundState, Step, advance, after, result_of, seen_root, state_of
from semfed_secure.client.requirements import require_open, require_own_key, require_witnesses
from semfed_secure.client.reviews import verdicts_for
from semfed_secure.client.round import (
    Trust,
    VerifiedConsensus,
    VerifiedRound,
    verify_consensus,
    verify_manifest,
    verify_round,
)
from semfed_secure.client.server_log import follow, require_published
from semfed_secure.client.site import CONSENSUS, PROMPTS
from semfed_secure.clock import to_ms
from semfed_secure.errors import ConsensusError, IntegrityError, PeerError
from semfed_secure.identity.files import replace_file
from semfed_secure.ids import Digest, RoundId, hex_digest, sha256
from semfed_secure.policy.facts import Action, Facts
from semfed_secure.wire.messages import PromptStatus

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.audit.notes import LogProof
    from semfed_secure.client.site import Site
    from semfed_secure.client.transport import Transport

_UNREACHED = frozenset({"SF341", "SF342"})
"""The server could not be asked, or would not answer: nothing that it said was wrong."""


def join(site: Site, transport: Transport, round_id: RoundId) -> VerifiedRound:
    """Verify a round's announcement and remember it; again, in another process, the same one or a refusal.

    Only reads are sent: a server cannot tell a site that declines from one that is not there.

    Raises:
        PeerError: SF32x, what the server showed does not verify, SF352, its candidates are not the published ones, or
            SF330, fewer members vouch for its log than the policy demands; ``peer.refused`` is in the audit log. SF307,
            the round would not take this site's key.
        PolicyDenied: SF201, the policy does not let this site take part.
        ConsensusError: SF401 or SF404, a round that was never joined is not open.
    """
    try:
        round_ = _announcement(site, transport, round_id)
        with site.database.transaction() as tx:
            see_roster(tx, round_.roster)
            known = result_of(tx, round_id, Step.JOIN)
        if known is not None:
            _require_same(known, round_)
            return round_
        follow(site.database, transport, round_.server, round_.manifest.log_checkpoint)
        _see_candidates(site, transport, round_)
        witnesses = require_witnesses(round_, site.policy.limits.peers.min_witnesses or 0, site.clock.now())
    except PeerError as error:
        _log_refusal(site, error, round_id)
        raise
    require_open(round_.manifest, site.clock.now())
    require_own_key(round_, site.keys.signing.public, site.clock.now())
    with site.database.snapshot() as tx:
        history = history_facts(tx, site.keys.record, site.clock.now())
        verdicts = verdicts_for(tx, round_.manifest)
    facts = Facts(
        action=Action.JOIN,
        prompts=prompt_facts(round_, verdicts),
        peer=peer_facts(round_, witnesses=witnesses),
        history=history,
        approvals=verdicts.approvals,
    )
    permitted(site, facts, spent=None, round_id=round_id)
    with site.database.transaction() as tx:
        if state_of(tx, round_id) is RoundState.NEW:
            result = {"manifest": hex_digest(round_.manifest_digest)}
            advance(tx, round_id, Step.JOIN, result, at_ms=to_ms(site.clock.now()))
    return round_


def collect(site: Site, transport: Transport, round_: VerifiedRound) -> VerifiedConsensus:
    """Fetch, verify and keep the round's consensus; later calls verify the kept bytes again.

    Raises:
        ConsensusError: SF401 while there is none, SF402 or SF403 if there never will be.
        PeerError: SF325 or SF323, it does not verify; ``consensus.refused`` is in the audit log.
        IntegrityError: SF531, the kept bytes are not the ones that were collected.
    """
    round_id = round_.manifest.round_id
    path = site.directory(CONSENSUS) / f"{round_id}.cose"
    with site.database.snapshot() as tx:
        known = result_of(tx, round_id, Step.COLLECT)
        if known is None:
            after(state_of(tx, round_id), Step.COLLECT)
        root = seen_root(tx, round_id)
    if known is not None:
        return verify_consensus(_kept(path, str(known.get("sha256"))), round_=round_, commitments_root=root)
    try:
        data = transport.consensus(round_id)
        verified = verify_consensus(data, round_=round_, commitments_root=root)
        follow(site.database, transport, round_.server, verified.consensus.log_checkpoint)
        proof = require_published(verified.consensus, transport, site.database, round_.server)
    except ConsensusError as error:
        if error.code in {"SF402", "SF403"}:
            _abort(site, error, round_id)
        raise
    except PeerError as error:
        if error.code not in _UNREACHED:
            site.audit.append(_consensus_event(EventType.CONSENSUS_REFUSED, site, round_id, error=error))
        raise
    # The file is whole before the row that names it: a crash in between fetches it again.
    replace_file(path, data)
    result = {"sha256": hex_digest(sha256(data)), "consensus": hex_digest(verified.consensus.digest)}
    with site.database.transaction() as tx:
        if state_of(tx, round_id) is not RoundState.COLLECTED:
            advance(tx, round_id, Step.COLLECT, result, at_ms=to_ms(site.clock.now()))
            event = _consensus_event(
                EventType.CONSENSUS_VERIFIED, site, round_id, verified=verified, proof=proof, size=len(data)
            )
            site.audit.append(event, tx)
    return verified


def _announcement(site: Site, transport: Transport, round_id: RoundId) -> VerifiedRound:
    with site.database.snapshot() as tx:
        sequence, digest = last_roster(tx)
    trust = Trust(site.root, site.member_id, site.server_id, sequence, digest)
    now = site.clock.now()
    announced = verify_manifest(
        transport.manifest(round_id), transport.roster(), trust=trust, round_id=round_id, now=now
    )
    prompts = _prompts(site, transport, announced.manifest.prompt_set_digest)
    return verify_round(announced, prompts, trust=trust, now=now)


def _see_candidates(site: Site, transport: Transport, round_: VerifiedRound) -> None:
    """Accept candidates that were proposed only as the round that proposed them published them, in the server's log."""
    source = round_.manifest.candidates_from
    if source is None:
        return
    proposals = _announcement(site, transport, source.round_id)
    with site.database.snapshot() as tx:
        root = seen_root(tx, source.round_id)
        joined, seen = (result_of(tx, source.round_id, step) for step in (Step.JOIN, Step.COLLECT))
    if joined is not None:
        _require_same(joined, proposals)
    if seen is not None and seen.get("consensus") != hex_digest(source.consensus_digest):
        raise PeerError("SF352", "the candidates that this site has collected were expected, found others")
    try:
        data = transport.consensus(source.round_id)
    except ConsensusError as error:
        raise PeerError("SF352", "the published candidates of the prompts were expected", cause=error.code) from error
    published = verify_consensus(data, round_=proposals, commitments_root=root)
    require_published(published.consensus, transport, site.database, round_.server)
    require_proposed(round_, published)


def _prompts(site: Site, transport: Transport, digest: Digest) -> bytes:
    """The prompt set, from the state directory if it was fetched before; its digest is checked by `verify_round`."""
    path = site.directory(PROMPTS) / f"{digest.hex()}.cbor"
    if path.is_file():
        data = path.read_bytes()
        if sha256(data) == digest:
            return data
    data = transport.prompts(digest)
    if sha256(data) == digest:
        replace_file(path, data)
    return data


def _require_same(known: dict[str, object], round_: VerifiedRound) -> None:
    if known.get("manifest") != hex_digest(round_.manifest_digest):
        raise PeerError("SF324", "the manifest under which this site joined was expected, found another")


def _kept(path: Path, digest: str) -> bytes:
    data = path.read_bytes() if path.is_file() else b""
    if hex_digest(sha256(data)) != digest:
        raise IntegrityError("SF531", "the stored consensus is not the one that was collected")
    return data


def _abort(site: Site, error: ConsensusError, round_id: RoundId) -> None:
    with site.database.transaction() as tx:
        if state_of(tx, round_id) is not RoundState.ABORTED:
            advance(tx, round_id, Step.ABORT, {"code": error.code}, at_ms=to_ms(site.clock.now()))
            event = Event(
                type=EventType.ROUND_ABORTED,
                outcome="failed",
                actor=site.member_id,
                round_id=round_id,
                peer=site.server_id,
                codes=(error.code,),
                reason=error.message,
            )
            site.audit.append(event, tx)


def _log_refusal(site: Site, error: PeerError, round_id: RoundId) -> None:
    if error.code in _UNREACHED:
        return
    site.audit.append(
        Event(
            type=EventType.PEER_REFUSED,
            outcome="denied",
            actor=site.member_id,
            round_id=round_id,
            peer=site.server_id,
            codes=(error.code,),
            reason=error.message,
        )
    )


def _consensus_event(
    kind: EventType,
    site: Site,
    round_id: RoundId,
    *,
    verified: VerifiedConsensus | None = None,
    error: PeerError | None = None,
    proof: LogProof | None = None,
    size: int = 0,
) -> Event:
    details: dict[str, object] = {}
    if verified is not None:
        statuses = [result.status for result in verified.results]
        details = {
            "kind": str(verified.round.manifest.kind),
            "manifest_digest": hex_digest(verified.round.manifest_digest),
            "consensus_digest": hex_digest(verified.consensus.digest),
            "agreed": statuses.count(PromptStatus.AGREED),
            "contested": statuses.count(PromptStatus.CONTESTED) + statuses.count(PromptStatus.PROPOSED),
            "too_few": statuses.count(PromptStatus.TOO_FEW),
            "admitted": verified.admitted_count,
            "rejected_by_code": dict(verified.consensus.rejections),
            "bytes": size,
        }
    if proof is not None:
        details |= carried(proof.checkpoint)
    return Event(
        type=kind,
        outcome="success" if error is None else "denied",
        actor=site.member_id,
        round_id=round_id,
        peer=site.server_id,
        peer_entry=None if proof is None else proof.index,
        codes=() if error is None else (error.code,),
        reason=None if error is None else error.message,
        details=details,
    )
