"""``semfed audit fsck``: which parts of a damaged log are lost, and which can be computed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.fsck import State, examine
from semfed_secure.audit.repair import repair
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.verify import verify_log
from semfed_secure.cli.audit_options import KeyOption, Place, read_key
from semfed_secure.cli.audit_trust import key_of
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from semfed_secure.audit.fsck import Part


def fsck(
    place: Place,
    key: KeyOption = None,
    mend: Annotated[
        bool, typer.Option("--repair", help="Compute again what can be, if nothing is lost; otherwise nothing changes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say which parts of a log are sound, lost, or can be computed again; exit 12 if it is not intact."""
    given = read_key(key)
    with open_source(place) as source:
        owner = key_of(given or source.head().verification_key)
        parts = examine(source, owner)
    damaged = any(part.state is State.DERIVED for part in parts)
    if mend and damaged:
        parts = repair(place, owner)
    try:
        verify_log(place, key=given)
    except IntegrityError as error:
        if as_json:
            raise IntegrityError(error.code, error.message, **error.fields, parts=_rows(parts)) from error
        emit({}, as_json=False, text=_table(parts))
        raise
    repaired = mend and damaged
    words = "\nwhat is marked as derived was computed again; the log is intact" if repaired else "\nthe log is intact"
    emit({"parts": _rows(parts), "repaired": repaired}, as_json=as_json, text=lambda: _table(parts) + words)


def _rows(parts: tuple[Part, ...]) -> list[dict[str, str]]:
    return [{"part": part.name, "state": part.state, "sentence": part.sentence} for part in parts]


def _table(parts: tuple[Part, ...]) -> str:
    return table(["part", "state", "in words"], [[part.name, part.state, part.sentence] for part in parts])
