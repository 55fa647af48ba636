"""One digest for a directory of files."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

from semfed_secure.ids import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def directory_digest(directory: Path) -> Digest:
    """SHA-256 over the sorted relative paths and the SHA-256 of each file's content.

    One changed, added, removed or renamed file gives another digest; links are followed, to directories too, as the
    reader of the files follows them.

    Raises:
        OSError: A file or directory cannot be read, or links lead in a circle.
    """
    outer = hashlib.sha256()
    for path in sorted(_files(directory), key=lambda item: item.relative_to(directory).as_posix()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        outer.update(os.fsencode(path.relative_to(directory).as_posix()) + b"\0" + content + b"\n")
    return Digest(outer.digest())


def _files(directory: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    real = directory.resolve()
    if real in above:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(directory))
    for path in directory.iterdir():
        if path.is_dir():
            yield from _files(path, (*above, real))
        else:
            yield path
