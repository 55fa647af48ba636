"""How every command prints: text for people, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from semfed_secure.columns import printable, table

__all__ = ["JsonOption", "emit", "note", "printable", "table"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def emit(document: Mapping[str, object], *, as_json: bool, text: str | Callable[[], str]) -> None:
    """Print ``document`` as one JSON line if ``as_json``, else ``text``.

    Exactly one document goes to stdout, so that ``semfed … --json`` can be piped.

    Args:
        document: JSON-ready; decimals, dates and paths are written as strings.
        as_json: What the command's `JsonOption` said.
        text: The same for a person, or a function that builds it only when it is wanted.
    """
    if as_json:
        sys.stdout.write(json.dumps(document, default=str, ensure_ascii=False) + "\n")
    else:
        body = text if isinstance(text, str) else text()
        sys.stdout.write(body if body.endswith("\n") else body + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say ``text`` on stderr, where it never mixes with a JSON document."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
