"""Cosignatures of the server's own log: judged, kept, and shown with the checkpoints that they stand under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.audit.witnesses import FRESH_SECONDS, verify_witness, vouching
from semfed_secure.clock import to_ms
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.storage import log_rows
from semfed_secure.storage.cosignature_rows import (
    CosignatureRow,
    cosigned_sizes,
    drop_cosignatures,
    put_cosignature,
    read_cosignatures,
)
from semfed_secure.wire.manifest import MAX_WITNESSES

if TYPE_CHECKING:
    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import MemberId
    from semfed_secure.server.context import ServerContext
    from semfed_secure.storage import Transaction

MAX_COSIGNATURE_BYTES = 8 * 1024
"""A checkpoint with one ML-DSA-44 cosignature has less than four thousand."""


def take_cosignature(context: ServerContext, body: bytes, caller: MemberId | None = None) -> int:
    """Judge a posted cosignature and keep it; the size of the checkpoint that it stands under.

    Steps: 1 a note with one signature; 2 its text is a checkpoint that this log handed out; 3 the signature is a
    present witness's, of exactly this checkpoint, and fresh; 4 a TLS certificate, where there is one, names that
    witness; 5 it is on the disk. The same again changes nothing but its time; nothing is added to the log, which
    would grow by being vouched for.

    Raises:
        PeerError: ``SF328`` at 1 to 3, ``SF306`` at 3 if no present witness has the key, ``SF346`` at 4.
    """
    # 1
    try:
        note = parse_note(body.decode())
    except UnicodeDecodeError as error:
        raise PeerError("SF328", "a signed note was expected") from error
    if len(note.signatures) != 1:
        raise PeerError("SF328", "a checkpoint with one cosignature was expected")
    # 2
    checkpoint = parse_checkpoint(note.text)
    with context.database.snapshot() as tx:
        kept = log_rows.read_checkpoint(tx, checkpoint.size)
    if kept is None or parse_note(kept).text != note.text:
        raise PeerError("SF328", "a checkpoint that this server's log handed out was expected")
    # 3
    now, roster = context.clock.now(), context.rosters.current()
    member = verify_witness(checkpoint, note.signatures[0], roster, server=context.keys.record, now=now)
    # 4
    if caller not in {None, member.member_id}:
        raise PeerError("SF346", f"a cosignature of {caller} was expected on its connection")
    # 5
    row = CosignatureRow(checkpoint.size, member.member_id, note.signatures[0].line, to_ms(now))
    with context.database.transaction() as tx:
        drop_cosignatures(tx, taken_before_ms=to_ms(now) - 1000 * FRESH_SECONDS)
        put_cosignature(tx, row)
    return checkpoint.size


def newest_checkpoint(context: ServerContext) -> str:
    """The newest checkpoint of the log, with what witnesses said of it so far."""
    note = context.audit.checkpoint()
    with context.database.snapshot() as tx:
        lines = _cosignatures(tx, note, parse_checkpoint(parse_note(note).text).size)
    return note + "".join(lines[: 2 * MAX_WITNESSES])  # some may be of one organisation, or count no more


def witnessed_checkpoint(tx: Transaction, context: ServerContext, roster: Roster) -> str:
    """The newest checkpoint for which as many present witnesses vouch as are configured, with their cosignatures.

    Raises:
        PeerError: ``SF330`` there is none.
    """
    quorum, now = context.min_witnesses, context.clock.now()
    for size in cosigned_sizes(tx, at_least=quorum):
        kept = log_rows.read_checkpoint(tx, size)
        if kept is None:  # a log that was set back does not hold what was vouched for
            continue
        found: dict[str, str] = {}
        for line in _cosignatures(tx, kept, size):
            for member, _ in vouching(kept + line, roster, server=context.keys.record, now=now):
                found.setdefault(member.domain, line)
        if len(found) >= quorum:
            return kept + "".join(list(found.values())[:MAX_WITNESSES])
    raise PeerError("SF330", f"{quorum} present witnesses of one checkpoint were expected", quorum=quorum)


def _cosignatures(tx: Transaction, note: str, size: int) -> list[str]:
    lines = [row.line for row in read_cosignatures(tx, size)]
    try:
        for line in lines:
            parse_note(note + line)
    except PeerError as error:
        raise IntegrityError("SF531", "a stored cosignature is damaged") from error
    return lines
