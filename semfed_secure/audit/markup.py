"""HTML built from elements, so that nothing reaches a page without having been escaped."""

from __future__ import annotations

from html import escape
from typing import TypeAlias

_EMPTY = frozenset({"meta", "br", "line", "circle", "polyline"})


class Html(str):
    """Text that is HTML already; only `element` and `join` make it."""

    __slots__ = ()


Child: TypeAlias = Html | str | int | None


def element(name: str, /, *children: Child, **attributes: str | int | None) -> Html:
    """One element. Children that are not `Html` are escaped; those that are None are left out.

    Guarantee: whatever the text of children and attributes, the result is one well-formed element whose only tags
    and attributes are those that our code named.

    Args:
        name: The tag, a constant of our code.
        children: What it holds.
        attributes: Its attributes; ``class_`` and ``for_`` lose their underscore, other underscores become hyphens.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY and not children:
        return Html(f"<{name}{pairs}/>")
    return Html(f"<{name}{pairs}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Several children in a row, escaped unless they are `Html`."""
    return Html("".join(_text(child) for child in children if child is not None))


def _text(child: Html | str | int) -> str:
    return str(child) if isinstance(child, Html) else escape(str(child))
