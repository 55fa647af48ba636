"""What an entry states of another member's log: the size and root of the checkpoint that a message carried."""

from __future__ import annotations

from semfed_secure.audit.events import MAX_INTEGER
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.errors import PeerError


def carried(note: str) -> dict[str, object]:
    """Size and root of the log that a message's checkpoint is of, as details of the entry about that message.

    Nobody's signature is verified here; a text that is no checkpoint, or one of a size that no log has, states nothing.
    """
    try:
        checkpoint = parse_checkpoint(parse_note(note).text)
    except PeerError:
        return {}
    if checkpoint.size > MAX_INTEGER:
        return {}
    return {"log_size": checkpoint.size, "log_root": checkpoint.root.hex()}
