"""The rosters that the server goes by: the newest one in its file, and the one that each round pinned."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from semfed_secure.clock import from_ms, to_ms
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.identity.files import read_bounded
from semfed_secure.identity.roster import MAX_ROSTER_FILE_BYTES, Roster, verify_roster
from semfed_secure.ids import DIGEST_BYTES, Digest
from semfed_secure.storage.pin_rows import read_pin, replace_pin, set_pin_once

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.clock import Clock
    from semfed_secure.identity.root import FederationRoot
    from semfed_secure.storage import Database, Transaction
    from semfed_secure.wire.messages import RoundManifest

_NEWEST = "roster/newest"  # eight bytes of sequence, then the digest


class RosterKeeper:
    """Reads the roster file again whenever it changes, and remembers the highest sequence over restarts.

    A file that cannot be read, does not verify, or is older than one seen before, changes nothing: the last good
    roster stands until it expires, and `problem` says why the file was refused. One that cannot be read is tried again
    each time, since it may revoke somebody.
    """

    def __init__(self, path: Path, *, root: FederationRoot, database: Database, clock: Clock) -> None:
        """Load the roster.

        Raises:
            ConfigurationError: ``SF102`` the file cannot be read.
            PeerError: ``SF322`` it does not verify.
        """
        self._path, self._root, self._database, self._clock = path, root, database, clock
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self._data, self._roster = self._load()
        self._known: dict[Digest, tuple[Roster, bytes]] = {self._roster.digest: (self._roster, self._data)}
        self.problem: str | None = None
        """Code of the error for which the present file was refused, if it was."""

    @property
    def root(self) -> FederationRoot:
        """The federation root that signs rosters."""
        return self._root

    def current(self) -> Roster:
        """The newest good roster, in force.

        Raises:
            PeerError: ``SF322`` it has expired.
        """
        with self._lock:
            self._refresh()
            if to_ms(self._clock.now()) >= self._roster.expires_at_ms:
                raise PeerError("SF322", "a roster in force was expected, the newest has expired")
            return self._roster

    def data(self) -> bytes:
        """The file of the newest good roster, for clients."""
        with self._lock:
            self._refresh()
            return self._data

    def pin(self, tx: Transaction, roster: Roster) -> None:
        """Keep ``roster``, which `current` gave, for the round that names its digest."""
        with self._lock:
            _, data = self._known[roster.digest]
        set_pin_once(tx, _pin_name(roster.digest), data)

    def pinned(self, manifest: RoundManifest) -> Roster:
        """The roster that a round's manifest names, verified again; it was in force when it was pinned.

        Raises:
            IntegrityError: ``SF531`` our database does not hold that roster.
        """
        with self._lock:
            if manifest.roster_digest in self._known:
                return self._known[manifest.roster_digest][0]
            with self._database.snapshot() as tx:
                data = read_pin(tx, _pin_name(manifest.roster_digest))
            if data is None:
                raise IntegrityError("SF531", "the roster that the round pinned was expected in the database")
            try:
                roster = verify_roster(data, root=self._root, now=from_ms(0), last_sequence=0)
            except PeerError as error:
                raise IntegrityError("SF531", "a roster that a round pinned is damaged", cause=error.code) from error
            if roster.digest != manifest.roster_digest:
                raise IntegrityError("SF531", "the roster that the round pinned was expected, found another")
            self._known[roster.digest] = (roster, data)
            return roster

    def _refresh(self) -> None:
        stamp = self._read_stamp()
        if stamp is not None and stamp == self._stamp:
            return
        try:
            self._data, self._roster = self._load()
        except ConfigurationError as error:
            self._stamp, self.problem = None, error.code
            return
        except PeerError as error:
            self._stamp, self.problem = stamp, error.code
            return
        self._stamp, self.problem = stamp, None
        self._known[self._roster.digest] = (self._roster, self._data)

    def _load(self) -> tuple[bytes, Roster]:
        data = read_bounded(self._path, MAX_ROSTER_FILE_BYTES)
        with self._database.snapshot() as tx:
            seen = read_pin(tx, _NEWEST)
        roster = self._verify(data, seen)
        if seen != _pin_value(roster):
            with self._database.transaction() as tx:
                seen = read_pin(tx, _NEWEST)
                roster = self._verify(data, seen)  # another process may have seen a newer one meanwhile
                replace_pin(tx, _NEWEST, expected=seen, value=_pin_value(roster))
        return data, roster

    def _verify(self, data: bytes, seen: bytes | None) -> Roster:
        if seen is not None and len(seen) != 8 + DIGEST_BYTES:
            raise IntegrityError("SF531", "the stored sequence of the newest roster is damaged")
        sequence = 0 if seen is None else int.from_bytes(seen[:-DIGEST_BYTES], "big")
        digest = None if seen is None else Digest(seen[-DIGEST_BYTES:])
        return verify_roster(data, root=self._root, now=self._clock.now(), last_sequence=sequence, last_digest=digest)

    def _read_stamp(self) -> tuple[int, int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _pin_name(digest: Digest) -> str:
    return f"roster/{digest.hex()}"


def _pin_value(roster: Roster) -> bytes:
    return roster.sequence.to_bytes(8, "big") + roster.digest
