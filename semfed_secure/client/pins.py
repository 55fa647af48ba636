"""What a site has seen once and will not let change unnoticed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from semfed_secure.errors import IntegrityError, PeerError, SemfedError
from semfed_secure.ids import DIGEST_BYTES, Digest, hex_digest
from semfed_secure.storage.pin_rows import list_pins, read_pin, replace_pin

if TYPE_CHECKING:
    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import KeyId
    from semfed_secure.storage import Transaction

ROOT, POLICY, MODEL, ACTIVE_ADAPTER = "federation-root", "policy", "model", "active-adapter"
_ROSTER, _SERVER_LOG, _KEY = "roster", "server-log", "signing-key"
_NAMES = frozenset({ROOT, POLICY, MODEL, ACTIVE_ADAPTER, _ROSTER, _SERVER_LOG, _KEY})
_CHANGED: dict[str, tuple[type[SemfedError], str]] = {
    ROOT: (PeerError, "SF322"),
    POLICY: (IntegrityError, "SF522"),
    MODEL: (IntegrityError, "SF521"),
}


def require_names(tx: Transaction) -> None:
    """Accept only pins under the names that are read here: under another name one would be forgotten and set anew.

    Raises:
        IntegrityError: SF531.
    """
    if any(row.name not in _NAMES for row in list_pins(tx)):
        raise IntegrityError("SF531", "a stored pin stands under a name that this software does not give")


def expected_digest(tx: Transaction, name: str, *, named: Digest | None) -> Digest | None:
    """The one that the site file names on purpose, else the pinned one; None before the first."""
    stands = read_pin(tx, name)
    return named if named is not None or stands is None else Digest(stands)


def require_pinned(tx: Transaction, name: str, observed: Digest, *, named: Digest | None) -> None:
    """Accept only the expected digest, or the first one.

    Raises:
        PeerError: SF322 for another federation root.
        IntegrityError: SF522 for another policy, SF521 for another model.
    """
    expected = expected_digest(tx, name, named=named)
    if expected is not None and expected != observed:
        raise changed(name, expected, f"found {hex_digest(observed)}", observed=hex_digest(observed))


def changed(name: str, expected: Digest, found: str, **fields: object) -> SemfedError:
    """The error for something that is not the pinned one."""
    kind, code = _CHANGED[name]
    printed = hex_digest(expected)
    return kind(code, f"{name} {printed} was expected, {found}", expected=printed, **fields)


def hold(tx: Transaction, name: str, observed: Digest, *, named: Digest | None) -> bool:
    """Pin ``observed`` if it is the first or was named on purpose; say whether the pin moved.

    A digest that is neither the pinned one nor the one that the site file names is refused; one that differs from
    what the site file names is refused even at first.

    Raises:
        PeerError: SF322 for another federation root.
        IntegrityError: SF522 for another policy, SF521 for another model.
    """
    require_pinned(tx, name, observed, named=named)
    stands = read_pin(tx, name)
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


def is_new_key(tx: Transaction, key_id: KeyId) -> bool:
    """Whether this site signed with another key before, or with none; from now on it signs with this one."""
    stands = read_pin(tx, _KEY)
    return stands != key_id.encode() and replace_pin(tx, _KEY, expected=stands, value=key_id.encode())


def server_checkpoint(tx: Transaction) -> str | None:
    """The newest checkpoint of the server's log that this site verified."""
    stored = read_pin(tx, _SERVER_LOG)
    try:
        return None if stored is None else stored.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError("SF531", "the stored checkpoint of the server's log is damaged") from error


def keep_server_checkpoint(tx: Transaction, *, before: str | None, note: str) -> bool:
    """Replace the checkpoint that was compared with; false if another process moved it meanwhile."""
    expected = None if before is None else before.encode()
    return replace_pin(tx, _SERVER_LOG, expected=expected, value=note.encode())
