"""TOML of bounded size and depth: what people write, and nothing that keeps a parser busy."""

from __future__ import annotations

import re
import tomllib
from typing import Any

MAX_TOML_BYTES = 256 * 1024
"""A site file, a server file and a policy are read by people; nobody reviews more."""
MAX_KEY_PARTS = 16
"""Documents nest six deep."""

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
# `tomllib` walks a dotted key from the top for each of its parts: sixteen kilobytes of one key take a second.
_LONG_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*(?:{_PART}){{{MAX_KEY_PARTS}}}", re.MULTILINE)


def parse_toml(text: str) -> dict[str, Any]:
    """Read one TOML document in time that grows with its length alone.

    Raises:
        ValueError: It is not TOML, larger than `MAX_TOML_BYTES`, or a key has more than `MAX_KEY_PARTS` parts.
        RecursionError: It is nested too deeply.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_TOML_BYTES:
        raise ValueError(f"at most {MAX_TOML_BYTES} bytes are read")
    if _LONG_KEY.search(text):
        raise ValueError(f"a key of at most {MAX_KEY_PARTS} parts was expected")
    return tomllib.loads(text)
