"""Rounds as the database holds them: terms that never change, read once; states, read every time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.errors import PeerError
from semfed_secure.ids import RoundId
from semfed_secure.server.admission import RoundTerms
from semfed_secure.server.round import RoundState
from semfed_secure.storage.pin_rows import read_pin, set_pin_once
from semfed_secure.storage.round_rows import read_round, read_round_head
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import MANIFEST_LIMITS, RoundManifest, parse_manifest
from semfed_secure.wire.prompts import PromptSet, parse_prompt_set

if TYPE_CHECKING:
    from semfed_secure.ids import Digest
    from semfed_secure.storage import Database, Transaction
    from semfed_secure.storage.round_rows import RoundHeadRow

_CACHED_ROUNDS = 8  # prompt sets take up to 64 MiB each


@dataclass(frozen=True, slots=True)
class StoredTerms:
    """The parts of a round that were signed when it was opened, as bytes and as objects."""

    manifest_bytes: bytes
    prompt_set_bytes: bytes
    manifest: RoundManifest
    prompt_set: PromptSet

    def at(self, state: RoundState) -> RoundTerms:
        """What admission looks at."""
        # An announced round whose time has come takes contributions before the clock's next turn.
        collecting = state in {RoundState.ANNOUNCED, RoundState.COLLECTING}
        return RoundTerms(self.manifest, self.prompt_set, collecting)


class RoundStore:
    """Reads rounds; safe between threads."""

    def __init__(self, database: Database) -> None:
        """Read from ``database``."""
        self._database = database
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

    def terms(self, round_id: RoundId) -> StoredTerms:
        """What was signed when the round was opened.

        Raises:
            PeerError: ``SF304`` there is no such round.
        """
        with self._lock:
            if round_id in self._terms:
                self._terms.move_to_end(round_id)
                return self._terms[round_id]
        with self._database.snapshot() as tx:
            row = read_round(tx, round_id)
        if row is None:
            raise PeerError("SF304", "a round of this server was expected")
        envelope = parse_signed(row.manifest, limits=signed_limits(MANIFEST_LIMITS))
        terms = StoredTerms(
            row.manifest, row.prompt_set, parse_manifest(envelope.payload), parse_prompt_set(row.prompt_set)
        )
        with self._lock:
            self._terms[round_id] = terms
            while len(self._terms) > _CACHED_ROUNDS:
                self._terms.popitem(last=False)
        return terms

    def remember_prompts(self, tx: Transaction, digest: Digest, round_id: RoundId) -> None:
        """Note which round holds the prompt set with this digest."""
        set_pin_once(tx, _prompts_pin(digest), round_id.encode())

    def prompts(self, digest: Digest) -> bytes:
        """The prompt set with this digest.

        Raises:
            PeerError: ``SF304`` no round asks it.
        """
        with self._database.snapshot() as tx:
            round_id = read_pin(tx, _prompts_pin(digest))
        if round_id is None:
            raise PeerError("SF304", "the digest of a prompt set of this server was expected")
        return self.terms(RoundId(round_id.decode())).prompt_set_bytes


def _prompts_pin(digest: Digest) -> str:
    return f"prompts/{digest.hex()}"
