"""Section of the report on what the log does not hold any more, and what it was forbidden to let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.gather import Gathered, moment
from semfed_secure.audit.markup import element
from semfed_secure.audit.report_tables import ENTRY, TIME, Section, caption_of, section, table
from semfed_secure.audit.wording import describe

if TYPE_CHECKING:
    from semfed_secure.audit.events import Event


def retention_section(gathered: Gathered) -> Section | None:
    """Every removal of content, legal hold and refusal to prune, of the whole log."""
    if not gathered.retention:
        return None
    columns = [ENTRY, TIME, ("In words", ""), ("Of which types", ""), ("Under", "")]
    rows = [
        [str(entry.seq), moment(entry.time), _words(entry.event), _kinds(entry.event), _terms(entry.event)]
        for entry in gathered.retention
    ]
    caption = caption_of("What was removed from the whole log, and what was held", gathered.retention)
    pruned = 0 if gathered.verdict is None else gathered.verdict.pruned
    holds = () if gathered.verdict is None else gathered.verdict.holds
    text = (
        f"Of {pruned} entries only the hash is kept: they are missing from the other tables of this report. "
        f"Legal holds in force: {', '.join(holds) or 'none'}."
    )
    return section("retention", "Retention", element("p", text), table(caption, columns, rows))


def _words(event: Event) -> str:
    return describe(event) if event.reason is None else f"{describe(event)}: {event.reason}"


def _kinds(event: Event) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in event.details.get("kinds", {}).items())


def _terms(event: Event) -> str:
    kept = event.details.get("keep_days")
    if kept is None:
        return ""
    return f"{kept} days, {'the operator says' if event.policy_id is None else event.policy_id}"
