"""One digest for a directory of files."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from semfed_secure.ids import Digest

if TYPE_CHECKING:
    from pathlib import Path


def directory_digest(directory: Path) -> Digest:
    """SHA-256 over the sorted relative paths and the SHA-256 of each file's content.

    One changed, added, removed or renamed file gives another digest; links are followed, as the reader of the files
    follows them.
    """
    outer = hashlib.sha256()
    for path in sorted(directory.rglob("*"), key=lambda item: item.relative_to(directory).as_posix()):
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            outer.update(os.fsencode(path.relative_to(directory).as_posix()) + b"\0" + content + b"\n")
    return Digest(outer.digest())
