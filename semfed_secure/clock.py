"""Time and randomness as injected dependencies."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Says what time it is, always in UTC."""

    def now(self) -> datetime:
        """The present, time-zone aware, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present, UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock that moves only when told to."""

    def __init__(self, at: datetime) -> None:
        """Start at ``at``, which must be time-zone aware."""
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        """The time it was set to."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Move by ``seconds``; negative steps back."""
        self._at += timedelta(seconds=seconds)


class Randomness(Protocol):
    """A source of unpredictable bytes."""

    def token_bytes(self, count: int) -> bytes:
        """``count`` bytes."""
        ...


class SystemRandomness:
    """The operating system's cryptographic generator."""

    def token_bytes(self, count: int) -> bytes:
        """``count`` bytes that nobody can predict."""
        return secrets.token_bytes(count)


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC, rounded down."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """The UTC instant ``ms`` milliseconds after 1970-01-01."""
    return _EPOCH + timedelta(milliseconds=ms)


def to_iso(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as written in audit entries."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
