"""Where an export goes: a new file, or a syslog receiver over TLS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import fsync_directory, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import TextIOWrapper
    from pathlib import Path

    from semfed_secure.audit.exporters.formats import Format
    from semfed_secure.audit.exporters.record import Record


class Destination(Protocol):
    """Takes records, and says when they are in other hands.

    Attributes:
        kind: What the log says of it.
    """

    @property
    def kind(self) -> str:
        """A word without names or addresses."""
        ...

    def open(self, log: str) -> None:
        """Make sure that it can be reached, before anything is said or done."""
        ...

    def deliver(self, records: Sequence[Record]) -> bool:
        """Hand over records; whether the receiver is known to have them, and all before, already."""
        ...

    def finish(self) -> None:
        """Return only when the receiver is known to have everything."""
        ...

    def abandon(self) -> None:
        """Leave nothing behind of what was not finished."""
        ...


class NewFile:
    """A file that is there whole, or not at all."""

    kind = "file"

    def __init__(self, path: Path, form: Format) -> None:
        """Write to ``path``, where there is no file yet."""
        self._path, self._form = path, form
        self._beside = path.with_name(f".{path.name}.{os.getpid()}")
        self._file: TextIOWrapper | None = None
        self._written = 0

    def open(self, log: str) -> None:
        """Begin a file beside the place of the one to be.

        Raises:
            ConfigurationError: ``SF123`` a file stands there already; ``SF102`` none can be written.
        """
        refuse_existing(self._path)
        try:
            self._file = self._beside.open("w", encoding="utf-8", newline="")
            self._file.write(self._form.opening(log))
        except OSError as error:
            raise self._unwritable(error) from error

    def deliver(self, records: Sequence[Record]) -> bool:
        """Write them; they are not in other hands before the file has its name.

        Raises:
            ConfigurationError: ``SF102``.
        """
        assert self._file is not None  # INVARIANT: it was opened
        try:
            for record in records:
                self._file.write(self._form.separator if self._written else "")
                self._file.write(self._form.encode(record))
                self._written += 1
        except OSError as error:
            raise self._unwritable(error) from error
        return False

    def finish(self) -> None:
        """Sync the file, and give it its name.

        Raises:
            ConfigurationError: ``SF123`` a file took its place meanwhile; ``SF102`` it cannot be written.
        """
        assert self._file is not None  # INVARIANT: it was opened
        try:
            self._file.write(self._form.closing)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.hardlink_to(self._beside)  # unlike a rename, refuses to take the place of another file
            self._beside.unlink()
            fsync_directory(self._path.parent)
        except FileExistsError:
            raise ConfigurationError("SF123", f"no file was expected at {self._path}") from None
        except OSError as error:
            raise self._unwritable(error) from error

    def abandon(self) -> None:
        """Remove what was written so far."""
        if self._file is not None:
            self._file.close()
        self._beside.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError("SF102", f"{self._path} cannot be written: {error.strerror}")
