"""Adapters of a site: written whole or not at all, digested, and switched in the transaction that logs the switch."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.client.pins import ACTIVE_ADAPTER
from semfed_secure.errors import IntegrityError
from semfed_secure.ids import hex_digest, parse_digest
from semfed_secure.llm.files import directory_digest
from semfed_secure.storage.pin_rows import read_pin, replace_pin
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.ids import Digest
    from semfed_secure.storage import Transaction


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter and what private data it has seen.

    Attributes:
        name: Its directory below the store.
        digest: Over every file in it, see `semfed_secure.llm.files.directory_digest`.
        mechanism: How private records went into it or into one it was made from; None if none did.
        charges: Ledger keys of all those training runs, first to last.
    """

    name: str
    digest: Digest
    mechanism: Mechanism | None
    charges: tuple[str, ...]


class AdapterStore:
    """The directory of a site's adapters.

    An adapter appears under its name only when it is whole and on disk; a crash leaves the old one active and the
    unfinished one is removed by the next attempt of the same name.
    """

    def __init__(self, root: Path) -> None:
        """Keep adapters below ``root``, which is made when the first is written."""
        self._root = root

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """An empty directory to write into; when the block ends without an error it stands under ``name``."""
        staged, final = self._root / f".new-{name}", self._root / name
        for leftover in (staged, final):
            shutil.rmtree(leftover, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            yield staged
            _flush(staged)
            staged.rename(final)
            _flush_directory(self._root)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise

    def digest(self, name: str) -> Digest:
        """The digest of the adapter that stands under ``name``."""
        return directory_digest(self._root / name)

    def verify(self, adapter: Adapter) -> Path:
        """The directory of ``adapter``, whose files are the ones that were written.

        Raises:
            IntegrityError: SF521 if a file changed, is missing, was added or has become a link.
        """
        directory = self._root / adapter.name
        # A link would let what it leads to change after this moment.
        if (
            not directory.is_dir()
            or any(path.is_symlink() for path in directory.rglob("*"))
            or directory_digest(directory) != adapter.digest
        ):
            raise IntegrityError(
                "SF521",
                f"adapter {adapter.name} is not the one that was trained: expected {hex_digest(adapter.digest)}",
                adapter=adapter.name,
            )
        return directory

    def remove(self, name: str) -> None:
        """Delete an adapter that was rolled back."""
        shutil.rmtree(self._root / name, ignore_errors=True)


def active_adapter(tx: Transaction) -> Adapter | None:
    """The adapter that answers now; None is the untrained model.

    Raises:
        IntegrityError: SF531 if the stored row is damaged.
    """
    stored = read_pin(tx, ACTIVE_ADAPTER)
    return None if stored is None else _decode(stored)


def activate(tx: Transaction, adapter: Adapter) -> None:
    """Make ``adapter`` the active one, inside the caller's transaction."""
    replace_pin(tx, ACTIVE_ADAPTER, expected=read_pin(tx, ACTIVE_ADAPTER), value=_encode(adapter))


def _encode(adapter: Adapter) -> bytes:
    row = {
        "name": adapter.name,
        "digest": hex_digest(adapter.digest),
        "mechanism": adapter.mechanism,
        "charges": list(adapter.charges),
    }
    return json.dumps(row).encode()


def _decode(stored: bytes) -> Adapter:
    try:
        row = json.loads(stored)
        mechanism = row["mechanism"]
        return Adapter(
            str(row["name"]),
            parse_digest(row["digest"]),
            None if mechanism is None else Mechanism(mechanism),
            tuple(str(key) for key in row["charges"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("SF531", "the stored name of the active adapter is damaged") from error


def _flush(directory: Path) -> None:
    """Force every file and directory below ``directory`` to disk: the digest that is logged must survive a crash."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        elif path.is_dir():
            _flush_directory(path)
    _flush_directory(directory)


def _flush_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
