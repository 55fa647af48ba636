"""How far a receiver has a log: the signed checkpoint of exactly the entries that it was given, in a file.

A cursor needs no format of its own. Its signature binds it to the log's key, its root to one history: a cursor of
another log, of a log that was set back or of one that was rewritten is refused by the checks that every checkpoint
goes through which others have kept, and `semfed audit verify --known CURSOR` takes it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.notes import MAX_NOTE_BYTES, verify_checkpoint
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.identity.files import read_bounded, replace_file

if TYPE_CHECKING:
    from pathlib import Path


def read_cursor(path: Path | None, verification_key: str) -> tuple[int, tuple[str, ...]]:
    """How many entries the receiver has, and the checkpoint that says so; none of either where there is no file yet.

    Raises:
        ConfigurationError: ``SF102`` the file cannot be read.
        IntegrityError: ``SF503`` it is not a checkpoint that the key of this log signed.
    """
    if path is None or not path.exists():
        return 0, ()
    data = read_bounded(path, MAX_NOTE_BYTES)
    try:
        note = data.decode()
        checkpoint = verify_checkpoint(note, LogVerificationKey.parse(verification_key)).checkpoint
    except (PeerError, UnicodeDecodeError) as error:
        raise IntegrityError("SF503", f"a cursor of this log was expected in {path}: it is of another") from error
    return checkpoint.size, (note,)


def move_cursor(path: Path, checkpoint: str) -> None:
    """Remember durably, in one step, that the receiver has every entry under ``checkpoint``.

    Raises:
        ConfigurationError: ``SF102`` the file cannot be written.
    """
    replace_file(path, checkpoint.encode())
