"""``semfed audit``: verify, read, report and export audit logs; needs no keys but the public one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.events import Entry, EventType, encode_entry
from semfed_secure.audit.gather import moment
from semfed_secure.audit.merkle import leaf_hash
from semfed_secure.audit.pages import last_entries
from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.audit.verify import LogVerdict, verify_log
from semfed_secure.audit.wording import describe
from semfed_secure.cli.audit_export import export
from semfed_secure.cli.audit_fsck import fsck
from semfed_secure.cli.audit_grant import grant
from semfed_secure.cli.audit_options import (
    KeyOption,
    Place,
    SinceOption,
    UntilOption,
    first_instant,
    last_instant,
    read_key,
    read_text,
)
from semfed_secure.cli.audit_people import erase, people
from semfed_secure.cli.audit_proof import proof
from semfed_secure.cli.audit_reconcile import reconcile
from semfed_secure.cli.audit_report import report
from semfed_secure.cli.audit_retention import hold, lift, prune
from semfed_secure.cli.audit_timestamp import AUTHORITY_HELP, stamped_checkpoints, timestamp
from semfed_secure.cli.audit_trust import QuorumOption, WitnessOption, witnesses_of
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

app = typer.Typer(help="Verify, read and report audit logs.", no_args_is_help=True, pretty_exceptions_enable=False)


class Outcome(StrEnum):
    """How an event can have ended, as `Event.outcome` says."""

    SUCCESS = "success"
    DENIED = "denied"
    FAILED = "failed"


@app.command()
def verify(
    place: Place,
    key: KeyOption = None,
    known: Annotated[
        list[Path] | None,
        typer.Option("--known", help="A checkpoint of this log that somebody else has kept; may be repeated."),
    ] = None,
    stamped: Annotated[
        list[Path] | None,
        typer.Option("--stamped", help="A checkpoint that `audit timestamp` wrote; may be repeated."),
    ] = None,
    authority: Annotated[Path | None, typer.Option("--authority-certificates", help=AUTHORITY_HELP)] = None,
    witness: WitnessOption = None,
    quorum: QuorumOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify every entry, hash and signature of a log; exit 12 if anything was changed, dropped or added."""
    stamps = stamped_checkpoints(stamped or [], authority)
    checkpoints = [read_text(path) for path in known or []] + [stamp.checkpoint for stamp in stamps]
    given, vouchers = read_key(key), witnesses_of(witness, quorum)
    cores = os.cpu_count() or 1
    verdict = verify_log(place, key=given, known=checkpoints, witnesses=vouchers, processes=cores)
    vouched = [{"size": stamp.size, "time": stamp.time} for stamp in stamps]
    lines = [f"an authority vouches that the first {stamp.size} entries existed at {stamp.time}" for stamp in stamps]
    emit(
        {**_verdict_document(verdict), "stamped": vouched},
        as_json=as_json,
        text=lambda: "\n".join([_verdict_text(verdict), *lines]),
    )


