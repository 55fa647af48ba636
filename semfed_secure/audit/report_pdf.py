"""The report on paper: a tagged PDF (PDF/UA-1) of the same page, made offline with the typesetter's own fonts."""

from __future__ import annotations

from importlib.util import find_spec

from semfed_secure.audit.typeset import Typesetting, quoted
from semfed_secure.errors import ConfigurationError

_STYLE = """
#let ink = rgb("#1b2430")
#let soft_ink = rgb("#4a5665")
#let line_ink = rgb("#d5dbe3")
#let good_ink = rgb("#0b6b3a")
#let bad_ink = rgb("#a3161b")
#set page(paper: "a4", flipped: true, margin: (x: 14mm, top: 15mm, bottom: 16mm),
  footer: context align(right, text(8pt, fill: soft_ink,
    counter(page).display() + " / " + str(counter(page).final().first()))))
#set text(font: "Libertinus Serif", size: 9.5pt, fill: ink)
#set par(leading: 0.55em, spacing: 0.8em)
#show heading: set block(above: 1.4em, below: 0.7em, sticky: true)
#show heading.where(level: 1): set text(18pt)
#show heading.where(level: 2): set text(13pt)
#show heading.where(level: 3): set text(11pt)
#show figure: set block(breakable: true)
#show figure.caption: it => align(left, text(8.5pt, fill: soft_ink, it.body))
#show table.cell: set text(8.5pt)
#set table(stroke: (x, y) => (bottom: 0.5pt + line_ink), inset: (x: 3pt, y: 3.5pt))
#let mono(it) = text(font: "DejaVu Sans Mono", size: 0.78em, it)
#let soft(it) = block(text(fill: soft_ink, it))
#let closing(it) = block(above: 2em, text(8.5pt, fill: soft_ink, it))
#let word(it) = block(text(13pt, weight: "bold", it))
#let listing(it) = block(fill: rgb("#f4f6f9"), inset: 6pt, width: 100%, it)
#let ink_of(good) = if good { good_ink } else { bad_ink }
#let outcome(good, it) = text(weight: "bold", fill: ink_of(good), it)
#let plain(it) = it
#let verdict(good, it) = block(width: 100%, inset: 8pt, breakable: false, above: 1em, below: 1em,
  fill: if good { rgb("#e7f5ec") } else { rgb("#fdecec") },
  stroke: (rest: 1pt + ink_of(good), left: 6pt + ink_of(good)), it)
#let label_of(it) = text(8.5pt, fill: soft_ink, it)
#let figure_of(it) = block(above: 0.3em, text(14pt, weight: "bold", it))
#let figures(..items) = grid(columns: (1fr,) * 4, gutter: 6pt,
  ..items.pos().map(it => block(width: 100%, inset: 6pt, stroke: 0.5pt + line_ink, it)))
#let sheet(caption, columns, ..cells) = figure(caption: figure.caption(position: top, caption), kind: table,
  supplement: none, numbering: none, table(columns: columns, align: left, ..cells))
#let drawing(source) = image(bytes(source), format: "svg", width: 60%,
  alt: "The privacy budget over time; the same figures stand in the table below.")
"""
_DRAWING = """<style>
.grid{stroke:#d5dbe3;stroke-width:1} .tick{fill:#4a5665;font-size:12px;font-family:"Libertinus Serif"}
.y{text-anchor:end} .end{text-anchor:end} .spent{fill:none;stroke:#1f4e79;stroke-width:2.5} .dot{fill:#1f4e79}
.limit{stroke:#a3161b;stroke-width:1.5;stroke-dasharray:7 5}</style>"""


def render_pdf(page: str) -> bytes:
    """A report's HTML page as a PDF.

    Guarantee: the text of the PDF is the page's, to be searched, copied and read aloud: headings, tables and pictures
    are tagged as PDF/UA-1 demands. Nothing but the page and the fonts of the typesetter go into it, so the same page
    gives the same bytes with the same version of the typesetter, on any machine. Nothing is fetched.

    Raises:
        ConfigurationError: ``SF103`` the extra ``report`` is not installed.
    """
    if find_spec("typst") is None:
        raise ConfigurationError("SF103", "a PDF needs `semfed-secure[report]`: `typst` is missing")
    import typst  # noqa: PLC0415 (30 MB that only a PDF needs)

    reading = Typesetting(drawing_style=_DRAWING)
    reading.feed(page)
    reading.close()
    settings = f"#set document(title: {quoted(reading.title)}, date: none)\n#set text(lang: {quoted(reading.language)})"
    source = f"{settings}\n{_STYLE}\n#{reading.body}\n"
    made: bytes = typst.compile(
        source.encode(), format="pdf", ignore_system_fonts=True, pdf_standards=["ua-1"], timestamp=0
    )
    return made
