"""YAML without surprises: only what means the same to every reader of the file.

Refused, each with its line: duplicate keys, anchors and aliases, tags, directives, several documents, empty values,
and every unquoted word that YAML 1.1 would turn into something else than it looks like (``NO``, ``on``, ``0o17``,
``017``, ``1_000``, ``12:30:00``, ``2026-12-01``, ``1e-5``, ``1.5``, ``~``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 256 * 1024
"""A policy is read by people; nobody reviews more."""
MAX_DEPTH = 16
"""Documents nest six deep."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})\Z")
_NUMBER_ELSEWHERE = re.compile(r"[-+]?(\.?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+|0[oO][0-7_]+)\Z")
_TEXT = "tag:yaml.org,2002:str"

Path = tuple[str | int, ...]


class StrictYamlError(ValueError):
    """The text is not the plain YAML that is read here; carries the line, counted from one."""

    def __init__(self, line: int, message: str) -> None:
        """Keep the line beside the sentence."""
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Tree:
    """What was read, and the line on which each part of it stands."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


def parse_yaml(text: str) -> Tree:
    """Read one document of mappings, lists, strings, whole numbers, ``true`` and ``false``.

    Two readers of an accepted text agree on every value: nothing in it is spelled in a way that YAML versions read
    differently.

    Raises:
        StrictYamlError: naming the line and what to write instead.
    """
    try:
        # Event by event, so that a file nested too deep is refused before the rest of it is even scanned.
        return _Reader(yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise StrictYamlError(mark.line + 1 if mark else 1, str(problem)) from error


class _Reader:
    """Builds the tree from parser events, which still know what was written."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._lines: dict[Path, int] = {}

    def document(self) -> Tree:
        self._expect(StreamStartEvent)
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            raise StrictYamlError(1, "the file is empty")
        if isinstance(start, DocumentStartEvent) and (start.version or start.tags):
            raise StrictYamlError(_line(start), "directives such as %YAML and %TAG are refused")
        value = self._node(next(self._events), ())
        self._expect(DocumentEndEvent)
        after = next(self._events)
        if not isinstance(after, StreamEndEvent):
            raise StrictYamlError(_line(after), "a second document follows: one file holds one document")
        return Tree(value, self._lines)

    def _expect(self, kind: type[Event]) -> None:
        event = next(self._events)
        if not isinstance(event, kind):
            raise StrictYamlError(_line(event), "not one YAML document")

    def _node(self, event: Event, path: Path) -> Any:
        line = _line(event)
        self._lines.setdefault(path, line)
        if len(path) > MAX_DEPTH:
            raise StrictYamlError(line, f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, AliasEvent):
            raise StrictYamlError(line, f"alias *{event.anchor} is refused: write the value again")
        if isinstance(event, NodeEvent) and event.anchor is not None:
            raise StrictYamlError(line, f"anchor &{event.anchor} is refused: write the value where it is used")
        if getattr(event, "tag", None) is not None:
            raise StrictYamlError(line, "tags such as !!str are refused: quote a value that must be a string")
        if isinstance(event, MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, ScalarEvent)
        return _scalar(event, line)

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._node(event, (*path, ""))
            if not isinstance(key, str):
                raise StrictYamlError(_line(event), "a key is a plain word: quote it")
            if key in found:
                raise StrictYamlError(_line(event), f"key `{key}` stands twice")
            found[key] = self._node(next(self._events), (*path, key))
        return found

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            found.append(self._node(event, (*path, len(found))))
        return found


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _scalar(event: ScalarEvent, line: int) -> str | int | bool:
    text: str = event.value
    if event.style is not None:
        return text
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.match(text):
        return int(text)
    meaning = Resolver().resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if not text or meaning != _TEXT or _NUMBER_ELSEWHERE.match(text):
        shown = text[:40] or "an empty value"
        raise StrictYamlError(line, f"{shown} is no word, whole number, true or false to every reader: quote it")
    return text
