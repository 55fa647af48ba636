"""What the logs of these tests are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType, PrivacyFields

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import FixedClock
    from semfed_secure.crypto.log_keys import LogSigningKey
    from semfed_secure.storage import Database

DIGEST = "sha256:" + "ab" * 32
SIZE = 270
"""Entries of a full log: more than one tile, so that a cosigned checkpoint is kept on the way."""
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def sample(number: int = 0) -> Event:
    """One of a few plausible events; the number makes them differ."""
    kinds = [
        Event(type=EventType.KEY_LOADED, outcome="success", actor="north", details={"key_id": DIGEST}),
        Event(
            type=EventType.BUNDLE_RELEASED,
            outcome="success",
            actor="north",
            round_id=f"round-{number}",
            peer="coordinator",
            bundle_digest=DIGEST,
            policy_id="north/patients",
            policy_digest=DIGEST,
            privacy=PrivacyFields(
                population="patients-2026",
                epsilon=f"{1 + number / 10:.1f}",
                delta="0.000001",
                unit="entity",
                relation="add_or_remove_one",
                remaining="3.2",
                mechanism="dp_sgd",
            ),
            details={"kind": "votes", "items": 300},
        ),
        Event(
            type=EventType.DECISION,
            outcome="denied",
            actor="north",
            round_id=f"round-{number}",
            codes=("DP-002", "SF201"),
            reason="release of text is not granted",
            details={"action": "release", "decision": "deny", "reasons": ["text: granted none, asked 300"]},
        ),
    ]
    return kinds[number % len(kinds)]


@dataclass(frozen=True)
class Site:
    """A log with what it was made of."""

    path: Path
    database: Database
    key: LogSigningKey
    clock: FixedClock
    log: AuditLog

    @property
    def vkey(self) -> str:
        """The key that an auditor pins."""
        return self.key.public.encode()

    def fill(self, count: int) -> None:
        """Append ``count`` events, a second apart."""
        for number in range(count):
            self.log.append(sample(number))
            self.clock.advance(1)
