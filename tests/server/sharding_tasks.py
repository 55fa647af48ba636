"""What workers do in the tests of sharding: a module of its own, so that they can import it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.crypto.key_files import PASSPHRASE_VARIABLE
from semfed_secure.errors import IntegrityError
from semfed_secure.ids import Digest

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST = Digest(bytes(32))


def kill_once(directory: Path, name: str) -> None:
    """End this process as `kill -9` does, the first time that anybody comes here."""
    try:
        (directory / name).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class KillingEmbedder:
    """Directions made of digests; the first two batches that it sees cost their workers the life."""

    directory: Path
    name: str = "digests"
    weights_digest: Digest = _DIGEST
    dimension: int = 16

    def embed(self, texts):
        """One direction for all texts that begin alike, a little apart."""
        for number in range(2):
            kill_once(self.directory, f"batch-{number}")
        return np.array([_direction(text) for text in texts], np.float32)


def _direction(text: str) -> np.ndarray:
    near, far = (np.frombuffer(sha256(part.encode()).digest(), np.int16) / 32768 for part in (text[:1], text))
    return near + far / 4


def killed_on(directory: Path, number: int) -> int:
    """Lose the worker of shard 3, once."""
    if number == 3:
        kill_once(directory, "shard-3")
    return number * number


def always_killed(_number: int) -> None:
    """Lose every worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(_number: int) -> None:
    """Fail in words."""
    raise IntegrityError("SF521", "another embedder was expected")


def who(_number: int) -> int:
    """The process."""
    return os.getpid()


def environment(_: int) -> str | None:
    """What this worker has of the passphrase."""
    return os.environ.get(PASSPHRASE_VARIABLE)
