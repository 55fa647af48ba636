"""How a frozen dataclass stands on the wire: one numbered table per message, read in both directions.

A `Codec` checks and converts one value. `record` joins codecs to a dataclass by integer keys, `Message` adds the
type/version tag. The same checks run when encoding and when parsing, so nothing is sent that a peer would refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.ids import DIGEST_BYTES, Digest, KeyId, is_name
from semfed_secure.wire.cbor import Limits, Value, decode, encode

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

MAX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: what a `datetime` can hold."""
MAX_EXACT = 2**53 - 1
"""The largest sequence or place in a log: an audit entry, which is JSON, holds every integer up to here."""
_KEY_ID = re.compile(r"sha256:[0-9a-f]{64}\Z")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,40})?\Z|Infinity\Z")


class WireValueError(ValueError):
    """A value that has no place on the wire; its text names the field and the expectation, never the value."""


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Converts one value to the wire and back; both directions raise `WireValueError`."""

    pack: Callable[[T], Value]
    unpack: Callable[[Value], T]


def _expect(condition: bool, expectation: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise WireValueError(f"{expectation} was expected")


def _checked(check: Callable[[Any], Any]) -> Codec[Any]:
    return Codec(check, check)


def text(max_bytes: int, pattern: str | None = None) -> Codec[str]:
    """UTF-8 text of at most ``max_bytes``, matching all of ``pattern`` if given."""
    matcher = re.compile(pattern) if pattern else None
    expectation = f"text of at most {max_bytes} bytes"

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise WireValueError(f"{expectation} was expected")
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError:
            raise WireValueError("text without lone surrogates was expected") from None
        if size > max_bytes:
            raise WireValueError(f"{expectation} was expected")
        if matcher is not None:
            _expect(matcher.fullmatch(value) is not None, f"text of the form {pattern}")
        return str(value)

    return _checked(check)


def octets(minimum: int, maximum: int | None = None) -> Codec[bytes]:
    """Exactly ``minimum`` bytes, or between ``minimum`` and ``maximum``."""
    top = minimum if maximum is None else maximum

    def check(value: Any) -> bytes:
        _expect(isinstance(value, bytes) and minimum <= len(value) <= top, f"{minimum} to {top} bytes")
        return bytes(value)

    return _checked(check)


def whole(minimum: int, maximum: int) -> Codec[int]:
    """An integer between ``minimum`` and ``maximum``, both included."""

    def check(value: Any) -> int:
        plain = isinstance(value, int) and not isinstance(value, bool)
        _expect(plain and minimum <= value <= maximum, f"an integer of {minimum} to {maximum}")
        return int(value)

    return _checked(check)


def _name(value: Any) -> str:
    _expect(isinstance(value, str) and is_name(value), "a name of 1 to 63 characters a-z 0-9 . _ -")
    return str(value)


def _key_id(value: Any) -> KeyId:
    _expect(isinstance(value, str) and _KEY_ID.match(value) is not None, "a key id, sha256: and 64 hex digits")
    return KeyId(value)


def _pack_decimal(value: Any) -> str:
    _expect(isinstance(value, Decimal) and not value.is_nan(), "a decimal number")
    return _decimal_text("Infinity" if value == Decimal("Infinity") else format(value, "f"))


def _decimal_text(value: Any) -> str:
    _expect(isinstance(value, str) and _DECIMAL.match(value) is not None, "a plain decimal number, not negative")
    return str(value)


NAME: Codec[Any] = _checked(_name)
DIGEST: Codec[Digest] = octets(DIGEST_BYTES)  # type: ignore[assignment]
KEY_ID: Codec[KeyId] = _checked(_key_id)
INSTANT_MS: Codec[int] = whole(0, MAX_MS)
SEQUENCE: Codec[int] = whole(1, MAX_EXACT)
PPM: Codec[int] = whole(0, 1_000_000)
DECIMAL: Codec[Decimal] = Codec(_pack_decimal, lambda value: Decimal(_decimal_text(value)))
"""A non-negative decimal in plain notation, or ``Infinity``: floats never travel."""
DECIMAL_TEXT: Codec[str] = _checked(_decimal_text)


def choice(kind: type[E]) -> Codec[E]:
    """One member of a `StrEnum`."""
    members = {str(member.value): member for member in kind}

    def check(value: Any) -> E:
        _expect(isinstance(value, str) and value in members, f"one of {', '.join(members)}")
        return members[value]

    return Codec(check, check)


def one_of(*allowed: str) -> Codec[Any]:
    """One of the ``allowed`` strings."""

    def check(value: Any) -> str:
        _expect(isinstance(value, str) and value in allowed, f"one of {', '.join(allowed)}")
        return str(value)

    return _checked(check)


def maybe(codec: Codec[T]) -> Codec[T | None]:
    """The value of ``codec``, or null."""
    return Codec(
        lambda value: None if value is None else codec.pack(value),
        lambda value: None if value is None else codec.unpack(value),
    )


def many(codec: Codec[T], maximum: int, minimum: int = 0) -> Codec[tuple[T, ...]]:
    """A tuple of ``minimum`` to ``maximum`` values."""
    expectation = f"{minimum} to {maximum} items"

    def pack(values: tuple[T, ...]) -> Value:
        _expect(isinstance(values, tuple) and minimum <= len(values) <= maximum, expectation)
        return [codec.pack(value) for value in values]

    def unpack(value: Value) -> tuple[T, ...]:
        if not isinstance(value, list) or not minimum <= len(value) <= maximum:
            raise WireValueError(f"{expectation} were expected")
        return tuple(map(codec.unpack, value))

    return Codec(pack, unpack)


def pair(first: Codec[Any], second: Codec[Any]) -> Codec[Any]:
    """A tuple of two values."""

    def both(value: Any, a: Callable[[Any], Any], b: Callable[[Any], Any]) -> list[Any]:
        _expect(isinstance(value, list | tuple) and len(value) == 2, "two values")
        return [a(value[0]), b(value[1])]

    return Codec(
        lambda value: both(value, first.pack, second.pack),
        lambda value: tuple(both(value, first.unpack, second.unpack)),
    )


def text_map(max_items: int, key: Codec[str], item: Codec[str]) -> Codec[Mapping[str, str]]:
    """A map of text to text with at most ``max_items`` entries."""

    def check(value: Any) -> dict[str, str]:
        _expect(isinstance(value, Mapping) and len(value) <= max_items, f"a map of at most {max_items} entries")
        return {key.unpack(name): item.unpack(content) for name, content in value.items()}

    return _checked(check)


def record(
    kind: type[T],
    table: Mapping[int, tuple[str, Codec[Any]]],
    check: Callable[[T], None] | None = None,
) -> Codec[T]:
    """A dataclass as a map with integer keys: exactly those of ``table``, no more and no fewer.

    Args:
        kind: The dataclass.
        table: Wire number to field name and codec; names every field of ``kind`` once.
        check: Raises `WireValueError` for what no single field can say.
    """
    if sorted(name for name, _ in table.values()) != sorted(field.name for field in fields(kind)):  # type: ignore[arg-type]
        raise TypeError(f"the wire table of {kind.__name__} does not name its fields")

    def pack(value: T) -> Value:
        _expect(isinstance(value, kind), f"a {kind.__name__}")
        if check:
            check(value)
        return {number: _at(name, codec.pack, getattr(value, name)) for number, (name, codec) in table.items()}

    def unpack(value: Value) -> T:
        if not isinstance(value, dict) or value.keys() != table.keys():
            raise WireValueError(f"exactly the {len(table)} fields of {kind.__name__} were expected")
        built = kind(**{name: _at(name, codec.unpack, value[number]) for number, (name, codec) in table.items()})
        if check:
            check(built)
        return built

    return Codec(pack, unpack)


def _at(name: str, convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except WireValueError as error:
        raise WireValueError(f"{name}: {error}") from None


_TAG_KEY, _VERSION_KEY = 0, 1


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """A record that opens with its type tag (key 0) and version (key 1).

    ``parse(encode(x)) == x`` for every valid ``x``, and ``encode(parse(data)) == data`` for every accepted ``data``.
    A message of one type never parses as another.
    """

    tag: str
    version: int
    body: Codec[T]
    limits: Limits

    def encode(self, value: T) -> bytes:
        """The bytes of ``value``.

        Raises:
            ConfigurationError: ``SF105`` if a field is outside what the wire carries, or the whole is too large.
        """
        try:
            body = self.body.pack(value)
        except WireValueError as error:
            raise ConfigurationError("SF105", f"{self.tag}: {error}") from None
        assert isinstance(body, dict)  # INVARIANT: a message body is a record
        data = encode({_TAG_KEY: self.tag, _VERSION_KEY: self.version, **body})
        if len(data) > self.limits.max_bytes:
            limit = self.limits.max_bytes
            raise ConfigurationError("SF105", f"{self.tag}: at most {limit} bytes were expected, got {len(data)}")
        return data

    def parse(self, data: bytes, *, limits: Limits | None = None) -> T:
        """Read ``data`` back.

        Raises:
            PeerError: ``SF301`` too large; ``SF302`` not well-formed or of another type; ``SF303`` another version.
        """
        value = decode(data, limits=limits or self.limits)
        if not isinstance(value, dict) or value.get(_TAG_KEY) != self.tag:
            raise PeerError("SF302", f"a message of type {self.tag} was expected")
        if value.get(_VERSION_KEY) != self.version or isinstance(value.get(_VERSION_KEY), bool):
            raise PeerError("SF303", f"version {self.version} of {self.tag} was expected")
        body = {key: item for key, item in value.items() if key not in {_TAG_KEY, _VERSION_KEY}}
        try:
            return self.body.unpack(body)
        except WireValueError as error:
            raise PeerError("SF302", f"{self.tag}: {error}") from None
