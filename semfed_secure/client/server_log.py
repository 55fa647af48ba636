"""Holding the server to its log: every checkpoint it shows must extend the last one this site saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType, parse_entry
from semfed_secure.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from semfed_secure.audit.notes import Checkpoint, LogProof, parse_log_proof, verify_checkpoint
from semfed_secure.client.pins import keep_server_checkpoint, server_checkpoint
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import PeerError, SemfedError
from semfed_secure.ids import hex_digest
from semfed_secure.wire.messages import Outcome

if TYPE_CHECKING:
    from semfed_secure.audit.events import Event
    from semfed_secure.client.round import VerifiedCommitments
    from semfed_secure.client.transport import Transport
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.storage import Database
    from semfed_secure.wire.messages import Consensus, Receipt

_RECORDED = {
    Outcome.COMMITTED: EventType.BUNDLE_COMMITTED,
    Outcome.ADMITTED: EventType.BUNDLE_ADMITTED,
    Outcome.REJECTED: EventType.BUNDLE_REJECTED,
}


def follow(database: Database, transport: Transport, server: MemberRecord, note: str) -> Checkpoint:
    """Verify a checkpoint that the server showed, and that it and the last one seen are of one growing log.

    A log that was rolled back, forked or rewritten since this site last looked is refused; the newer of the two
    checkpoints is kept for the next time.

    Raises:
        PeerError: SF323 if the server cannot prove it, SF341 if the server cannot be reached.
    """
    shown = verified_checkpoint(note, server)
    while True:
        with database.snapshot() as tx:
            before = server_checkpoint(tx)
        if before is not None:
            known = verified_checkpoint(before, server)
            older, newer = sorted((known, shown), key=lambda checkpoint: checkpoint.size)
            _require_growth(older, newer, transport)
            if shown.size <= known.size:
                return shown
        with database.transaction() as tx:
            if keep_server_checkpoint(tx, before=before, note=note):
                return shown


def verified_checkpoint(note: str, server: MemberRecord) -> Checkpoint:
    """The checkpoint in a signed note of the server's log.

    Raises:
        PeerError: SF323.
    """
    try:
        return verify_checkpoint(note, LogVerificationKey.parse(server.log_key)).checkpoint
    except PeerError as error:
        raise PeerError("SF323", error.message, cause=error.code) from error


def verify_receipt_entry(entry: bytes, receipt: Receipt, checkpoint: Checkpoint) -> None:
    """Accept only the entry of the server's log that records what the receipt says.

    The server cannot give this site one answer and its log another.

    Raises:
        PeerError: SF326.
    """
    event = _logged(entry, receipt, checkpoint, code="SF326")
    wanted = _RECORDED[receipt.outcome]
    if (event.type, event.bundle_digest, event.round_id) != (
        wanted,
        hex_digest(receipt.statement_digest),
        receipt.round_id,
    ):
        raise PeerError("SF326", "the server's log records another answer than its receipt")


def verify_commitments_entry(entry: bytes, commitments: VerifiedCommitments, checkpoint: Checkpoint) -> None:
    """Accept only the entry of the server's log that records the root of exactly this list.

    Another list for another site needs another entry, and a log with two of one round does not verify
    (`semfed_secure.audit.verify`): whoever reads it detects the server that showed two. Nothing prevents it: the texts
    may be gone by then.

    Raises:
        PeerError: SF329.
    """
    event = _logged(entry, commitments, checkpoint, code="SF329")
    recorded = (event.type, event.round_id, event.details.get("commitments_root"))
    if recorded != (EventType.COMMITMENTS_CLOSED, commitments.round_id, hex_digest(commitments.root)):
        raise PeerError("SF329", "the server's log records other commitments than were shown")


def require_published(consensus: Consensus, transport: Transport, database: Database, server: MemberRecord) -> LogProof:
    """Accept only a consensus that the server's log, which this site follows, says was published; the proof of it.

    A log that publishes two of one round does not verify (`semfed_secure.audit.verify`): who was shown another
    consensus than the others holds the proof of it.

    Raises:
        PeerError: SF325; SF323 or SF341 as `follow`.
    """
    told = transport.consensus_proof(consensus.round_id)
    try:
        proof = parse_log_proof(told)
    except PeerError as error:
        raise PeerError("SF325", error.message, cause=error.code) from error
    checkpoint = follow(database, transport, server, proof.checkpoint)
    entry = transport.log_entry(proof.index, checkpoint.size)
    event = _entry_at(entry, proof.index, proof.path, checkpoint, code="SF325")
    recorded = (event.type, event.round_id, event.details.get("consensus_digest"))
    if recorded != (EventType.CONSENSUS_PUBLISHED, consensus.round_id, hex_digest(consensus.digest)):
        raise PeerError("SF325", "the server's log records another consensus than was shown")
    return proof


def _logged(entry: bytes, message: Receipt | VerifiedCommitments, checkpoint: Checkpoint, *, code: str) -> Event:
    """The event in the entry that ``message`` points to."""
    return _entry_at(entry, message.log_index, message.inclusion_proof, checkpoint, code=code)


def _entry_at(entry: bytes, index: int, proof: tuple[bytes, ...], checkpoint: Checkpoint, *, code: str) -> Event:
    try:
        verify_inclusion(leaf_hash(entry), index=index, size=checkpoint.size, proof=proof, root=checkpoint.root)
        return parse_entry(entry).event
    except SemfedError as error:
        raise PeerError(code, "the entry that was named was expected in the server's log", cause=error.code) from error


def _require_growth(older: Checkpoint, newer: Checkpoint, transport: Transport) -> None:
    try:
        # A log that was rolled back is shorter than what it showed, and cannot prove what it no longer has.
        proof = transport.consistency(older.size, newer.size) if 0 < older.size < newer.size else ()
        verify_consistency(
            old_size=older.size, old_root=older.root, new_size=newer.size, new_root=newer.root, proof=proof
        )
    except PeerError as error:
        if error.code == "SF341":  # not asked is not refused
            raise
        sentence = f"the server's log of size {newer.size} does not extend its log of size {older.size}"
        raise PeerError("SF323", sentence, cause=error.code) from error
