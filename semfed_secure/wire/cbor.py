"""Deterministic CBOR (RFC 8949 section 4.2) with a strict, bounded decoder.

One value has exactly one encoding, and the decoder accepts nothing else: what was verified is what was signed.
The decoder walks the heads of the input first, without building anything, and refuses size, depth, count, and
every construct that this protocol does not use; only then does `cbor2` build the objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import cbor2

from semfed_secure.errors import PeerError

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | Mapping[int, Value] | Mapping[str, Value] | None"

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
# Bytes of each wider argument, and the smallest that may use them: RFC 8949 4.2.1 asks for the shortest head.
_ARGUMENTS = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}
_MIDDLE_TEXT = 0x79
_SIMPLE_VALUES = frozenset({0xF4, 0xF5, 0xF6})  # false, true, null
_AS_THEY_ARE = frozenset({str, bytes, bool, type(None)})
MAX_INTEGER = (1 << 64) - 1
MAX_MAP_PAIRS = 64
"""More than any message has: whoever sends many keys sends none of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a decoder accepts before it builds any object.

    Attributes:
        max_bytes: Size of the whole message; larger is ``SF301``.
        max_items: Data items of all kinds together. One input byte can become a hundred bytes of objects,
            so the size alone does not bound memory.
        max_depth: Nesting of arrays and maps.
    """

    max_bytes: int
    max_items: int = 1_000
    max_depth: int = 8


def encode(value: Value) -> bytes:
    """Encode ``value`` deterministically: shortest heads, definite lengths, keys in bytewise order.

    Equal values have equal encodings, and `decode` returns an equal value for each.

    Raises:
        TypeError: A float, a tag, a set, a mixed-key map, or any other type that is not a `Value`.
        ValueError: An integer beyond 64 bits, a map of more than `MAX_MAP_PAIRS`, or text that is not UTF-8.
    """
    # Of whole numbers, and of texts, the shorter encoding is also the bytewise lesser: the order of `canonical`.
    return cbor2.dumps(_checked(value), canonical=True)


def decode(data: bytes, *, limits: Limits) -> Value:
    """Decode one deterministic CBOR item that fills ``data`` exactly.

    Whatever is returned encodes to ``data`` again, byte for byte; all else is refused.

    Returns:
        Integers, bytes, text, booleans, None, lists, and dicts with all-integer or all-text keys.

    Raises:
        PeerError: ``SF301`` larger than ``limits.max_bytes``; ``SF302`` anything else.
    """
    if len(data) > limits.max_bytes:
        raise PeerError(
            "SF301",
            f"a message of at most {limits.max_bytes} bytes was expected, got {len(data)}",
            limit_bytes=limits.max_bytes,
            size_bytes=len(data),
        )
    end = _Scanner(data, limits).item(0, 0)
    if end != len(data):
        _malformed("bytes follow the message")
    try:
        value: Value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, UnicodeDecodeError):
        _malformed("text that is not UTF-8")
    # The scanner should leave nothing for this to catch; it is the definition.
    if cbor2.dumps(value, canonical=True) != data:
        _malformed("an encoding that is not deterministic")
    return value


def _malformed(defect: str) -> NoReturn:
    raise PeerError("SF302", f"deterministic CBOR was expected, got {defect}", defect=defect) from None


def _checked(value: Value) -> Value:
    """``value`` with every type checked; what is a subclass of a plain type becomes that type."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, list | tuple):
        return [item if type(item) in _AS_THEY_ARE else _checked(item) for item in value]
    if isinstance(value, Mapping):
        return _checked_map(value)
    if isinstance(value, int):
        if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            raise ValueError("an integer of at most 64 bits was expected")
        return int(value)
    if isinstance(value, str):
        return str(value)  # a StrEnum member becomes plain text
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"{kind.__name__} has no encoding here")


def _checked_map(value: Mapping[int, Value] | Mapping[str, Value]) -> Value:
    if len(value) > MAX_MAP_PAIRS:
        raise ValueError(f"a map of at most {MAX_MAP_PAIRS} pairs was expected")
    if all(isinstance(key, str) for key in value):
        return {str(key): _checked(item) for key, item in value.items()}
    if all(type(key) is int and 0 <= key <= MAX_INTEGER for key in value):
        return {int(key): _checked(item) for key, item in value.items()}
    raise TypeError("map keys are all integers from 0 up, or all text")


class _Scanner:
    """Walks the heads of one item and refuses everything outside the deterministic subset."""

    __slots__ = ("_data", "_items_left", "_max_depth", "_size")

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data, self._size = data, len(data)
        self._items_left = limits.max_items
        self._max_depth = limits.max_depth

    def item(self, start: int, depth: int) -> int:
        """Check the item at ``start`` and return where it ends."""
        self._items_left -= 1
        if self._items_left < 0:
            _malformed("more data items than the limit")
        if start >= self._size:
            _malformed("a message that ends early")
        first, end = self._data[start], start + 1
        major, argument = first >> 5, first & 0x1F
        if major > _TAG:
            if first not in _SIMPLE_VALUES:
                _malformed("a float, a break, or an unknown simple value")
            return end
        if argument >= 24:
            argument, end = self._wide_argument(argument, end)
        if major <= _NEGATIVE:
            return end
        if major <= _TEXT:
            if argument > self._size - end:
                _malformed("a string longer than its message")
            return end + argument
        if major == _TAG:
            _malformed("a tag")
        return self._container(major, argument, end, depth + 1)

    def _wide_argument(self, info: int, start: int) -> tuple[int, int]:
        """The argument that follows its head's first byte, and where it ends."""
        if info not in _ARGUMENTS:
            _malformed("an indefinite or reserved length")
        width, smallest = _ARGUMENTS[info]
        end = start + width
        if end > self._size:
            _malformed("a message that ends early")
        argument = int.from_bytes(self._data[start:end])
        if argument < smallest:
            _malformed("a head that is not the shortest")
        return argument, end

    def _container(self, major: int, count: int, start: int, depth: int) -> int:
        if depth > self._max_depth:
            _malformed("deeper nesting than the limit")
        # Every item takes at least one byte: a huge count is refused here, before the walk.
        if count * (2 if major == _MAP else 1) > min(self._size - start, self._items_left):
            _malformed("a container longer than its message or the limit")
        if major == _MAP:
            return self._map(count, start, depth)
        data, last_head = self._data, self._size - 3
        for _ in range(count):
            # Texts of 256 to 65535 bytes, which large messages consist of: as in `item`, without its calls.
            if start <= last_head and data[start] == _MIDDLE_TEXT and data[start + 1] and self._items_left > 0:
                self._items_left -= 1
                start += 3 + (data[start + 1] << 8) + data[start + 2]
            else:
                start = self.item(start, depth)
        if start > self._size:
            _malformed("a string longer than its message")
        return start

    def _map(self, count: int, start: int, depth: int) -> int:
        if count > MAX_MAP_PAIRS:
            _malformed("a map of more pairs than any message has")
        kinds: set[bool] = set()
        previous = b""
        for _ in range(count):
            major = self._data[start] >> 5 if start < self._size else _UINT
            if major not in {_UINT, _TEXT}:
                _malformed("a map key that is neither an integer from 0 up nor text")
            kinds.add(major == _TEXT)
            end = self.item(start, depth)
            key = self._data[start:end]
            if key == previous:
                _malformed("a duplicate map key")
            if key < previous or len(kinds) > 1:
                _malformed("map keys out of order or of two kinds")
            previous = key
            start = self.item(end, depth)
        return start
