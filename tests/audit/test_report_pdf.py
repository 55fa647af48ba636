"""The report as a PDF: the same text, selectable and tagged, the same bytes for the same page, bounded for any log."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from typing import TYPE_CHECKING

import pytest

from semfed_secure import cli
from semfed_secure.audit import report_pdf
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.report import render_report
from semfed_secure.audit.report_pdf import render_pdf
from semfed_secure.audit.typeset import Typesetting, quoted
from semfed_secure.errors import ConfigurationError, ExitCode
from semfed_secure.storage.log_guard import lift
from tests.audit.test_report import HOSTILE, write_site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.audit.samples import Site

pytest.importorskip("typst", reason="the extra `report` is not installed")
needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")


def text_of(pdf: bytes, tmp_path: Path) -> str:
    """What a reader can select and copy, without the breaks of lines."""
    path = tmp_path / "report.pdf"
    path.write_bytes(pdf)
    found = subprocess.run(["pdftotext", "-raw", path, "-"], capture_output=True, check=True, text=True)
    return re.sub(r"\s+", "", found.stdout)


@pytest.fixture
def page(site: Site) -> str:
    """A report with releases, charges, refusals and a picture."""
    write_site(site)
    site.log.append(
        Event(
            type=EventType.LOG_COSIGNED,
            outcome="success",
            actor="north",
            peer="coordinator",
            details={"origin": "o", "size": 417, "root": "cd" * 32},
        )
    )
    return render_report(site.path, key=site.vkey)


@needs_poppler
def test_every_number_of_the_page_can_be_selected_in_the_pdf(page: str, tmp_path: Path) -> None:
    """And every word: what the page says to who sees it, the PDF says to who selects it or has it read aloud."""
    found = text_of(render_pdf(page), tmp_path)
    # The list of sections is for screens, and the picture's figures stand in the table below it.
    printed = re.sub(r"<(head|nav|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    said = {re.sub(r"\s+", "", unescape(text)) for text in re.findall(r">([^<]+)<", printed)}
    numbers = {number for text in said for number in re.findall(r"[0-9][0-9.,:-]*", text)}
    assert len(numbers) > 40
    assert {number for number in numbers if number not in found} == set()
    assert {text for text in said if text not in found} == {"Skiptothereport"}
    for phrase in ("Thislogisintact.", "Vouchedforasawitness", "417", "cd" * 32, "notgranted"):
        assert phrase in found


@needs_poppler
def test_the_pdf_is_tagged_named_and_in_a_language(page: str, tmp_path: Path) -> None:
    """PDF/UA-1: headings and tables for assistive tools, a title instead of a file name, its fonts inside."""
    pdf = render_pdf(page)
    (tmp_path / "report.pdf").write_bytes(pdf)
    told = subprocess.run(["pdfinfo", tmp_path / "report.pdf"], capture_output=True, check=True, text=True).stdout
    assert re.search(r"Tagged:\s+yes", told)
    assert re.search(r"Title:\s+Audit report of hospitals\.example/north", told)
    assert re.search(r"JavaScript:\s+no", told)
    assert b"/Lang" in pdf
    structure = subprocess.run(
        ["pdfinfo", "-struct", tmp_path / "report.pdf"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for tag in ("H1", "H2", "Table", "TH", "TD", "Figure"):
        assert re.search(rf"^\s*{tag}\b", structure, re.MULTILINE), tag


def test_the_same_log_gives_the_same_bytes(site: Site) -> None:
    """No date of making, no random name inside: who makes the report again can compare."""
    write_site(site)
    first, again = (render_pdf(render_report(site.path, key=site.vkey)) for _ in range(2))
    assert first == again
    assert first.startswith(b"%PDF-1.7")


@needs_poppler
def test_hostile_text_is_text_on_paper_too(site: Site, tmp_path: Path) -> None:
    """Quotes, backslashes and the typesetter's own signs are shown; a letter that its fonts lack is named."""
    evil = HOSTILE + ' "]) #read("/etc/passwd") $x$ \u4e2d'
    write_site(site, peer=evil, reason=evil)
    found = text_of(render_pdf(render_report(site.path, key=site.vkey)), tmp_path)
    assert re.sub(r"\s+", "", HOSTILE) in found
    assert '#read("/etc/passwd")$x$U+4E2D' in found
    assert "root:x:0" not in found


def test_what_the_paper_does_not_know_is_an_error_of_ours() -> None:
    """A new element of the page is not lost in silence."""
    reading = Typesetting(drawing_style="")
    with pytest.raises(ValueError, match="'details'"):
        reading.feed("<html><body><details>x</details></body></html>")
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'


def test_without_the_extra_a_pdf_is_refused_by_code(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is still to be had; the message names the extra."""
    write_site(site)
    monkeypatch.setattr(report_pdf, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="SF103"):
        render_pdf("<html></html>")
    out = tmp_path / "x.pdf"
    assert cli.main(["audit", "report", str(site.path), "--out", str(out)]) == ExitCode.USAGE
    assert "semfed-secure[report]" in capsys.readouterr().err
    assert not out.exists()
    assert cli.main(["audit", "report", str(site.path), "--out", str(tmp_path / "x.html")]) == ExitCode.OK


def test_the_command_writes_a_pdf_by_its_name(site: Site, tmp_path: Path) -> None:
    """And one that says so first if the log is not intact, with exit status 12."""
    write_site(site)
    out = tmp_path / "march.PDF"
    assert cli.main(["audit", "report", str(site.path), "--out", str(out)]) == ExitCode.OK
    assert out.read_bytes().startswith(b"%PDF")
    with site.database.transaction() as tx:
        lift(tx.connection)
        tx.connection.exec_driver_sql("UPDATE log_entry SET body = leaf_hash WHERE position = 3")
    assert cli.main(["audit", "report", str(site.path), "--out", str(out)]) == ExitCode.INTEGRITY
    assert out.read_bytes().startswith(b"%PDF")
