"""The one algebra of limits: what tighter means for each field, and the meet of two documents.

Every field of a limits section carries its `Rule`. Composition, lint, the explanation in English and the mutation
check of `semfed policy test` all read that mark, so a new limit is one line in `document.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from semfed_secure.clock import to_iso

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

MARK = "tightening"


class Rule(StrEnum):
    """What tighter means; an absent value limits nothing."""

    AT_MOST = "at_most"
    """A lower value is tighter; the meet is the minimum."""
    AT_LEAST = "at_least"
    """A higher value is tighter; the meet is the maximum."""
    ONLY = "only"
    """A smaller set is tighter; the meet is the intersection."""
    ALL_OF = "all_of"
    """A larger set is tighter; the meet is the union."""
    COUNTS = "counts"
    """More names or higher counts are tighter; the meet takes the highest count of each name."""
    MUST = "must"
    """True is tighter; the meet is true where either is."""


class Section(BaseModel):
    """A frozen part of a document that refuses fields it does not know and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def limit(rule: Rule, description: str) -> Any:
    """Declare a limit: absent by default, marked with what tightens it."""
    return Field(default=None, description=description, json_schema_extra={MARK: rule.value})


def rule_of(field: FieldInfo) -> Rule | None:
    """The mark of a field, or None where it is a nested section."""
    extra = field.json_schema_extra
    return Rule(str(extra[MARK])) if isinstance(extra, dict) and MARK in extra else None


def meet(left: S, right: S) -> S:
    """The loosest section that is at least as tight as both.

    Commutative, associative, idempotent; what it limits is never looser than in ``left`` or in ``right``.
    """
    values = {}
    for name, field in type(left).model_fields.items():
        rule, one, other = rule_of(field), getattr(left, name), getattr(right, name)
        values[name] = meet(one, other) if rule is None else _meet_value(rule, one, other)
    return left.model_copy(update=values)


def _meet_value(rule: Rule, one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    match rule:
        case Rule.AT_MOST:
            return min(one, other)
        case Rule.AT_LEAST:
            return max(one, other)
        case Rule.ONLY:
            return one & other
        case Rule.ALL_OF | Rule.MUST:
            return one | other
        case Rule.COUNTS:
            return {name: max(one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}


def loosened(parent: Section, child: Section, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every field in which ``child`` asks for more than ``parent`` allows: path, the parent's and the child's value.

    Sets and counts that only add to what is required are never looser: their meet keeps both.
    """
    for name, field in type(parent).model_fields.items():
        rule, above, below = rule_of(field), getattr(parent, name), getattr(child, name)
        where = f"{path}.{name}" if path else name
        if rule is None:
            yield from loosened(above, below, where)
        elif above is not None and below is not None and _asks_more(rule, above, below):
            yield where, above, below


def _asks_more(rule: Rule, above: Any, below: Any) -> bool:
    if rule is Rule.ALL_OF:
        return False
    if rule is Rule.COUNTS:
        return any(below[name] < above[name] for name in below if name in above)
    return bool(_meet_value(rule, above, below) != below)


def walk(section: Section, path: str = "") -> Iterator[tuple[str, FieldInfo, Rule, Any]]:
    """Every limit that is set: its dotted path, its field, its rule, its value."""
    for name, field in type(section).model_fields.items():
        rule, value = rule_of(field), getattr(section, name)
        where = f"{path}.{name}" if path else name
        if rule is None:
            yield from walk(value, where)
        elif value is not None:
            yield where, field, rule, value


def without(section: S, path: str) -> S:
    """The same section with the limit at ``path`` taken away: what the mutation check decides with."""
    name, _, rest = path.partition(".")
    value = without(getattr(section, name), rest) if rest else None
    return section.model_copy(update={name: value})


def plain(value: Any) -> Any:
    """JSON-ready form of a limit's value, sets sorted, decimals exact: what is digested and shown."""
    if isinstance(value, Section):
        return {name: plain(item) for name, item in value if item is not None}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int) else _scalar(value)


def _scalar(value: Decimal | datetime | str) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return to_iso(value) if isinstance(value, datetime) else str(value)


def describe(model: type[Section], path: str) -> tuple[Rule, str]:
    """Rule and description of the limit at ``path``.

    Raises:
        KeyError: there is no such limit.
    """
    name, _, rest = path.partition(".")
    field = model.model_fields[name]
    if rest:
        nested = field.annotation
        if not (isinstance(nested, type) and issubclass(nested, Section)):
            raise KeyError(path)
        return describe(nested, rest)
    rule = rule_of(field)
    if rule is None:
        raise KeyError(path)
    return rule, field.description or ""
