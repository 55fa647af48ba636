"""The log that is exported, opened with its own key, so that the export is entered in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.own import open_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Clock
    from semfed_secure.crypto.log_keys import LogSigningKey
    from semfed_secure.errors import SemfedError
    from semfed_secure.storage import Database

WRITER = "semfed audit export"


@dataclass(slots=True)
class OwnLog:
    """Enters exports: what goes out is in the log before it goes out."""

    _database: Database
    _audit: AuditLog
    _actor: str
    _said: dict[str, object]

    @property
    def entered(self) -> bool:
        """Whether an export was entered."""
        return bool(self._said)

    def announce(self, form: str, destination: str, first: int, last: int | None) -> str:
        """Enter an export of entries ``first`` to ``last``; return the checkpoint that has the new entry last.

        Without ``last`` the export takes its own entry with it: the receiver learns of the export, and a further one
        finds nothing new.

        Raises:
            IntegrityError: ``SF502`` the log cannot be written; then nothing may leave.
        """
        with self._database.transaction() as tx:
            end = self._audit.size(tx) if last is None else last
            self._said = {"format": form, "destination": destination, "first": first, "last": end}
            self._audit.append(self._event("success"), tx)
            return self._audit.checkpoint(tx)

    def say_failed(self, error: SemfedError) -> None:
        """Enter that an announced export did not go out whole; one that was not announced is not entered."""
        if self._said:
            self._audit.append(self._event("failed", error))

    def _event(self, outcome: str, error: SemfedError | None = None) -> Event:
        codes = () if error is None else (error.code,)
        return Event.model_validate(
            {
                "type": EventType.LOG_EXPORTED,
                "outcome": outcome,
                "actor": self._actor,
                "codes": codes,
                "details": self._said,
            }
        )


@contextmanager
def open_own_log(place: str, key: LogSigningKey, *, clock: Clock) -> Iterator[OwnLog]:
    """Open the log at ``place``, whose own key is ``key``.

    Raises:
        ConfigurationError: ``SF102`` or ``SF151``, there is no database; a directory of tiles takes no entries.
        IntegrityError: ``SF503`` the log is of another key.
    """
    with open_own(place, key, clock=clock, writer=WRITER) as own:
        yield OwnLog(own.database, own.audit, own.actor, {})
