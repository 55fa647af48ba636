"""``semfed audit fsck``: which parts of a damaged log are lost, and which can be computed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.fsck import State, examine
from semfed_secure.audit.repair import repair_database, repair_export
from semfed_secure.audit.sources import is_export, open_source
from semfed_secure.audit.verify import verify_log
from semfed_secure.cli.audit_options import KeyOption, Place, read_key
from semfed_secure.cli.audit_own import PassphraseOption, own_key
from semfed_secure.cli.audit_trust import key_of
from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from semfed_secure.audit.fsck import Part
    from semfed_secure.crypto.log_keys import LogVerificationKey


def fsck(
    place: Place,
    key: KeyOption = None,
    mend: Annotated[
        bool, typer.Option("--repair", help="Compute again what can be, if nothing is lost; otherwise nothing changes.")
    ] = False,
    log_key: Annotated[
        Path | None,
        typer.Option("--log-key", help="The log's private key file: enters a repair in the log.", show_default=False),
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which parts of a log are sound, lost, or can be computed again; exit 12 if it is not intact."""
    given = read_key(key)
    with open_source(place) as source:
        owner = key_of(given or source.head().verification_key)
        parts = examine(source, owner)
    states = {part.state for part in parts}
    mended = mend and State.DERIVED in states and State.LOST not in states
    if mended:
        parts = _repair(place, owner, log_key, passphrase_file)
    try:
        verify_log(place, key=given)
    except IntegrityError as error:
        if as_json:
            raise IntegrityError(error.code, error.message, **error.fields, parts=_rows(parts)) from error
        emit({}, as_json=False, text=_table(parts))
        raise
    words = "\nwhat is marked as derived was computed again; the log is intact" if mended else "\nthe log is intact"
    emit({"parts": _rows(parts), "repaired": mended}, as_json=as_json, text=lambda: _table(parts) + words)


def _repair(
    place: str, owner: LogVerificationKey, log_key: Path | None, passphrase_file: Path | None
) -> tuple[Part, ...]:
    if is_export(place):
        return repair_export(Path(place), owner)
    if log_key is None:
        raise ConfigurationError("SF101", "a repair of a database is entered in its log: that takes --log-key")
    return repair_database(place, own_key(log_key, passphrase_file), clock=SystemClock())


def _rows(parts: tuple[Part, ...]) -> list[dict[str, str]]:
    return [{"part": part.name, "state": part.state, "sentence": part.sentence} for part in parts]


def _table(parts: tuple[Part, ...]) -> str:
    return table(["part", "state", "in words"], [[part.name, part.state, part.sentence] for part in parts])
