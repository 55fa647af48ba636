"""What the commands of ``semfed audit`` ask in the same words: which log, whose key, which period."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.errors import ConfigurationError

Place = Annotated[
    str, typer.Argument(metavar="PATH", help="A state directory, database file or URL, or a directory of tiles.")
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="The log's verification key, or a file that holds it; from the member record."),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="First day or instant of the period: 2026-03-01, 2026-03-01T08:00Z.")
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Last day, or first instant after the period.")]


def read_key(text: str | None) -> str | None:
    """The key itself, or the content of the file that holds it."""
    if text is None or "+" in text:
        return text
    return read_text(Path(text)).strip()


def read_text(path: Path) -> str:
    """What a file says.

    Raises:
        ConfigurationError: SF102, it is no text that can be read.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("SF102", f"{path} cannot be read as text") from error


def first_instant(text: str | None) -> datetime | None:
    """When a period begins that is named by a day or an instant."""
    return None if text is None else _instant(text)


def last_instant(text: str | None) -> datetime | None:
    """When a period is over; a day that is named as the last one belongs to it as a whole."""
    if text is None:
        return None
    instant = _instant(text)
    return instant + timedelta(days=1) if len(text) == len("2026-03-01") and instant.time() == time.min else instant


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError("SF105", f"a day or instant such as 2026-03-01 was expected, got {text!r}") from error
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
