"""Gold prompts of a round: read from the operator's file, kept with a salt, and named in the log before any answer.

What is kept is a text of JSON lines, the first of which holds the round and 32 random bytes. Its SHA-256 stands in the
log entry that opened the round: so nobody can choose gold prompts afterwards, and nobody can guess them before they are
shown. Whoever is shown the text checks it with ``sha256sum``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.storage import pin_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Randomness
    from semfed_secure.ids import RoundId
    from semfed_secure.storage import Transaction

MAX_BYTES = 16 * 1024 * 1024
_KEPT = "anchors/{}"  # number of the log entry in 8 bytes, and the text
_KEYS = {"id", "answer"}


def read_anchors(path: Path) -> dict[str, str]:
    """The right answers by id of their prompts, from one JSON object a line: ``id`` and ``answer``.

    Raises:
        ConfigurationError: ``SF102`` the file cannot be read; ``SF104`` a line is not such an object, or names a prompt
            again; ``SF105`` the file is empty or larger than 16 MiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error
    anchors: dict[str, str] = {}
    for number, line in enumerate(data[:MAX_BYTES].split(b"\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not (
                isinstance(row, dict) and row.keys() == _KEYS and all(isinstance(one, str) for one in row.values())
            ):
                message = f"{path.name} line {number}: an object with `id` and `answer` was expected"
                raise ConfigurationError("SF104", message)
            if row["id"] in anchors:
                raise ConfigurationError("SF104", f"{path.name} line {number}: {row['id']} has an answer already")
            anchors[row["id"]] = row["answer"]
    if not anchors or len(data) > MAX_BYTES:
        raise ConfigurationError("SF105", f"{path.name}: one gold prompt or more was expected, and at most 16 MiB")
    return anchors


def committed_text(anchors: Mapping[str, str], round_id: RoundId, randomness: Randomness) -> bytes:
    """What a round's gold prompts are committed to by: a salt that nobody can guess, then one answer a line."""
    head = {"round_id": round_id, "salt": randomness.token_bytes(32).hex()}
    rows = [{"id": prompt_id, "answer": anchors[prompt_id]} for prompt_id in sorted(anchors)]
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in (head, *rows)).encode()


def keep_anchors(tx: Transaction, round_id: RoundId, text: bytes, *, entry: int) -> None:
    """Keep the committed text, and the number of the log entry that states its digest."""
    pin_rows.set_pin_once(tx, _KEPT.format(round_id), entry.to_bytes(8, "big") + text)


def kept_text(tx: Transaction, round_id: RoundId, audit: AuditLog) -> bytes | None:
    """The text as it was committed to when the round opened; None of a round without gold prompts.

    Raises:
        IntegrityError: ``SF531`` it is not what the log says.
    """
    kept = pin_rows.read_pin(tx, _KEPT.format(round_id))
    if kept is None:
        return None
    number, text = int.from_bytes(kept[:8], "big"), kept[8:]
    entries = audit.entries(number, number + 1, tx)
    event = entries[0].event if entries else None
    stated = (EventType.ROUND_OPENED, round_id, hex_digest(sha256(text)))
    if event is None or (event.type, event.round_id, event.details.get("anchors_digest")) != stated:
        raise IntegrityError("SF531", f"what the database holds as gold prompts of {round_id} is not what the log says")
    return text


def answers_in(text: bytes) -> dict[str, str]:
    """The right answers by id of their prompts, from a committed text."""
    rows = [json.loads(line) for line in text.splitlines()[1:]]
    return {row["id"]: row["answer"] for row in rows}
