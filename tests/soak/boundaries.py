"""Durable boundaries by name: every commit of a database, in the order in which a round crosses them.

A boundary is called by the product's function that wrote, and ``before`` (all is written, nothing committed) or
``after`` (committed, and nobody told). `install` puts one listener on all of them in this process.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from semfed_secure.storage import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.storage.database import Transaction

_STORAGE = "semfed_secure.storage"
_REAL = Database.transaction


class Listener(Protocol):
    """Is told of each boundary; whether a commit happens is its answer."""

    def before(self, name: str, tx: Transaction) -> bool:
        """All is written; False rolls it back, and lets the writer believe that it was committed."""

    def after(self, name: str) -> None:
        """It is committed."""


class _DroppedError(Exception):
    """Leaves the real transaction, which rolls back."""


def install(listener: Listener) -> None:
    """Tell ``listener`` of every boundary of this process."""

    @contextmanager
    def transaction(database: Database) -> Iterator[Any]:
        name = _writer()
        try:
            with _REAL(database) as tx:
                yield tx
                if not listener.before(name, tx):
                    raise _DroppedError  # noqa: TRY301 - the real transaction must see it
        except _DroppedError:
            pass
        listener.after(name)

    Database.transaction = transaction  # type: ignore[method-assign]


def _writer() -> str:
    """The innermost function of the product outside its storage layer."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("semfed_secure.") and not module.startswith(_STORAGE):
            return f"{module.removeprefix('semfed_secure.')}.{frame.f_code.co_name.strip('_')}"
        frame = frame.f_back
    return "tests"


class Recorder:
    """Notes every boundary, in order, once."""

    def __init__(self, path: Path) -> None:
        """Write to ``path``."""
        self._path, self._seen = path, set[str]()

    def before(self, name: str, tx: Transaction) -> bool:
        """Note both sides."""
        if name not in self._seen:
            self._seen.add(name)
            with self._path.open("a") as file:
                file.write(f"{name}\n")
        return True

    def after(self, name: str) -> None:
        """Noted before."""

    def step(self, name: str) -> None:
        """Note a step of the client."""
        with self._path.open("a") as file:
            file.write(f"{name}\n")


class Death:
    """Kills this process, with SIGKILL, at one side of one boundary."""

    def __init__(self, name: str, side: str) -> None:
        """Die at the first crossing."""
        self._name, self._side = name, side

    def before(self, name: str, tx: Transaction) -> bool:
        """Die, or go on."""
        self._at(name, "before")
        return True

    def after(self, name: str) -> None:
        """Die, or go on."""
        self._at(name, "after")

    def step(self, name: str) -> None:
        """A step of the client, between two commits, counts as both sides."""
        self._at(name, self._side)

    def _at(self, name: str, side: str) -> None:
        if (name, side) == (self._name, self._side):
            os.kill(os.getpid(), signal.SIGKILL)
