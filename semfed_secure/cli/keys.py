"""``semfed keys``: create a member's keys and record, and show them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, printable
from semfed_secure.clock import SystemClock, from_ms, to_iso
from semfed_secure.crypto.key_files import read_passphrase
from semfed_secure.identity.member_files import RECORD_FILE, create_member_keys, load_member_record
from semfed_secure.identity.records import MemberRecord, Role
from semfed_secure.ids import FederationId, MemberId

app = typer.Typer(help="Create and show a member's keys.", no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def create(
    federation: Annotated[str, typer.Option("--federation", help="The federation to enrol in.", show_default=False)],
    member: Annotated[str, typer.Option("--member", help="This organisation's id there.", show_default=False)],
    domain: Annotated[str, typer.Option("--domain", help="Its domain name.", show_default=False)],
    jurisdiction: Annotated[str, typer.Option("--jurisdiction", help="Such as US, US-CA, DE.", show_default=False)],
    role: Annotated[list[Role], typer.Option("--role", help="May be given several times.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="A directory without key files yet.", show_default=False)],
    valid_days: Annotated[
        int, typer.Option("--valid-days", min=1, max=3650, help="Term of the record, in days from now.")
    ] = 365,
    sequence: Annotated[
        int, typer.Option("--sequence", min=1, help="Higher than that of any record before; for new keys.")
    ] = 1,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="Holds the passphrase of the key files; else SEMFED_PASSPHRASE does."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Generate signing, opening and log keys, and the record that the federation root signs."""
    keys = create_member_keys(
        out,
        federation=FederationId(federation),
        member_id=MemberId(member),
        domain=domain,
        jurisdiction=jurisdiction,
        roles=frozenset(role),
        passphrase=read_passphrase(passphrase_file, os.environ),
        now=SystemClock().now(),
        valid_for=timedelta(days=valid_days),
        sequence=sequence,
    )
    _show(keys.record, out, as_json=as_json)


@app.command()
def show(
    directory: Annotated[Path, typer.Argument(help="A key directory.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Verify the record in a key directory and show it; needs no passphrase and shows no secret."""
    _show(load_member_record(directory), directory, as_json=as_json)


def _show(record: MemberRecord, directory: Path, *, as_json: bool) -> None:
    document: dict[str, object] = {
        "federation": record.federation,
        "member": record.member_id,
        "domain": record.domain,
        "jurisdiction": record.jurisdiction,
        "roles": sorted(record.roles),
        "sequence": record.sequence,
        "valid_from": to_iso(from_ms(record.valid_from_ms)),
        "valid_until": to_iso(from_ms(record.valid_until_ms)),
        "suite": record.signing_keys[0].suite.value,
        "signing_key_ids": [key.key_id for key in record.signing_keys],
        "sealing_key_id": record.sealing_key.key_id if record.sealing_key else None,
        "log_key": record.log_key,
        "record_file": str(directory / RECORD_FILE),
    }
    emit(document, as_json=as_json, text=lambda: "\n".join(map(_line, document.items())))


def _line(item: tuple[str, object]) -> str:
    name, value = item
    if value is None:
        value = "none"
    elif isinstance(value, list):
        value = ", ".join(value)
    return f"{name.replace('_', ' '):<17}{printable(value)}"
