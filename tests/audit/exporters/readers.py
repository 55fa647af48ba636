"""Readers of the text formats, written from their specifications and not from what writes them."""

from __future__ import annotations

import re

_HEADER = re.compile(r"CEF:0\|" + r"((?:[^|\\\r\n]|\\[|\\])*)\|" * 6 + r"(.*)\Z")
_KEY = re.compile(r"(?:^| )([A-Za-z0-9]+)=")
_MESSAGE = re.compile(
    r"<(?P<pri>[1-9][0-9]{0,2})>1 (?P<time>[0-9-]{10}T[0-9:]{8}\.[0-9]{1,6}Z) (?P<host>[!-~]{1,255}) "
    r"(?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    r"(?P<data>-|\[[^ =\]\"]{1,32}(?: [^ =\]\"]{1,32}=\"(?:[^\"\\\]]|\\[\"\\\]])*\")*\])(?: (?P<text>.*))?\Z",
    re.DOTALL,
)
_PARAMETER = re.compile(r" ([^ =\]\"]{1,32})=\"((?:[^\"\\\]]|\\[\"\\\]])*)\"")
_NEW_LINES = {"n": "\n", "r": "\r"}


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """The header of a CEF line, and its extension; what is not CEF fails."""
    found = _HEADER.match(line)
    assert found, line
    header = [re.sub(r"\\(.)", r"\1", part) for part in found.groups()[:-1]]
    extension = found.groups()[-1]
    assert "\n" not in extension
    assert "\r" not in extension
    keys = [key for key in _KEY.finditer(extension) if not _escaped(extension, key.end() - 1)]
    assert keys[0].start() == 0
    ends = [key.start() for key in keys[1:]] + [len(extension)]
    values = {key[1]: extension[key.end() : end] for key, end in zip(keys, ends, strict=True)}
    assert len(values) == len(keys), "each key once"
    for value in values.values():
        assert not re.search(r"(?<!\\)(?:\\\\)*=", value), "an equals sign in a value is escaped"
    return header, {key: _unescaped(value) for key, value in values.items()}


def _escaped(text: str, place: int) -> bool:
    return (len(text[:place]) - len(text[:place].rstrip("\\"))) % 2 == 1


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: _NEW_LINES.get(found[1], found[1]), value)


def read_syslog(message: str) -> tuple[dict[str, str], dict[str, str]]:
    """The header and text of an RFC 5424 message, and its structured data; what is no message fails."""
    found = _MESSAGE.match(message)
    assert found, message
    data = {name: re.sub(r"\\([\"\\\]])", r"\1", value) for name, value in _PARAMETER.findall(found["data"])}
    return found.groupdict(), data
