"""Sections of the report that are tables of entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.audit.events import Entry, Event, EventType
from semfed_secure.audit.gather import Gathered, Kept, moment
from semfed_secure.audit.markup import Child, Html, element, join
from semfed_secure.audit.wording import describe, explain_code, shortened, spent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Section: TypeAlias = tuple[str, str, Html]
"""Anchor, heading and content."""
Column: TypeAlias = tuple[str, str]
"""Heading and class of a column."""

_SHORT_DIGEST = len("sha256:") + 12  # the table of policies has it in full

ENTRY: Column = ("Entry", "number")
TIME: Column = ("Time (UTC)", "time")


def section(ident: str, name: str, *children: Child) -> Section:
    """A section with its heading, named for navigation."""
    heading = element("h2", name, id=f"{ident}-heading")
    return ident, name, element("section", heading, *children, id=ident, aria_labelledby=f"{ident}-heading")


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Child]]) -> Html:
    """A table with a caption, column headings, and a way to scroll it by keyboard where it is wide."""
    head = [element("th", name, scope="col", class_=style or None) for name, style in columns]
    body = [
        element(
            "tr", *(element("td", cell, class_=style or None) for cell, (_, style) in zip(row, columns, strict=True))
        )
        for row in rows
    ]
    whole = element(
        "table", element("caption", caption), element("thead", element("tr", *head)), element("tbody", *body)
    )
    return element("div", whole, class_="wide", tabindex=0, role="region", aria_label=caption)


def caption_of(text: str, kept: Kept) -> str:
    """The caption of a table of ``kept``, which says how many there are if not all are shown."""
    if len(kept) == kept.total:
        return text
    return f"{text}: the last {len(kept)} of {kept.total}. A shorter period shows all; so does `semfed audit list`"


def releases_section(gathered: Gathered) -> Section | None:
    """What left the site, to whom, under which policy, at what privacy cost, and what the receiver answered."""
    if not gathered.releases:
        if gathered.received:
            return None  # a server's log: nothing is released there
        return section("releases", "Releases", element("p", "Nothing was released in this period."))
    columns = [ENTRY, TIME, ("Round", ""), ("To", ""), ("What", ""), ("Policy", ""), ("Privacy", ""), ("Answer", "")]
    rows = [
        [
            str(entry.seq),
            moment(entry.time),
            entry.event.round_id,
            entry.event.peer,
            _what(entry.event),
            _policy(entry.event, gathered),
            _privacy(entry.event),
            _answer(gathered.delivery.get(entry.event.bundle_digest or "", [])),
        ]
        for entry in gathered.releases
    ]
    caption = caption_of("Every bundle of outputs that left the site", gathered.releases)
    return section("releases", "Releases", table(caption, columns, rows))


def received_section(gathered: Gathered) -> Section | None:
    """What members sent to this server, and whether it was admitted."""
    if not gathered.received:
        return None
    columns = [ENTRY, TIME, ("Round", ""), ("From", ""), ("What", ""), ("Answer", ""), ("Code", "")]
    rows = [
        [
            str(entry.seq),
            moment(entry.time),
            entry.event.round_id,
            entry.event.peer,
            _what(entry.event),
            _outcome(entry.event, yes="admitted", no="rejected"),
            _codes(entry.event),
        ]
        for entry in gathered.received
    ]
    said = "Every contribution that a member could be held to, with this server's answer"
    caption = caption_of(said, gathered.received)
    return section("received", "Contributions received", table(caption, columns, rows))


def rounds_section(gathered: Gathered) -> Section | None:
    """How this server's rounds went."""
    if not gathered.rounds:
        return None
    columns = [("Round", ""), ("Opened (UTC)", "time"), ("Asked", ""), ("Closed (UTC)", "time"), ("Result", "")]
    rounds: dict[str, list[Entry]] = {}
    for entry in gathered.rounds:
        rounds.setdefault(entry.event.round_id or "not named", []).append(entry)
    rows = [_round(name, entries, gathered.published.get(name)) for name, entries in rounds.items()]
    caption = caption_of("Every round that was opened, closed or given up", gathered.rounds)
    return section("rounds", "Rounds", table(caption, columns, rows))


def refusals_section(gathered: Gathered) -> Section:
    """What was denied on purpose and what failed, with codes and reasons."""
    if not gathered.refusals:
        return section("refusals", "Refusals", element("p", "Nothing was denied and nothing failed in this period."))
    columns = [ENTRY, TIME, ("Outcome", ""), ("What", ""), ("Codes", ""), ("Reasons", "")]
    rows = [
        [
            str(entry.seq),
            moment(entry.time),
            _outcome(entry.event),
            describe(entry.event),
            _codes(entry.event),
            _reasons(entry.event),
        ]
        for entry in gathered.refusals
    ]
    caption = caption_of(
        "Everything that was denied on purpose or failed; a denied act did not happen", gathered.refusals
    )
    return section("refusals", "Refusals", table(caption, columns, rows))


def policies_section(gathered: Gathered) -> Section:
    """Which policies decided."""
    if not gathered.policies:
        return section("policies", "Policies in force", element("p", "The log names no policy in this period."))
    columns = [ENTRY, TIME, ("Policy", ""), ("Version", ""), ("Digest", ""), ("State", ""), ("Reason", "")]
    rows = [
        [
            str(entry.seq),
            moment(entry.time),
            entry.event.policy_id,
            entry.event.details.get("version"),
            _code(entry.event.policy_digest),
            _outcome(entry.event, yes="in force from here", no="refused"),
            _reasons(entry.event),
        ]
        for entry in gathered.policies
    ]
    caption = "Policies loaded in the period, and the ones that held when it began; a later one replaces an earlier one"
    return section("policies", "Policies in force", table(caption, columns, rows))


