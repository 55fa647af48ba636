"""Public files of identity: read with a bound, written once and durably."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The content of ``path``, at most one byte more than ``max_bytes``: a parser then refuses its size.

    Raises:
        ConfigurationError: ``SF102``.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigurationError("SF102", f"a readable file was expected at {path}: {error.strerror}") from None


def read_private(path: Path, max_bytes: int) -> bytes:
    """The content of a secret file, as `read_bounded`.

    Raises:
        ConfigurationError: ``SF102``; ``SF122`` others can read it.
    """
    data = read_bounded(path, max_bytes)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError("SF122", f"mode 0600 was expected of {path}, found {mode:04o}")
    return data


def refuse_existing(*paths: Path) -> None:
    """Refuse before anything is written, rather than after a part.

    Raises:
        ConfigurationError: ``SF123`` one of ``paths`` exists.
    """
    for path in paths:
        if path.exists():
            raise ConfigurationError("SF123", f"no file was expected at {path}")


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write ``data`` to a file that does not exist yet, in one step: it is there whole, or not at all.

    Raises:
        ConfigurationError: ``SF123`` it exists; ``SF102`` it cannot be written.
    """
    beside = _beside(path)
    try:
        _write_through(beside, data, mode)
        try:
            path.hardlink_to(beside)  # unlike a rename, refuses to take the place of another file
        finally:
            beside.unlink()
        fsync_directory(path.parent)
    except FileExistsError:
        raise ConfigurationError("SF123", f"no file was expected at {path}") from None
    except OSError as error:
        raise ConfigurationError("SF102", f"{path} cannot be written: {error.strerror}") from None


def write_private(path: Path, data: bytes) -> None:
    """`write_new` for what only its owner may read: at no moment can anybody else.

    Raises:
        ConfigurationError: ``SF123`` it exists; ``SF102`` it cannot be written.
    """
    write_new(path, data, mode=0o600)


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step: a reader sees the old content or the new, never a part.

    Raises:
        ConfigurationError: ``SF102`` it cannot be written.
    """
    beside = _beside(path)
    try:
        _write_through(beside, data)
        beside.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        raise ConfigurationError("SF102", f"{path} cannot be written: {error.strerror}") from None


def make_private_directory(path: Path) -> None:
    """Make sure that ``path`` is a directory; a new one is open to its owner only.

    Raises:
        ConfigurationError: ``SF102``.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError("SF102", f"a directory was expected at {path}: {error.strerror}") from None


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable: a new file survives a power cut only with its name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def _write_through(path: Path, data: bytes, mode: int = 0o666) -> None:
    path.unlink(missing_ok=True)  # left by a process of the same number that was killed, with a mode of its own
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
