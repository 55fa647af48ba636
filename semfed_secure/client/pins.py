"""What a site has seen once and will not let change unnoticed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from semfed_secure.errors import IntegrityError, PeerError, SemfedError
from semfed_secure.ids import DIGEST_BYTES, Digest, hex_digest
from semfed_secure.storage.pin_rows import read_pin, replace_pin

if TYPE_CHECKING:
    from semfed_secure.identity.roster import Roster
    from semfed_secure.storage import Transaction

ROOT, POLICY, MODEL = "federation-root", "policy", "model"
_ROSTER, _SERVER_LOG, _SEQUENCE = "roster", "server-log", "statement-sequence"
_CHANGED: dict[str, tuple[type[SemfedError], str]] = {
    ROOT: (PeerError, "SF322"),
    POLICY: (IntegrityError, "SF522"),
    MODEL: (IntegrityError, "SF521"),
}


def hold(tx: Transaction, name: str, observed: Digest, *, named: Digest | None) -> bool:
    """Pin ``observed`` if it is the first or was named on purpose; say whether the pin moved.

    A digest that is neither the pinned one nor the one that the site file names is refused; one that differs from
    what the site file names is refused even at first.

    Raises:
        PeerError: SF322 for another federation root.
        IntegrityError: SF522 for another policy, SF521 for another model.
    """
    stands = read_pin(tx, name)
    expected = named if named is not None else stands
    if expected is not None and expected != observed:
        kind, code = _CHANGED[name]
        sentence = f"{name} {hex_digest(Digest(expected))} was expected, found {hex_digest(observed)}"
        raise kind(code, sentence, expected=hex_digest(Digest(expected)), observed=hex_digest(observed))
    if stands == observed:
        return False
    replace_pin(tx, name, expected=stands, value=observed)
    return True


def last_roster(tx: Transaction) -> tuple[int, Digest | None]:
    """Sequence and digest of the newest roster seen; 0 and None before the first."""
    stored = read_pin(tx, _ROSTER)
    if stored is None:
        return 0, None
    if len(stored) != 8 + DIGEST_BYTES:
        raise IntegrityError("SF531", "the stored roster pin is damaged")
    (sequence,) = struct.unpack(">Q", stored[:8])
    return int(sequence), Digest(stored[8:])


def see_roster(tx: Transaction, roster: Roster) -> None:
    """Remember ``roster`` if it is newer than the newest seen; the pin never goes back."""
    if roster.sequence > last_roster(tx)[0]:
        value = struct.pack(">Q", roster.sequence) + roster.digest
        replace_pin(tx, _ROSTER, expected=read_pin(tx, _ROSTER), value=value)


def server_checkpoint(tx: Transaction) -> str | None:
    """The newest checkpoint of the server's log that this site verified."""
    stored = read_pin(tx, _SERVER_LOG)
    return None if stored is None else stored.decode()


def keep_server_checkpoint(tx: Transaction, *, before: str | None, note: str) -> bool:
    """Replace the checkpoint that was compared with; false if another process moved it meanwhile."""
    expected = None if before is None else before.encode()
    return replace_pin(tx, _SERVER_LOG, expected=expected, value=note.encode())


def next_sequence(tx: Transaction) -> int:
    """A statement sequence that was never given out before; a crash may leave a gap, never a repeat."""
    stored = read_pin(tx, _SEQUENCE)
    following = 1 if stored is None else int.from_bytes(stored, "big") + 1
    replace_pin(tx, _SEQUENCE, expected=stored, value=following.to_bytes(8, "big"))
    return following
