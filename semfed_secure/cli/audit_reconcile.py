"""``semfed audit reconcile``: verify the logs of several members and hold each against what the others prove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.reconcile import Reconciliation
from semfed_secure.audit.reconcile import reconcile as compare_logs
from semfed_secure.cli.audit_options import read_key
from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator


def reconcile(
    places: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="State directories, database files or URLs, directories of tiles."),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="A log's verification key, or a file that holds it; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the logs of sites and server: what one says it sent, the other says it received; exit 12 if not."""
    result = compare_logs(places, keys=[read_key(text) or "" for text in key or []])
    if result.discrepancies:
        if not as_json:
            emit({}, as_json=False, text="\n".join(_lines(result)))
        raise IntegrityError("SF551", result.sentence, **result.document)
    emit(result.document, as_json=as_json, text=lambda: "\n".join([result.sentence, *_lines(result)]))


def _lines(result: Reconciliation) -> Iterator[str]:
    yield from (f"{log.member}: {log.size} entries at {log.place}" for log in result.logs.values())
    yield from (f"{one.kind}: {one.sentence}" for one in result.discrepancies)
    yield from (f"remark: {one.sentence}" for one in result.remarks)
    for member, counts in result.unchecked.items():
        told = ", ".join(f"{count} of {other}" for other, count in counts.items())
        yield f"not checked, because the log of {member} is not here: {told}"
