"""The key of each round that bundles are sealed to: made when the round is announced, destroyed when it takes no more.

An epoch is one round: whoever takes every key that the server holds today opens nothing that was sealed to a round
before. The round's manifest carries the public half, under the server's signatures, and the round's end is its term.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from semfed_secure.crypto.keys import OpeningKey
from semfed_secure.crypto.sealing import open_sealed, seal
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.identity.files import fsync_directory, make_private_directory, read_bounded, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.crypto.keys import SealingKey
    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.ids import RoundId

ROUND_KEYS = "rounds"
"""Directory beside a server's own keys."""
_MAX_FILE_BYTES = 8 * 1024


class RoundKeys:
    """The private keys of the rounds that still take contributions, one file each.

    Every file is sealed to the opening key of the server's own record, so a stolen disk opens none of them without
    that key's passphrase. `destroy` writes over the file before it removes it. A copy of the disk from before, where
    somebody kept one, still holds it: keep this directory out of backups.
    """

    def __init__(self, directory: Path, keys: MemberKeys) -> None:
        """Keep the files in ``directory``, sealed to the opening key among ``keys``; several processes may do so.

        Raises:
            ConfigurationError: ``SF101`` a server's keys were expected.
        """
        if keys.opening is None:
            raise ConfigurationError("SF101", f"keys of a server were expected, {keys.record.member_id} is none")
        self._directory, self._own = directory, keys.opening
        self._open: dict[RoundId, OpeningKey] = {}

    def create(self, round_id: RoundId) -> SealingKey:
        """Make a key for a new round, durable before this returns, and give its public half.

        What an interrupted announcement left under this name is replaced: nobody was told of it.

        Raises:
            ConfigurationError: ``SF102`` it cannot be written.
        """
        key = OpeningKey.generate(self._own.public.suite)
        make_private_directory(self._directory)
        sealed = seal(key.export_secret(), info=_context(round_id), to=self._own.public)
        replace_file(self._path(round_id), sealed)
        self._open[round_id] = key
        return key.public

    def of(self, round_id: RoundId) -> OpeningKey | None:
        """The round's key, or None if it was destroyed or never made.

        Raises:
            IntegrityError: ``SF531`` the file is not one that was written here under our own key.
        """
        path = self._path(round_id)
        if not path.exists():  # another process may have destroyed it
            self._open.pop(round_id, None)
            return None
        if round_id not in self._open:
            try:
                secret = open_sealed(read_bounded(path, _MAX_FILE_BYTES), info=_context(round_id), key=self._own)
            except PeerError as error:
                raise IntegrityError("SF531", "the stored key of a round is damaged, or another server's") from error
            self._open[round_id] = OpeningKey.from_seed(secret, self._own.public.suite)
        return self._open[round_id]

    def destroy(self, round_id: RoundId) -> None:
        """Forget the round's key and write over its file; again, or without one, nothing happens.

        Raises:
            ConfigurationError: ``SF102`` it cannot be removed.
        """
        self._open.pop(round_id, None)
        path = self._path(round_id)
        try:
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            fsync_directory(self._directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigurationError("SF102", f"{path} cannot be removed: {error.strerror}") from None

    def _path(self, round_id: RoundId) -> Path:
        return self._directory / f"{round_id}.key"


def _context(round_id: RoundId) -> bytes:
    return b"semfed/round-key/1\n" + round_id.encode()
