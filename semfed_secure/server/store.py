"""Rounds as the database holds them: terms that never change, read once; states, read every time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.ids import RoundId
from semfed_secure.server.stored import StoredTerms, read_terms
from semfed_secure.storage.pin_rows import read_pin, set_pin_once
from semfed_secure.storage.round_rows import RoundRow, read_round, read_round_head

if TYPE_CHECKING:
    from semfed_secure.ids import Digest
    from semfed_secure.server.rosters import RosterKeeper
    from semfed_secure.storage import Database, Transaction
    from semfed_secure.storage.round_rows import RoundHeadRow

_CACHED_ROUNDS = 8  # prompt sets take up to 64 MiB each


class RoundStore:
    """Reads rounds; safe between threads."""

    def __init__(self, database: Database, rosters: RosterKeeper) -> None:
        """Read from ``database``; what was signed is verified under ``rosters``."""
        self._database, self._rosters = database, rosters
        self._lock = threading.Lock()
        self._terms: OrderedDict[RoundId, StoredTerms] = OrderedDict()

    def head(self, round_id: RoundId) -> RoundHeadRow:
        """Where the round stands.

        Raises:
            PeerError: ``SF304`` there is no such round.
        """
        with self._database.snapshot() as tx:
            head = read_round_head(tx, round_id)
        if head is None:
            raise PeerError("SF304", "a round of this server was expected")
        return head

    def row(self, round_id: RoundId) -> RoundRow:
        """The round as it is stored, not verified: for those who verify it by themselves.

        Raises:
            PeerError: ``SF304`` there is no such round.
        """
        with self._database.snapshot() as tx:
            row = read_round(tx, round_id)
        if row is None:
            raise PeerError("SF304", "a round of this server was expected")
        return row

    def terms(self, round_id: RoundId) -> StoredTerms:
        """What was signed when the round was opened.

        Raises:
            PeerError: ``SF304`` there is no such round.
            IntegrityError: ``SF531`` it is not what was signed.
        """
        cached = self._cached(round_id)
        if cached is not None:
            return cached
        terms = read_terms(self.row(round_id), self._rosters)
        with self._lock:
            self._terms[round_id] = terms
            while len(self._terms) > _CACHED_ROUNDS:
                self._terms.popitem(last=False)
        return terms

    def manifest(self, round_id: RoundId) -> bytes:
        """The signed manifest as it is stored: a client that gets another one says so by its own code.

        Raises:
            PeerError: ``SF304`` there is no such round.
        """
        cached = self._cached(round_id)
        return self.row(round_id).manifest if cached is None else cached.manifest_bytes

    def _cached(self, round_id: RoundId) -> StoredTerms | None:
        with self._lock:
            if round_id in self._terms:
                self._terms.move_to_end(round_id)
            return self._terms.get(round_id)

    def remember_prompts(self, tx: Transaction, digest: Digest, round_id: RoundId) -> None:
        """Note which round holds the prompt set with this digest."""
        set_pin_once(tx, _prompts_pin(digest), round_id.encode())

    def prompts(self, digest: Digest) -> bytes:
        """The prompt set with this digest, as it is stored.

        Raises:
            PeerError: ``SF304`` no round asks it.
            IntegrityError: ``SF531`` it is not where it was noted to be.
        """
        with self._database.snapshot() as tx:
            noted = read_pin(tx, _prompts_pin(digest))
        if noted is None:
            raise PeerError("SF304", "the digest of a prompt set of this server was expected")
        try:
            round_id = RoundId(noted.decode())
            cached = self._cached(round_id)
            return self.row(round_id).prompt_set if cached is None else cached.prompt_set_bytes
        except (UnicodeDecodeError, PeerError) as error:
            raise IntegrityError("SF531", "a prompt set is not where the database notes it to be") from error


def _prompts_pin(digest: Digest) -> str:
    return f"prompts/{digest.hex()}"
