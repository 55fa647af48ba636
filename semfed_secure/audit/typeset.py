"""The report's HTML as source for the typesetter Typst, in which text stands in quoted strings and is never markup."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser

# The function that sets an element, by its tag or its class.
_CALLED = {
    "p": "par", "strong": "strong", "code": "mono", "pre": "listing", "footer": "closing", "dt": "label_of",
    "dd": "figure_of", "h1": "heading.with(level: 1)", "h2": "heading.with(level: 2)", "h3": "heading.with(level: 3)",
    "div": "block", "section": "block", "header": "block", "main": "block", "body": "block", "span": "plain",
    "a": "plain", "li": "plain", "caption": "plain",
}  # fmt: skip
_STYLED = {"word": "word", "kind": "soft", "soft": "soft"}
_LISTS = {"ul": "list", "ol": "enum", "dl": "figures"}
_SKIPPED = frozenset({"style", "nav"})
_NARROW = frozenset({"number", "time"})
_PAGE_WIDTH = 760.0
"""Points between the margins of a page, for a table."""
_LETTER, _GAP = 4.4, 8.0
"""Points of an average letter in a table, and between its columns."""
_LONG = 60
"""Letters of a line of text in a table; longer texts wrap."""
# What the fonts that come with the typesetter can show for certain.
_SHOWN = re.compile(
    "[^ -~\u00a0-\u017f\u0386-\u038a\u038c\u038e-\u03a1\u03a3-\u03ce\u0400-\u045f"
    "\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u20ac\u2192\u2264\u2265\u2212]"
)


def quoted(text: str) -> str:
    """A string of the typesetter's language; a character that its fonts lack is written as its number, ``U+4E2D``."""
    shown = _SHOWN.sub(lambda found: " " if found[0].isspace() else f"U+{ord(found[0]):04X}", text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(slots=True)
class _Open:
    """An element that is not closed yet: its tag and attributes, and the source of what it holds."""

    tag: str
    attributes: dict[str, str]
    parts: list[str] = field(default_factory=list)
    length: int = 0
    longest: int = 0

    @property
    def content(self) -> str:
        return "{" + ";".join(self.parts) + "}" if self.parts else "[]"

    @property
    def styles(self) -> set[str]:
        return set(self.attributes.get("class", "").split())


@dataclass(slots=True)
class _Table:
    """A table that is being read: its heading, and its cells row by row."""

    caption: str = "none"
    columns: list[tuple[int, int]] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    place: int = 0

    def add(self, cell: _Open) -> None:
        """Take one cell in, in the order of reading."""
        headed = cell.tag == "th" and cell.attributes.get("scope") == "col"
        wanted = min(cell.length, _LONG)
        needed = wanted if cell.styles & _NARROW else cell.longest
        if self.place == len(self.columns):
            self.columns.append((0, 0))
        before = self.columns[self.place]
        self.columns[self.place] = max(before[0], needed), max(before[1], wanted, needed)
        content = f"strong({cell.content})" if cell.tag == "th" else cell.content
        (self.head if headed else self.cells).append(content)
        self.place += 1

    def source(self) -> str:
        """The call that makes the table; its heading is repeated on every page."""
        head = f"table.header({','.join(self.head)})," if self.head else ""
        return f"sheet({self.caption},({self._widths()}),{head}{','.join(self.cells)})"

    def _widths(self) -> str:
        """As much for each column as its longest word needs; what is left goes where longer texts would wrap."""
        needed = [_LETTER * least + _GAP for least, _ in self.columns]
        more = [_LETTER * (wanted - least) for least, wanted in self.columns]
        left = max(_PAGE_WIDTH - sum(needed), 0.0)
        share = min(left / sum(more), 1.0) if sum(more) else 0.0
        fit = min(_PAGE_WIDTH / sum(needed), 1.0)
        widths = [fit * (least + share * extra) for least, extra in zip(needed, more, strict=True)]
        widths[-1] += _PAGE_WIDTH - sum(widths)
        return "".join(f"{width:.1f}pt," for width in widths)


class Typesetting(HTMLParser):
    """Reads a page of `semfed_secure.audit.report` and writes the source of the same page on paper.

    Only the elements that the report is made of are known; another one is an error of ours, not a silent loss.
    """

    def __init__(self, *, drawing_style: str) -> None:
        """Nothing read yet; ``drawing_style`` goes into every picture, in place of the page's style sheet."""
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.language = "en"
        self._open = [_Open("", {})]
        self._tables: list[_Table] = []
        self._drawing_style = drawing_style
        self._drawing: list[str] | None = None
        self._skipping = 0

    @property
    def body(self) -> str:
        """The source of what was read."""
        (page,) = self._open
        return page.content

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        attributes = {name: value or "" for name, value in attrs}
        if self._drawing is not None or tag == "svg":
            marks = "".join(f' {_svg(name)}="{escape(value)}"' for name, value in attributes.items())
            if self._drawing is None:
                self._drawing = [f'<svg xmlns="http://www.w3.org/2000/svg"{marks}>{self._drawing_style}']
            else:
                self._drawing.append(f"<{tag}{marks}>")
        elif self._skipping or tag in _SKIPPED or "skip" in attributes.get("class", ""):
            self._skipping += 1
        elif tag in {"br", "meta"}:
            self._put("linebreak()" if tag == "br" else "[]")
        else:
            if tag == "table":
                self._tables.append(_Table())
            if tag == "tr":
                self._tables[-1].place = 0
            self._open.append(_Open(tag, attributes))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that holds nothing."""
        self.handle_starttag(tag, attrs)
        if self._drawing is not None:
            self._drawing.append(f"</{tag}>")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if self._drawing is not None:
            self._drawing.append(f"</{tag}>")
            if tag == "svg":
                drawing, self._drawing = "".join(self._drawing), None
                self._put(f"drawing({quoted(drawing)})")
        elif self._skipping:
            self._skipping -= 1
        else:
            self._close(self._open.pop())

    def handle_data(self, data: str) -> None:
        """Text."""
        if self._drawing is not None:
            self._drawing.append(escape(data))
        elif self._open[-1].tag == "title":
            self.title = data
        elif not self._skipping:
            self._put(quoted(data), len(data), max(map(len, re.split(r"[\s/]", data))))

    def _put(self, source: str, length: int = 0, longest: int = 0) -> None:
        inside = self._open[-1]
        inside.parts.append(source)
        inside.length += length
        inside.longest = max(inside.longest, longest)

    def _close(self, element: _Open) -> None:
        tag = element.tag
        if tag in {"td", "th"}:
            self._tables[-1].add(element)
        elif tag == "caption":
            self._tables[-1].caption = element.content
        elif tag == "table":
            self._put(self._tables.pop().source())
        elif tag not in {"tr", "thead", "tbody", "head", "title", "html"}:
            self._put(_source(element), element.length, element.longest)
        elif tag == "html":
            self.language = element.attributes.get("lang", self.language)
            self._put(element.content)


def _source(element: _Open) -> str:
    """The call for one element."""
    tag, content, styles = element.tag, element.content, element.styles
    if tag in _LISTS:
        return f"{_LISTS[tag]}({','.join(element.parts)})"
    if tag == "div" and "verdict" in styles:
        return f"verdict({str('good' in styles).lower()},{content})"
    if tag == "span" and "outcome" in styles:
        return f"outcome({str('no' not in styles).lower()},{content})"
    styled = next((_STYLED[style] for style in sorted(styles) if style in _STYLED), None)
    called = styled or _CALLED.get(tag)
    if called is None:
        raise ValueError(f"the report has an element {tag!r} that is not known on paper")
    return f"{called}({content})"


def _svg(name: str) -> str:
    return "viewBox" if name == "viewbox" else name
