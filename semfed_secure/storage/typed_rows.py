"""Database rows as dataclasses whose fields have the types that they declare.

SQLite keeps any value in any column, and one flipped byte of a stored record turns text into bytes: whoever reads a row
through `typed_row` gets what the dataclass says or a coded error, and needs no further check.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, TypeVar, get_args, get_origin, get_type_hints

from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import UnionType

R = TypeVar("R")


def typed_row(kind: type[R], values: Sequence[object], *, code: str = "SF531") -> R:
    """A row dataclass of ``values``, the columns in the order of its fields.

    Raises:
        IntegrityError: ``code``, a column holds another type, or a word that its field does not know.
    """
    for value, (name, types, words) in zip(values, _fields(kind), strict=True):  # type: ignore[arg-type] # a class has a hash
        if not isinstance(value, types) or (words and value not in words):
            raise IntegrityError(code, f"a stored {kind.__name__} is damaged: its {name} is not what was written")
    return kind(*values)


@cache
def _fields(kind: type[object]) -> tuple[tuple[str, type | UnionType, tuple[object, ...]], ...]:
    """Name, accepted types and, for a closed set, accepted words of each field."""
    return tuple((name, *_accepted(hint)) for name, hint in get_type_hints(kind).items())


def _accepted(hint: type | UnionType) -> tuple[type | UnionType, tuple[object, ...]]:
    return (str, get_args(hint)) if get_origin(hint) is Literal else (hint, ())
