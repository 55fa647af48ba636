"""Prompt sets from JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.errors import ConfigurationError
from semfed_secure.server.prompt_files import read_prompt_set
from semfed_secure.wire.prompts import Prompt, PromptSet

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, *rows: Any) -> Path:
    """A file of JSON lines; strings are written as they are."""
    path = directory / "votes.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_prompt_set_is_its_lines_its_name_and_its_candidates(tmp_path: Path) -> None:
    """Own candidates stand beside shared ones, a topic beside none; empty lines are nothing."""
    tagged = {"id": "b", "prompt": "two", "candidates": ["x", "y"], "topic": "cardiology"}
    path = write(tmp_path, {"id": "a", "prompt": "one"}, "", tagged)
    expected = PromptSet("votes", (Prompt("a", "one"), Prompt("b", "two", ("x", "y"), "cardiology")), ("yes", "no"))
    assert read_prompt_set(path, name="votes", candidates=["yes", "no"]) == expected


@pytest.mark.parametrize(
    "row",
    [
        "{",
        {"id": "b", "prompt": "two", "topic": 7},
        "[]",
        {"id": "a"},
        {"id": 1, "prompt": "x"},
        {"id": "a", "prompt": "x", "label": "y"},
        {"id": "a", "prompt": "x", "candidates": [1]},
        "[" * 100_000,
        '{"id": "a", "prompt": ' + "1" * 5_000 + "}",
        {"id": "a", "prompt": "x \x1b[31m"},
        {"id": "a", "prompt": "\u202ex"},
        {"id": "a", "prompt": "\ud800"},
        {"id": "a", "prompt": " "},
        {"id": "a", "prompt": "x", "candidates": ["y\0"]},
    ],
    ids=[
        "not-json",
        "topic-of-another-type",
        "not-an-object",
        "no-prompt",
        "id-is-a-number",
        "unknown-key",
        "candidate-is-a-number",
        "deep",
        "huge-number",
        "escape",
        "direction",
        "surrogate",
        "blank",
        "nul-in-a-candidate",
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, row: Any) -> None:
    """The second line is said to be the second, and its content is not repeated."""
    with pytest.raises(ConfigurationError, match=r"SF104.*line 2"):
        read_prompt_set(write(tmp_path, {"id": "a", "prompt": "one"}, row), name="votes")


def test_a_byte_order_mark_and_line_separators_are_text(tmp_path: Path) -> None:
    """A file as an editor of Windows writes it reads the same, and a line separator ends no line."""
    path = tmp_path / "votes.jsonl"
    path.write_bytes('\ufeff{"id": "a", "prompt": "x\u2028y"}\r\n{"id": "b", "prompt": "z"}\r\n'.encode())
    assert read_prompt_set(path, name="votes").prompts == (Prompt("a", "x\u2028y"), Prompt("b", "z"))


def test_a_next_line_character_is_named_as_hidden(tmp_path: Path) -> None:
    """It is a control character, and it does not shift the numbers of lines."""
    path = write(tmp_path, {"id": "a", "prompt": "one"}, '{"id": "b", "prompt": "x\x85y"}')
    with pytest.raises(ConfigurationError, match=r"SF104.*line 2: text without hidden characters"):
        read_prompt_set(path, name="votes")


def test_what_the_wire_does_not_carry_is_refused(tmp_path: Path) -> None:
    """A repeated id, no prompt at all, a name or topic with spaces, a label beside its own capitals."""
    row = {"id": "a", "prompt": "one"}
    twice = {"id": "a", "prompt": "one", "candidates": ["heart", "Heart "]}
    spaced = row | {"topic": "heart and lung"}
    for rows, name in (
        ([row, row], "votes"),
        ([], "votes"),
        ([row], "my votes"),
        ([twice], "votes"),
        ([spaced], "votes"),
    ):
        with pytest.raises(ConfigurationError, match="SF105"):
            read_prompt_set(write(tmp_path, *rows), name=name)


def test_a_file_that_is_none_or_is_not_text(tmp_path: Path) -> None:
    """SF102 and SF104."""
    with pytest.raises(ConfigurationError, match="SF102"):
        read_prompt_set(tmp_path / "none", name="votes")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="SF104"):
        read_prompt_set(tmp_path / "bytes", name="votes")
