"""Making and destroying the keys of rounds, each with its audit entry."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.ids import RoundId
from semfed_secure.server.round import RoundState
from semfed_secure.storage import pin_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from semfed_secure.crypto.keys import SealingKey
    from semfed_secure.ids import KeyId
    from semfed_secure.server.context import ServerContext
    from semfed_secure.storage import Transaction
    from semfed_secure.storage.round_rows import RoundHeadRow

_PAST_OPENING = frozenset({RoundState.CLOSED, RoundState.CONSENSUS, RoundState.PUBLISHED, RoundState.ABORTED})
"""Nothing that is sealed comes to a round in these states: their payloads are open and stored."""
_DESTROYED = b"destroyed"


class KeyEntries:
    """Keeps the log in step with the key files: every key that a manifest names is logged as made, and as destroyed."""

    def __init__(self, context: ServerContext) -> None:
        """Act with the keys, database and log of ``context``."""
        self._context = context
        self._settled: set[RoundId] = set()

    @contextmanager
    def created(self, tx: Transaction, round_id: RoundId) -> Iterator[SealingKey]:
        """Make the key of a new round that the block announces in ``tx``; if it fails, the key is gone again."""
        key = self._context.round_keys.create(round_id)
        try:
            pin_rows.set_pin_once(tx, _pin(round_id), key.key_id.encode())
            self._log(tx, EventType.KEY_CREATED, round_id, key.key_id, key.suite.value)
            yield key
        except BaseException:
            self._context.round_keys.destroy(round_id)
            raise

    def destroy_spent(self, heads: Iterable[RoundHeadRow]) -> None:
        """Destroy the key of every round that takes no more; the entry follows the deed, also after a crash between.

        Raises:
            ConfigurationError: ``SF102`` a key file cannot be removed.
            IntegrityError: ``SF502`` the log cannot be written; the next call tries again.
        """
        past = {RoundId(head.round_id) for head in heads if head.state in _PAST_OPENING}
        for round_id in sorted(past - self._settled):
            self._context.round_keys.destroy(round_id)
            with self._context.database.snapshot() as tx:
                stands = pin_rows.read_pin(tx, _pin(round_id))
            if stands not in {None, _DESTROYED}:
                self._note_destroyed(round_id, stands)
            self._settled.add(round_id)

    def _note_destroyed(self, round_id: RoundId, key_id: bytes | None) -> None:
        with self._context.database.transaction() as tx:
            if pin_rows.replace_pin(tx, _pin(round_id), expected=key_id, value=_DESTROYED):
                printed = (key_id or b"").decode("ascii", "replace")
                self._log(tx, EventType.KEY_DESTROYED, round_id, printed, None)

    def _log(self, tx: Transaction, kind: EventType, round_id: RoundId, key_id: KeyId | str, suite: str | None) -> None:
        details = {"key_id": key_id, "purpose": "sealing of one round"} | ({} if suite is None else {"suite": suite})
        event = Event(
            type=kind, outcome="success", actor=self._context.member, round_id=round_id, target=key_id, details=details
        )
        self._context.audit.append(event, tx)


def _pin(round_id: RoundId) -> str:
    return f"round-key/{round_id}"
