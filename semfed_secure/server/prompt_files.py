"""Reading a public prompt set from JSON lines, as the operator of a round brings it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import PromptId
from semfed_secure.wire.prompts import PROMPT_SET_LIMITS, Prompt, PromptSet, encode_prompt_set, is_readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_KEYS = {"id", "prompt", "candidates", "topic"}


def read_prompt_set(path: Path, *, name: str, candidates: Sequence[str] = ()) -> PromptSet:
    """Read one JSON object a line: ``id``, ``prompt``, ``candidates`` of its own if it has any, and perhaps ``topic``.

    The same file, name and candidates always give the same digest, which is what sites' policies grant. A line ends
    with a line feed and nowhere else.

    Args:
        path: The file.
        name: Name of the set; part of its digest.
        candidates: The labels of all prompts that name none.

    Raises:
        ConfigurationError: ``SF102`` the file cannot be read; ``SF104`` a line is not such an object, or its text is
            not readable; ``SF105`` the set is outside the limits of the wire, or two candidates are the same but for
            case, style and outer blanks.
    """
    try:
        size = path.stat().st_size
        lines = path.read_text(encoding="utf-8-sig").split("\n") if size <= PROMPT_SET_LIMITS.max_bytes else None
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError:
        raise ConfigurationError("SF104", f"{path} is not UTF-8") from None
    if lines is None:
        raise ConfigurationError("SF105", f"{path} is larger than {PROMPT_SET_LIMITS.max_bytes} bytes")
    prompts = tuple(_prompt(path, number, line) for number, line in enumerate(lines, 1) if line.strip())
    prompt_set = PromptSet(name, prompts, tuple(candidates))
    encode_prompt_set(prompt_set)  # refuses what the wire does not carry
    return prompt_set


def _prompt(path: Path, number: int, line: str) -> Prompt:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):  # a number of too many digits is no JSONDecodeError
        row = None
    if isinstance(row, dict) and row.keys() <= _KEYS:
        name, text, candidates = row.get("id"), row.get("prompt"), row.get("candidates", [])
        topic = row.get("topic")
        texts = isinstance(candidates, list) and all(isinstance(candidate, str) for candidate in candidates)
        if isinstance(name, str) and isinstance(text, str) and texts and (topic is None or isinstance(topic, str)):
            _check_readable(path, number, [text, *candidates])
            return Prompt(PromptId(name), text, tuple(candidates), topic)
    expected = "an object with `id`, `prompt`, perhaps `candidates` and `topic` was expected"
    raise ConfigurationError("SF104", f"{path.name} line {number}: {expected}")


def _check_readable(path: Path, number: int, texts: Sequence[str]) -> None:
    if not all(map(is_readable, texts)):
        raise ConfigurationError(
            "SF104", f"{path.name} line {number}: text without hidden characters, not blank, was expected"
        )
