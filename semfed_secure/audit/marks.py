"""The signed checkpoints of a log, verified: what the tree over its entries must agree with."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from semfed_secure.audit import findings
from semfed_secure.audit.log import COSIGN_EVERY
from semfed_secure.audit.notes import NoteSignature, VerifiedCheckpoint, parse_note, verify_checkpoint
from semfed_secure.audit.witnesses import FRESH_SECONDS
from semfed_secure.errors import IntegrityError, PeerError

if TYPE_CHECKING:
    from semfed_secure.audit.sources import StoredHead
    from semfed_secure.audit.vouched import Witnesses
    from semfed_secure.crypto.log_keys import LogVerificationKey


class Marks:
    """Signed checkpoints by size.

    Guarantee: every root in `roots` was signed by the owner of the log, and no size has two of them.
    """

    def __init__(self, owner: LogVerificationKey, witnesses: Witnesses) -> None:
        """Begin without any, for the log of ``owner``."""
        self._owner = owner
        self._witnesses = witnesses
        self._lines: list[tuple[int, NoteSignature]] = []
        self.verified: list[VerifiedCheckpoint] = []
        self.roots: dict[int, bytes] = {}

    def add_own(self, note: str, what: str) -> VerifiedCheckpoint:
        """Verify a checkpoint of the log itself: the log's signatures, those of the given witnesses, nothing else."""
        verified = self._add(note, what)
        lines = parse_note(note).signatures
        vouching = [line for line in lines if self._witnesses.cosigned_at(verified.checkpoint, line) is not None]
        if verified.others != len(vouching):
            message = f"the signatures of {what} were changed or added to, or are of witnesses whose keys are not given"
            raise IntegrityError("SF503", message)
        return verified

    def add_kept(self, size: int, note: str) -> None:
        """Verify a checkpoint that the log keeps because it carries both signatures."""
        what = f"the checkpoint kept at {size} entries"
        verified = self.add_own(note, what)
        if verified.checkpoint.size != size:
            raise findings.exchanged_checkpoint(size)
        if self._owner.mldsa44 is not None and verified.cosigned_at is None:
            raise IntegrityError("SF503", f"{what} lacks its post-quantum signature: it was taken away", size=size)

    def add_known(self, note: str) -> None:
        """Verify a checkpoint that somebody else kept, maybe with signatures of witnesses."""
        self._add(note, "a checkpoint kept elsewhere")

    def _add(self, note: str, what: str) -> VerifiedCheckpoint:
        try:
            verified = verify_checkpoint(note, self._owner)
        except PeerError as error:
            raise findings.bad_signature(what) from error
        size, root = verified.checkpoint.size, verified.checkpoint.root
        if self.roots.setdefault(size, root) != root:
            raise findings.forked(size)
        self._lines += [(size, line) for line in parse_note(note).signatures]
        self.verified.append(verified)
        return verified

    def cosigned_size(self, newest: int) -> int:
        """Up to where the post-quantum signature reaches; it may lag by less than one tile."""
        reached = [mark.checkpoint.size for mark in self.verified if mark.cosigned_at is not None]
        largest = max(reached, default=0)
        if self._owner.mldsa44 is not None and largest // COSIGN_EVERY < newest // COSIGN_EVERY:
            raise findings.removed_checkpoints(largest, newest)
        return largest

    def vouched_size(self, head: StoredHead, newest: int, last_time: str | None) -> int:
        """Up to where the given witnesses vouch; what was written since may lag as long as their word counts."""
        lines = [*self._lines, *((size, line) for size, text in head.cosignatures for line in _line(text))]
        size, at = self._witnesses.reach(self._owner.name, self.roots, lines)
        if self._witnesses.quorum and size < newest:
            written = datetime.fromisoformat(last_time).timestamp() if last_time is not None else 0
            if not size or written - at > FRESH_SECONDS:
                raise findings.not_vouched(size, newest, self._witnesses.quorum)
        return size


def _line(text: str) -> tuple[NoteSignature, ...]:
    """A stored cosignature; one that cannot be read vouches for nothing."""
    try:
        return parse_note(f"x\n\n{text}").signatures
    except PeerError:
        return ()