def trust_section(gathered: Gathered) -> Section:
    """Keys and members."""
    if not gathered.trust:
        text = "No key was created or loaded, and no member or roster changed in this period."
        return section("trust", "Keys and members", element("p", text))
    columns = [ENTRY, TIME, ("What", ""), ("Subject", ""), ("Identifiers", "")]
    rows = [
        [str(entry.seq), moment(entry.time), describe(entry.event), entry.event.target, _identifiers(entry.event)]
        for entry in gathered.trust
    ]
    caption = caption_of("Keys, members and rosters", gathered.trust)
    return section("trust", "Keys and members", table(caption, columns, rows))


def witnesses_section(gathered: Gathered) -> Section | None:
    """Whose logs this member vouched for as a witness."""
    if not gathered.cosigned:
        return None
    columns = [ENTRY, TIME, ("Log of", ""), ("Entries", "number"), ("Root of the tree", ""), ("Outcome", "")]
    rows = [
        [
            str(entry.seq),
            moment(entry.time),
            entry.event.peer,
            str(entry.event.details.get("size", "")),
            _code(entry.event.details.get("root")),
            _outcome(entry.event, yes="vouched for"),
        ]
        for entry in gathered.cosigned
    ]
    caption = caption_of("Checkpoints of other logs that this member cosigned", gathered.cosigned)
    return section("witnesses", "Vouched for as a witness", table(caption, columns, rows))


def timeline_section(gathered: Gathered) -> Section:
    """Every entry of the period as one sentence."""
    caption = caption_of("Every entry of the period in order", gathered.timeline)
    columns = [ENTRY, TIME, ("Event", ""), ("Outcome", ""), ("In words", "")]
    rows = [
        [
            str(entry.seq),
            moment(entry.time),
            element("code", entry.event.type, class_="short"),
            _outcome(entry.event),
            describe(entry.event),
        ]
        for entry in gathered.timeline
    ]
    return section("timeline", "Timeline", table(caption, columns, rows))


def _round(name: str, entries: list[Entry], published: Entry | None) -> list[Child]:
    opened = next((entry for entry in entries if entry.event.type is EventType.ROUND_OPENED), None)
    ended = next((entry for entry in entries if entry.event.type is not EventType.ROUND_OPENED), None)
    asked = None
    if opened is not None:
        details = opened.event.details
        asked = f"{details.get('prompts', '?')} prompts, {details.get('kind', '?')}"
    result: Child = "still open" if ended is None else describe(ended.event)
    if ended is not None and ended.event.reason is not None:
        result = f"{result}: {ended.event.reason}"
    if published is not None:
        result = join(result, element("br"), describe(published.event))
    times = ["" if entry is None else moment(entry.time) for entry in (opened, ended)]
    return [name, times[0], asked, times[1], result]


def _what(event: Event) -> str:
    details = event.details
    parts = [f"{details.get('items', '?')} outputs ({details.get('kind', 'kind not stated')})"]
    if "abstained" in details:
        parts.append(f"{details['abstained']} of them abstentions")
    if "bytes" in details:
        parts.append(f"{details['bytes']} bytes sealed")
    return ", ".join(parts)


def _policy(event: Event, gathered: Gathered) -> Html:
    """The policy that permitted a release in its version, and who approved it where the policy wanted that."""
    given = gathered.approvals.get(event.round_id or "", ())
    approved = [element("div", f"approved by {shortened(one)}", title=one) for one in given]
    digest = event.policy_digest
    if digest is None:
        return join(event.policy_id, *approved)
    version = f" version {gathered.versions[digest]}" if digest in gathered.versions else ""
    short = element("code", f"{digest[:_SHORT_DIGEST]}\N{HORIZONTAL ELLIPSIS}", title=digest, class_="short")
    return join(event.policy_id, version, element("br"), short, *approved)


def _privacy(event: Event) -> Child:
    privacy = event.privacy
    if privacy is None:
        return "not stated"
    total = element("strong", f"ε {spent(privacy.epsilon)}", title=privacy.epsilon)
    return join(
        total,
        f" in all at δ {privacy.delta}, per {privacy.unit}",
        element("br"),
        f"{privacy.population}, {privacy.mechanism or 'mechanism not stated'}",
    )


def _answer(entries: list[Entry]) -> Child:
    receipts = [entry for entry in entries if entry.event.type is EventType.RECEIPT_RECEIVED]
    if receipts:
        event = receipts[-1].event
        where = "" if event.peer_entry is None else f", their entry {event.peer_entry}"
        return join(
            _outcome(event, yes=str(event.details.get("outcome", "admitted")), no="not admitted"),
            where,
            " ",
            _codes(event),
        )
    return "sent, not answered" if entries else "not sent yet"


def _outcome(event: Event, *, yes: str = "done", no: str | None = None) -> Html:
    good = event.outcome == "success"
    return element("span", yes if good else no or event.outcome, class_=f"outcome {'yes' if good else 'no'}")


def _codes(event: Event) -> Html:
    return join(*(element("div", element("code", code), f" {explain_code(code)}") for code in event.codes))


def _reasons(event: Event) -> Html:
    listed = event.details.get("reasons")
    items = list(listed) if isinstance(listed, list | tuple) else []
    if event.reason is not None:
        items.insert(0, event.reason)
    if len(items) < 2:
        return join(*items)
    return element("ul", *(element("li", item) for item in items))


def _identifiers(event: Event) -> Html:
    named = [event.details.get(key) for key in ("key_id", "record_digest", "roster_digest", "token_digest")]
    many = event.details.get("key_ids")
    return join(*(element("div", _code(value)) for value in [*named, *(many or [])] if value))


def _code(value: str | None) -> Html | None:
    return None if value is None else element("code", value)
