"""Recorded bytes in diagnostic notation (RFC 8949 section 8, RFC 8610 appendix G), with the name of every field.

The text is complete: any reader of the notation makes the recorded bytes of it again, bit for bit. Names come from
the tables that the messages are encoded by.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from semfed_secure.crypto import key_files, keys
from semfed_secure.errors import PeerError
from semfed_secure.identity import enrolment, records, root, roster
from semfed_secure.wire import manifest, payload, prompts, results, statement
from semfed_secure.wire.cbor import Limits, decode
from semfed_secure.wire.cose import Algorithm
from semfed_secure.wire.schema import Codec, Message

_MODULES = (enrolment, key_files, keys, manifest, payload, prompts, records, results, root, roster, statement)
MESSAGES = {each.tag: each for module in _MODULES for each in vars(module).values() if isinstance(each, Message)}
"""Every message by its tag."""
_WIDE = Limits(max_bytes=1 << 24, max_items=100_000, max_depth=16)
_SIGNED = b"\xd8\x62"
_STEP = "  "
_HEX_IN_A_LINE = 96


def annotate(data: bytes) -> str:
    """The notation of one recorded file."""
    found = _message(data, "")
    assert found is not None, "a message was expected"
    return f"/ {len(data)} bytes /\n{found}\n"


def _message(data: bytes, indent: str) -> str | None:
    """What is encoded in ``data``, or None if it is no message of ours."""
    signed = data.startswith(_SIGNED)
    try:
        value = decode(data[len(_SIGNED) :] if signed else data, limits=_WIDE)
    except PeerError:
        return None
    if signed:
        return _envelope(value, indent)
    if not isinstance(value, dict) or value.get(0) not in MESSAGES:
        return None
    message = MESSAGES[value[0]]
    deeper = indent + _STEP
    head = [f"{deeper}/ type / 0: {_text(value[0])}", f"{deeper}/ version / 1: {value[1]}"]
    body = _fields({key: item for key, item in value.items() if key > 1}, message.body, deeper)
    return "{\n" + ",\n".join([*head, *body]) + f"\n{indent}}}"


def _envelope(value: Any, indent: str) -> str:
    _, _, content, signatures = value
    deeper, deepest = indent + _STEP, indent + 3 * _STEP
    shown = []
    for protected, _, signature in signatures:
        header = decode(protected, limits=_WIDE)
        algorithm = f"/ algorithm, {Algorithm(header[1]).name} / 1: {header[1]}"
        lines = [
            f"{deepest}/ protected / << {{{algorithm}, / key id / 4: {_octets(header[4], deepest)}}} >>",
            f"{deepest}/ unprotected / {{}}",
            f"{deepest}/ signature / {_octets(signature, deepest)}",
        ]
        shown.append(f"{deeper}{_STEP}[\n" + ",\n".join(lines) + f"\n{deeper}{_STEP}]")
    parts = [
        f"{deeper}/ protected / h''",
        f"{deeper}/ unprotected / {{}}",
        f"{deeper}/ payload / {_octets(content, deeper)}",
        f"{deeper}/ signatures / [\n" + ",\n".join(shown) + f"\n{deeper}]",
    ]
    return "/ COSE_Sign / 98([\n" + ",\n".join(parts) + f"\n{indent}])"


def _fields(value: dict[int, Any], codec: Codec[Any], indent: str) -> list[str]:
    table = _parts_of(codec)["table"]
    return [f"{indent}/ {table[key][0]} / {key}: {_value(item, table[key][1], indent)}" for key, item in value.items()]


def _value(value: Any, codec: Codec[Any], indent: str) -> str:
    if isinstance(value, bytes):
        return _octets(value, indent)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _map(value, codec, indent)
    if not isinstance(value, list):
        return json.dumps(value)
    inner, deeper = _parts_of(codec).get("codec", codec), indent + _STEP
    items = [deeper + _value(item, inner, deeper) for item in value]
    return "[\n" + ",\n".join(items) + f"\n{indent}]" if items else "[]"


def _map(value: dict[Any, Any], codec: Codec[Any], indent: str) -> str:
    parts = _parts_of(codec)
    if "table" in parts:
        return "{\n" + ",\n".join(_fields(value, codec, indent + _STEP)) + f"\n{indent}}}"
    if "codec" in parts:  # a record that may be null
        return _map(value, parts["codec"], indent)
    return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in value.items()) + "}"


def _parts_of(codec: Codec[Any]) -> dict[str, Any]:
    """What a codec was made of: ``table`` of a record, ``codec`` of what holds others."""
    return dict(inspect.getclosurevars(codec.unpack).nonlocals)


def _octets(value: bytes, indent: str) -> str:
    """A byte string: the message in it, or hexadecimal in lines."""
    nested = _message(value, indent) if len(value) > 1 else None
    if nested is not None:
        return f"<< {nested} >>"
    digits = value.hex()
    if len(digits) <= _HEX_IN_A_LINE:
        return f"h'{digits}'"
    lines = [digits[at : at + _HEX_IN_A_LINE] for at in range(0, len(digits), _HEX_IN_A_LINE)]
    return "h'" + "".join(f"\n{indent}{_STEP}{line}" for line in lines) + "'"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
