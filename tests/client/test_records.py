"""Reading records: every line is checked, errors name the line and never the content."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.client.records import LabelledPrompt, bound_records, read_labelled, read_records
from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.model import Record

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = st.lists(st.builds(Record, st.sampled_from("abcde"), st.text(max_size=3), st.text(max_size=3)))


def write(directory: Path, text: str) -> Path:
    """A file with this text."""
    path = directory / "rows.jsonl"
    path.write_text(text)
    return path


def test_records_are_read_in_order(tmp_path: Path) -> None:
    """Empty lines are skipped, a missing completion is empty, other keys are allowed."""
    path = write(
        tmp_path,
        '{"entity_id": "p1", "prompt": "q", "completion": "a"}\n\n{"entity_id": "p2", "prompt": "r", "x": 1}\n',
    )
    assert read_records(path) == (Record("p1", "q", "a"), Record("p2", "r", ""))


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"prompt": "secret"}', "SF142"),
        ('{"entity_id": "", "prompt": "secret"}', "SF142"),
        ('{"entity_id": null, "prompt": "secret"}', "SF142"),
        ('{"entity_id": 7, "prompt": "secret"}', "SF104"),
        ('{"entity_id": ["secret"], "prompt": "q"}', "SF104"),
        ('{"entity_id": "secret ", "prompt": "q"}', "SF104"),
        ('{"entity_id": "\u00a0secret", "prompt": "q"}', "SF104"),
        ('{"entity_id": "secre\u0301t", "prompt": "q"}', "SF104"),
        ('{"entity_id": "sec\u200bret", "prompt": "q"}', "SF104"),
        ('{"entity_id": "secret\\u0000", "prompt": "q"}', "SF104"),
        ('{"entity_id": "secret\\ud800", "prompt": "q"}', "SF104"),
        ('{"entity_id": "p", "prompt": "secret\\ud800"}', "SF104"),
        ('{"entity_id": "p", "prompt": "q", "completion": "secret\\udfff"}', "SF104"),
        ('{"entity_id": "secret", "entity_id": "p", "prompt": "q"}', "SF104"),
        ('{"entity_id": "p", "prompt": "q", "x": {"secret": 1, "secret": 2}}', "SF104"),
        ('{"entity_id": "secret", "prompt": "q", "x": ' + "1" * 5000 + "}", "SF104"),
        ('{"entity_id": "secret", "prompt": "q", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "SF104"),
        ('{"entity_id": "p"}', "SF104"),
        ('{"entity_id": "p", "prompt": 7}', "SF104"),
        ('{"entity_id": "p", "prompt": "secret", "completion": 7}', "SF104"),
        ('["secret"]', "SF104"),
        ("secret", "SF104"),
    ],
)
def test_a_bad_line_is_named_not_quoted(tmp_path: Path, line: str, code: str) -> None:
    """The error says which line, and holds nothing of it, nor does its cause."""
    path = write(tmp_path, '{"entity_id": "p", "prompt": "q"}\n' + line)
    with pytest.raises(ConfigurationError, match="line 2") as caught:
        read_records(path)
    assert caught.value.code == code
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_wrong_with_an_entity_id_is_said(tmp_path: Path) -> None:
    """One that is missing, one of another type and one that has two forms are told apart."""
    said = {"null": "names no `entity_id`", "17": "`entity_id` must be a text", '" p"': "outer blanks"}
    for value, words in said.items():
        with pytest.raises(ConfigurationError, match=words):
            read_records(write(tmp_path, f'{{"entity_id": {value}, "prompt": "q"}}'))


def test_an_escaped_pair_is_one_character(tmp_path: Path) -> None:
    """A whole surrogate pair is how JSON writes what lies beyond 16 bits."""
    assert read_records(write(tmp_path, '{"entity_id": "p", "prompt": "\\ud83d\\ude00"}')) == (
        Record("p", "\N{GRINNING FACE}", ""),
    )


def test_labelled_prompts_may_have_candidates(tmp_path: Path) -> None:
    """Closed and open tasks stand in one file."""
    path = write(tmp_path, '{"prompt": "q", "answer": "a", "candidates": ["a", "b"]}\n{"prompt": "r", "answer": "x"}\n')
    assert read_labelled(path) == (LabelledPrompt("q", "a", ("a", "b")), LabelledPrompt("r", "x"))
    with pytest.raises(ConfigurationError):
        read_labelled(write(tmp_path, '{"prompt": "q", "answer": "a", "candidates": "ab"}'))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "rows.jsonl"),
        ("\n \n", "rows.jsonl"),
        ('{"prompt": "q", "answer": "secret", "candidates": ["a"]}', "line 1"),
        ('{"prompt": "q", "answer": "a"}\n{"prompt": "q", "answer": "a ", "candidates": ["a", "b"]}', "line 2"),
    ],
)
def test_labelled_prompts_that_cannot_tell_right_from_wrong_are_refused(tmp_path: Path, text: str, where: str) -> None:
    """SF104 for none at all and for an answer that no choice can meet: a check over them would always pass."""
    with pytest.raises(ConfigurationError, match=where) as caught:
        read_labelled(write(tmp_path, text))
    assert caught.value.code == "SF104"
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_a_coded_error(tmp_path: Path) -> None:
    """SF102."""
    with pytest.raises(ConfigurationError) as caught:
        read_records(tmp_path / "none")
    assert caught.value.code == "SF102"


@given(RECORDS, st.integers(1, 3))
def test_no_entity_keeps_more_than_its_bound(records: list[Record], bound: int) -> None:
    """At most the bound of each entity, in order, and everything of entities below it."""
    kept = bound_records(records, max_records_per_entity=bound)
    assert max(Counter(record.entity_id for record in kept).values(), default=0) <= bound
    counts = Counter(record.entity_id for record in records)
    assert len(kept) == sum(min(count, bound) for count in counts.values())


@given(RECORDS, st.sampled_from("abcde"), st.integers(1, 3))
def test_one_entity_more_or_less_changes_nothing_for_the_others(records: list[Record], entity: str, bound: int) -> None:
    """What is kept of one entity depends on that entity's records alone."""
    without = bound_records([row for row in records if row.entity_id != entity], max_records_per_entity=bound)
    kept = bound_records(records, max_records_per_entity=bound)
    assert without == tuple(row for row in kept if row.entity_id != entity)