@app.command("list")
def list_entries(
    place: Place,
    kind: Annotated[EventType | None, typer.Option("--type", help="Only this type of event.")] = None,
    outcome: Annotated[Outcome | None, typer.Option("--outcome", help="Only success, denied or failed.")] = None,
    round_id: Annotated[str | None, typer.Option("--round", help="Only this round.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the last so many.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List entries in order; this reads them, `verify` is what makes them evidence."""
    wanted = _Filter(kind, outcome, round_id, first_instant(since), last_instant(until))
    with open_source(place) as source:
        if limit is None:
            shown = [entry for entry in read_entries(source) if wanted.takes(entry)]
        else:
            shown = last_entries(source, limit, wanted.takes)
    emit(
        {"entries": [_entry_document(entry) for entry in shown], "total": len(shown)},
        as_json=as_json,
        text=lambda: _entry_table(shown),
    )


@app.command()
def show(
    place: Place,
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="Number of the entry, from zero.")],
    as_json: JsonOption = False,
) -> None:
    """Show one entry in full."""
    with open_source(place) as source:
        following = read_entries(source, start=number)
        entry = next(following, None)
        if entry is not None and entry.seq != number and (left := source.hashes([(0, number)])):
            _show_removed(number, entry, following, left[0, number].hex(), as_json=as_json)
            return
    if entry is None or entry.seq != number:
        raise ConfigurationError("SF105", f"the log has no entry {number}")
    fields = _entry_document(entry)
    digest = leaf_hash(encode_entry(entry)).hex()
    emit(
        {"entry": fields, "sentence": describe(entry.event), "leaf_hash": digest},
        as_json=as_json,
        text=lambda: f"{describe(entry.event)}\n\n{json.dumps(fields, indent=2, ensure_ascii=False)}\n\nhash {digest}",
    )


def _show_removed(number: int, first: Entry, rest: Iterator[Entry], digest: str, *, as_json: bool) -> None:
    told = (one for one in chain([first], rest) if one.event.type is EventType.LOG_PRUNED)
    by = next((one for one in told if one.event.details.get("last", -1) >= number), None)
    words = f"the content of entry {number} was removed"
    words += ", and no entry says so: verify the log" if by is None else f" by entry {by.seq}: {describe(by.event)}"
    document = {"entry": None, "sentence": words, "leaf_hash": digest}
    emit(document, as_json=as_json, text=f"{words}\n\nhash {digest}")


app.command()(report)
app.command()(export)
app.command()(grant)
app.command()(timestamp)
app.command()(reconcile)
app.command()(proof)
app.command()(fsck)
app.command()(prune)
app.command()(hold)
app.command()(lift)
app.command()(people)
app.command()(erase)


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which entries were asked for."""

    kind: EventType | None
    outcome: Outcome | None
    round_id: str | None
    since: datetime | None
    until: datetime | None

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is one of them."""
        event = entry.event
        return (
            self.kind in {None, event.type}
            and self.outcome in {None, event.outcome}
            and self.round_id in {None, event.round_id}
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )


def _entry_table(entries: list[Entry]) -> str:
    if not entries:
        return "no entries"
    rows = [
        [entry.seq, moment(entry.time), entry.event.type, entry.event.outcome, describe(entry.event)]
        for entry in entries
    ]
    return table(["entry", "time (UTC)", "type", "outcome", "in words"], rows)


def _entry_document(entry: Entry) -> dict[str, object]:
    document: dict[str, object] = json.loads(encode_entry(entry))
    return document


def _verdict_document(verdict: LogVerdict) -> dict[str, object]:
    return {
        "verified": True,
        "log": verdict.origin,
        "entries": verdict.size,
        "root": verdict.root,
        "key": verdict.verification_key,
        "key_was_given": verdict.key_was_given,
        "checkpoints": verdict.checkpoints,
        "cosigned_entries": verdict.cosigned_size,
        "known_checkpoints": verdict.known_checkpoints,
        "vouched_entries": verdict.vouched_size,
        "first_time": verdict.first_time,
        "last_time": verdict.last_time,
        "clock_steps": list(verdict.clock_steps),
        "writers": list(verdict.writers),
        "pruned_entries": verdict.pruned,
        "holds": list(verdict.holds),
    }


def _verdict_text(verdict: LogVerdict) -> str:
    lines = list(_verdict_lines(verdict))
    if not verdict.key_was_given:
        lines.append("the key is the one that the log names itself: give --key to be sure whose log it is")
    return "\n".join(lines)


def _verdict_lines(verdict: LogVerdict) -> Iterator[str]:
    yield f"intact: {verdict.origin}, {verdict.size} entries, {verdict.checkpoints} signed checkpoints"
    yield f"root {verdict.root}"
    if verdict.first_time is not None and verdict.last_time is not None:
        yield f"from {moment(verdict.first_time)} to {moment(verdict.last_time)} UTC"
    if verdict.known_checkpoints:
        yield f"extends all {verdict.known_checkpoints} checkpoints that were known before"
    if verdict.vouched_size:
        yield f"witnesses vouch for the first {verdict.vouched_size} entries"
    if verdict.pruned:
        yield f"of {verdict.pruned} entries only the hash is kept: their content was removed when its time was over"
    if verdict.holds:
        yield f"under legal hold: {', '.join(verdict.holds)}"
    if verdict.clock_steps:
        yield f"the clock stepped back before entries {', '.join(map(str, verdict.clock_steps[:20]))}"
