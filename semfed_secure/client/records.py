"""Reading what a site brings: private records, and public labelled prompts, from JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.model import Record
from semfed_secure.privacy.parameters import ENTITY_ID, is_entity_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from semfed_secure.wire.prompts import PromptSet

MAX_LINE_BYTES = 1024 * 1024
"""One record: far above any clinical note, far below what would fill the memory."""


@dataclass(frozen=True, slots=True)
class LabelledPrompt:
    """A public prompt with its right answer and, for a closed task, the candidates to choose from."""

    prompt: str
    answer: str
    candidates: tuple[str, ...] = ()


def read_records(path: Path) -> tuple[Record, ...]:
    """Private records, one JSON object a line: ``entity_id``, ``prompt`` and, unless only asked about, ``completion``.

    An error names the line and the field, never a value. One entity has one ``entity_id``: a spelling that only looks
    like another is refused.

    Raises:
        ConfigurationError: SF102 unreadable, SF104 a line is not such an object, SF142 a record without its entity.
    """
    return tuple(iter_records(path))


def iter_records(path: Path) -> Iterator[Record]:
    """The same one by one: nothing is read, not even opened, before the first is asked for."""
    return (record for _, record in numbered_records(path))


def numbered_records(path: Path) -> Iterator[tuple[int, Record]]:
    """The same, each with the number of its line."""
    return ((number, _record(number, row)) for number, row in _rows(path))


def read_labelled(path: Path) -> tuple[LabelledPrompt, ...]:
    """Public labelled prompts, one JSON object a line: ``prompt``, ``answer`` and optionally ``candidates``.

    What is read can tell a right answer from a wrong one: there is at least one prompt, and an answer is one of its
    candidates wherever these are named.

    Raises:
        ConfigurationError: SF102 unreadable, SF104 a line is not such an object, or there is none.
    """
    labelled = tuple(_labelled(number, row) for number, row in _rows(path))
    if not labelled:
        raise ConfigurationError("SF104", f"{path.name}: at least one labelled prompt was expected")
    return labelled


def bound_records(records: Iterable[Record], *, max_records_per_entity: int) -> tuple[Record, ...]:
    """The first ``max_records_per_entity`` records of every entity, in the given order.

    What is kept of one entity depends on that entity's records alone, so adding or removing an entity changes
    nothing for the others.
    """
    seen: Counter[str] = Counter()
    kept: list[Record] = []
    for record in records:
        seen[record.entity_id] += 1
        if seen[record.entity_id] <= max_records_per_entity:
            kept.append(record)
    return tuple(kept)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every line's number and object; empty lines are skipped."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if len(line) > MAX_LINE_BYTES:
                    raise ConfigurationError("SF104", f"{path.name} line {number}: longer than {MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield number, _object(path, number, line)
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot read {path}: {error.strerror}", path=str(path)) from error


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_each_key_once)
        json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is JSON, but no text
    except (ValueError, RecursionError):  # also digits without end, and nested without end
        row = None
    if not isinstance(row, dict):
        # The error of the parser quotes the line, which may be private: it is cut off here.
        message = f"{path.name} line {number}: one JSON object in UTF-8, each key once, was expected"
        raise ConfigurationError("SF104", message)
    return row


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands twice")
    return row


def _text(number: int, row: dict[str, Any], name: str, *, default: str | None = None) -> str:
    value = row.get(name, default)
    if not isinstance(value, str) or (default is None and not value):
        raise ConfigurationError("SF104", f"line {number}: `{name}` must be a text", line=number, field=name)
    return value


def _record(number: int, row: dict[str, Any]) -> Record:
    if (given := row.get("entity_id")) is None or given == "":
        raise ConfigurationError("SF142", f"line {number}: the record names no `entity_id`", line=number)
    entity = _text(number, row, "entity_id")
    if not is_entity_id(entity):
        message = f"line {number}: `entity_id` must be {ENTITY_ID}, so that no entity has two"
        raise ConfigurationError("SF104", message, line=number, field="entity_id")
    return Record(entity, _text(number, row, "prompt"), _text(number, row, "completion", default=""))


def _labelled(number: int, row: dict[str, Any]) -> LabelledPrompt:
    candidates: Sequence[Any] = row.get("candidates", ())
    if not isinstance(candidates, (list, tuple)) or not all(isinstance(item, str) and item for item in candidates):
        raise ConfigurationError("SF104", f"line {number}: `candidates` must be a list of texts", line=number)
    labelled = LabelledPrompt(_text(number, row, "prompt"), _text(number, row, "answer"), tuple(candidates))
    if candidates and labelled.answer not in candidates:
        raise ConfigurationError("SF104", f"line {number}: `answer` must be one of `candidates`", line=number)
    return labelled


def read_outputs(path: Path, prompts: PromptSet) -> tuple[str | None, ...]:
    """Outputs from elsewhere, one JSON object a line: ``id`` of the prompt and ``output``, null to abstain.

    Every prompt of the set is answered exactly once; the result stands in its order.

    Raises:
        ConfigurationError: SF102 unreadable, SF104 a line is not such an object, or a prompt is missing, unknown or
            answered twice.
    """
    given: dict[str, str | None] = {}
    for number, row in _rows(path):
        name, output = _text(number, row, "id"), row.get("output")
        if output is not None and not isinstance(output, str):
            raise ConfigurationError("SF104", f"line {number}: `output` must be a text or null", line=number)
        if name in given or "output" not in row:
            raise ConfigurationError("SF104", f"line {number}: one `output` per prompt was expected", line=number)
        given[name] = output
    ids = [prompt.id for prompt in prompts.prompts]
    if set(ids) != set(given):
        raise ConfigurationError("SF104", f"{path.name}: outputs for exactly the {len(ids)} prompts were expected")
    return tuple(given[name] for name in ids)
