"""One self-contained page for a compliance officer: who released what, under which policy, on what budget."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.audit.gather import Gathered, gather, moment, period_text
from semfed_secure.audit.markup import Html, element, join
from semfed_secure.audit.report_budget import budget_section
from semfed_secure.audit.report_retention import retention_section
from semfed_secure.audit.report_style import STYLE
from semfed_secure.audit.report_tables import (
    policies_section,
    received_section,
    refusals_section,
    releases_section,
    rounds_section,
    section,
    timeline_section,
    trust_section,
    witnesses_section,
)
from semfed_secure.audit.vouched import NOBODY, Witnesses
from semfed_secure.audit.wording import left, spent
from semfed_secure.ids import hex_digest, sha256

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from semfed_secure.audit.verify import LogVerdict


def render_report(
    place: str | Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    key: str | None = None,
    witnesses: Witnesses = NOBODY,
) -> str:
    """A report of a log over a period as one HTML page.

    Guarantee: the log was verified for this page, and the page says first of all what came of it. Everything on the
    page is stated by entries of the log; all text from outside is escaped; there is no script, no link to another
    file, and the page's own security policy forbids both. Nothing is written.

    Args:
        place: A state directory, database file or URL, or a directory of exported tiles.
        since: First instant of the period, aware; the beginning of the log if omitted.
        until: First instant after the period, aware; the end of the log if omitted.
        key: The log's verification key from a source other than the log.
        witnesses: Who must vouch for the log.

    Raises:
        ConfigurationError: There is no log to read at ``place``. A log that does not verify is no error here: its
            report says so.
    """
    return render(gather(place, since=since, until=until, key=key, witnesses=witnesses))


def render(gathered: Gathered) -> str:
    """The page of `render_report` about what was gathered already: the same log and period give the same bytes."""
    title = "Audit report" if gathered.verdict is None else f"Audit report of {gathered.verdict.origin}"
    sections = [
        _integrity(gathered),
        _summary(gathered),
        releases_section(gathered),
        received_section(gathered),
        rounds_section(gathered),
        budget_section(gathered),
        refusals_section(gathered),
        policies_section(gathered),
        trust_section(gathered),
        witnesses_section(gathered),
        retention_section(gathered),
        timeline_section(gathered),
        _check_it(gathered),
    ]
    shown = [part for part in sections if part is not None]
    return _page(title, period_text(gathered.since, gathered.until), shown)


def _page(title: str, period: str, sections: list[tuple[str, str, Html]]) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy()),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    links = [element("li", element("a", name, href=f"#{ident}")) for ident, name, _ in sections]
    body = element(
        "body",
        element("a", "Skip to the report", href="#report", class_="skip"),
        element(
            "header",
            element("p", "semfed-secure · audit report", class_="kind"),
            element("h1", title),
            element("p", f"Period: {period}. All times are UTC.", class_="soft"),
        ),
        element("nav", element("ol", *links), aria_label="Sections of this report"),
        element("main", *(html for _, _, html in sections), id="report"),
        element(
            "footer",
            "Made by semfed-secure from the entries of the log alone. "
            "It supports an examination; the institution keeps the duty to examine.",
        ),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _integrity(gathered: Gathered) -> tuple[str, str, Html]:
    failure, verdict = gathered.failure, gathered.verdict
    if verdict is None:
        assert failure is not None  # INVARIANT: a log verifies or fails
        lines = [
            element("p", "This log is not intact.", class_="word"),
            element("p", f"{failure.message[:1].upper()}{failure.message[1:]}."),
            element("p", f"Code {failure.code}: {failure.remedy}."),
        ]
        whose = "" if gathered.claimed is None else f"The log says that it is {gathered.claimed}. "
        lost = f"{gathered.unreadable} could not" if gathered.unreadable else "the others are missing or not signed"
        rest = element(
            "p",
            f"{whose}{gathered.total} of its entries can be read; {lost}. "
            "What follows is what the readable entries state; nobody vouches for it.",
        )
        return section("integrity", "Integrity", element("div", *lines, class_="verdict bad", role="alert"), rest)
    lines = [
        element("p", "This log is intact.", class_="word"),
        element(
            "p",
            f"All {verdict.size} entries were {_read(verdict.pruned)}: none was changed, removed, added or moved, and "
            "they are what the log's key signed.",
        ),
    ]
    key = "It was given to the verifier from outside the log."
    if not verdict.key_was_given:
        key = "The log itself named it: compare its digest with the member record before you rely on this page."
    rows = [
        ("Log", verdict.origin),
        ("Entries", str(verdict.size)),
        ("First and last entry", _span(verdict.first_time, verdict.last_time)),
        ("Root of the tree", element("code", verdict.root)),
        ("Key", join(element("code", hex_digest(sha256(verdict.verification_key.encode()))), f" {key}")),
        ("Signed checkpoints verified", str(verdict.checkpoints)),
        ("Post-quantum signature", _reach(verdict.cosigned_size, verdict.size)),
        ("Witnesses", _vouched(verdict)),
        ("Clock", _clock(verdict.clock_steps)),
    ]
    facts = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    table = element("table", element("caption", "What was verified"), element("tbody", *facts))
    return section("integrity", "Integrity", element("div", *lines, class_="verdict good"), table)


def _read(pruned: int) -> str:
    if not pruned:
        return "read and recomputed"
    return f"recomputed, and all but {pruned} read, whose content was removed when its time was over (see Retention)"


def _span(first: str | None, last: str | None) -> str:
    return "the log is empty" if first is None or last is None else f"{moment(first)} to {moment(last)}"


def _reach(cosigned: int, size: int) -> str:
    if cosigned == size:
        return "covers every entry"
    covered = f"covers the first {cosigned} of {size} entries" if cosigned else "covers no entry yet"
    return f"{covered}; it follows after 256 entries, or when a checkpoint is handed out. Ed25519 covers all"


def _vouched(verdict: LogVerdict) -> str:
    if not verdict.vouched_size:
        return "none was asked: give the keys of witnesses to the report, and it says how far they vouch for the log"
    return f"vouch for the first {verdict.vouched_size} of {verdict.size} entries"


def _clock(steps: tuple[int, ...]) -> str:
    if not steps:
        return "never stepped back"
    named = ", ".join(map(str, steps[:20]))
    return f"stepped back before {'entry' if len(steps) == 1 else 'entries'} {named}; the order of entries stands"


def _summary(gathered: Gathered) -> tuple[str, str, Html]:
    figures: list[tuple[str, str]] = [("entries in the period", str(gathered.timeline.total))]
    if gathered.rounds or gathered.received:
        opened = sum(entry.event.type is EventType.ROUND_OPENED for entry in gathered.rounds)
        figures += [("rounds opened", str(opened)), ("contributions received", str(gathered.received.total))]
    else:
        figures += [("releases", str(gathered.releases.total))]
    figures += [("denied on purpose", str(gathered.outcomes["denied"])), ("failed", str(gathered.outcomes["failed"]))]
    for (population, _, _), spending in sorted(gathered.accounts.items(), key=lambda item: item[0]):
        budget = "" if spending.limit is None else f" of {left(spending.limit)}"
        figures.append((f"ε spent in all, {population}", f"{spent(spending.after)}{budget}"))
    items = [element("div", element("dt", name), element("dd", value)) for name, value in figures]
    return section("summary", "Summary", element("dl", *items, class_="figures"))


def _check_it(gathered: Gathered) -> tuple[str, str, Html]:
    origin = "LOG" if gathered.verdict is None else gathered.verdict.origin
    commands = (
        "semfed audit verify PATH --key KEY        # KEY: the log key of the member record\n"
        "semfed audit show PATH NUMBER             # one entry in full\n"
        "semfed audit export PATH --out DIRECTORY  # static files for tools of other makers"
    )
    text = (
        f"The log {origin} can be verified without its owner and without this page. Exported, it has the tlog-tiles, "
        "tlog-checkpoint and signed-note formats of C2SP, with hashes of RFC 6962."
    )
    return section("check", "Check this report", element("p", text), element("pre", element("code", commands)))
