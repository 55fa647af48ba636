"""TOML that keeps a parser busy is refused before it does."""

from __future__ import annotations

import time
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.client.config import load_site_config
from semfed_secure.errors import ConfigurationError
from semfed_secure.plain_toml import MAX_KEY_PARTS, MAX_TOML_BYTES, parse_toml
from semfed_secure.policy.loading import parse_document
from semfed_secure.server.config import load_server_config

if TYPE_CHECKING:
    from pathlib import Path

PIECES = [
    "a.",
    "a",
    '"a".',
    "'b' . ",
    "[",
    "[[",
    "]\n",
    "{",
    "=",
    "\n",
    ",",
    "x={",
    "1",
    "a=1\n",
    '"""',
    "#",
    "b={c=1},",
]
LONG_KEYS = ["a." * 60_000 + "a = 1", "[" + "'a'." * 40_000 + "a]\n", "x = {" + '"a" . ' * 30_000 + "a = 1}"]


@pytest.mark.parametrize("text", LONG_KEYS, ids=["key", "table", "inline"])
def test_a_key_of_many_parts_is_refused_at_once(text: str) -> None:
    """The standard parser takes minutes for one such line."""
    started = time.process_time()
    with pytest.raises(ValueError, match="parts"):
        parse_toml(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("text", ["a = 1\n" + "#" * MAX_TOML_BYTES, LONG_KEYS[0]], ids=["too large", "long key"])
def test_every_file_that_people_write_is_bounded(tmp_path: Path, text: str) -> None:
    """Site file, server file and policy: refused by their own codes."""
    path = tmp_path / "file.toml"
    path.write_text(text)
    for load in (load_site_config, load_server_config):
        with pytest.raises(ConfigurationError, match="SF101"):
            load(path)
    with pytest.raises(ConfigurationError, match="SF111"):
        parse_document(text.encode(), name="policy.toml")


def test_documents_as_deep_as_any_of_ours_are_read() -> None:
    """The bound is far above what anybody writes, and dots inside texts are no keys."""
    key = ".".join("a" * (MAX_KEY_PARTS - 1))
    assert parse_toml(f"{key} = 1\ntext = 'www.{'a.' * 30}example'\n")["text"].startswith("www.")


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_what_is_read_is_what_the_standard_parser_reads(text: str) -> None:
    """Refused by both, or the same document; only a long key is refused by one alone."""
    try:
        value = parse_toml(text)
    except (ValueError, RecursionError) as error:
        if "parts" not in str(error):
            with pytest.raises((ValueError, RecursionError)):
                tomllib.loads(text)
        return
    assert value == tomllib.loads(text)
