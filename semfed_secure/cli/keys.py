"""``semfed keys``: create, enrol, rotate and show a member's keys and record."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, printable
from semfed_secure.clock import SystemClock, from_ms, to_iso
from semfed_secure.crypto.external import ExternalPart, SignerAddress, read_public_part
from semfed_secure.crypto.key_files import read_passphrase
from semfed_secure.crypto.keys import Suite
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.enrolment import MAX_TOKEN_FILE_BYTES
from semfed_secure.identity.files import read_private
from semfed_secure.identity.member_changes import Terms, rotate_member_keys, write_request
from semfed_secure.identity.member_files import RECORD_FILE, create_member_keys, load_member_record
from semfed_secure.identity.records import MemberRecord, Role
from semfed_secure.ids import FederationId, MemberId

app = typer.Typer(
    help="Create, enrol, rotate and show a member's keys.", no_args_is_help=True, pretty_exceptions_enable=False
)

Signer = Annotated[
    str | None,
    typer.Option(
        "--signer", help="Where the classical half of the new signing key lies already, such as hsm:1?label=north."
    ),
]
SignerPublicKey = Annotated[
    Path | None, typer.Option("--signer-public-key", help="Its public half, PEM or DER, as the HSM exports it.")
]
SignerPinFile = Annotated[Path | None, typer.Option("--signer-pin-file", help="Holds the PIN of the HSM.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Holds the passphrase of the key files; else SEMFED_PASSPHRASE does."),
]


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
        int,
        typer.Option("--sequence", min=1, max=10**9, help="Higher than that of any record before; for new keys."),
    ] = 1,
    suite: Annotated[
        Suite, typer.Option("--suite", help="The algorithms of all its keys: hybrid-pq or nist-p256.")
    ] = Suite.HYBRID_PQ,
    signer: Signer = None,
    signer_public_key: SignerPublicKey = None,
    signer_pin_file: SignerPinFile = None,
    passphrase_file: PassphraseFile = None,
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
        suite=suite,
        outside=_outside(signer, signer_public_key, signer_pin_file),
    )
    _show(keys.record, out, as_json=as_json)


@app.command()
def enrol(
    directory: Annotated[Path, typer.Argument(help="A key directory.", show_default=False)],
    token_file: Annotated[
        Path, typer.Option("--token-file", help="Holds the token that the federation root sent you.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Bind the record in a key directory to a one-time token; send the request that this writes to the root."""
    request = write_request(directory, read_private(token_file, MAX_TOKEN_FILE_BYTES))
    record = load_member_record(directory)
    emit(
        {"member": record.member_id, "request_file": str(request)},
        as_json=as_json,
        text=f"Send {request} to the root of {record.federation}.",
    )


@app.command()
def rotate(
    directory: Annotated[Path, typer.Argument(help="The key directory in use.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="A directory without key files yet.", show_default=False)],
    overlap_days: Annotated[
        int, typer.Option("--overlap-days", min=1, max=365, help="For how long the key before still counts.")
    ] = 30,
    valid_days: Annotated[
        int, typer.Option("--valid-days", min=2, max=3650, help="Term of the new record, in days from now.")
    ] = 365,
    signer: Signer = None,
    signer_public_key: SignerPublicKey = None,
    signer_pin_file: SignerPinFile = None,
    signer_before: Annotated[
        str | None, typer.Option("--signer-before", help="Where the classical half of the key in use lies.")
    ] = None,
    signer_before_pin_file: Annotated[
        Path | None, typer.Option("--signer-before-pin-file", help="Holds the PIN of that HSM.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    as_json: JsonOption = False,
) -> None:
    """Generate a new signing key, and a record that old and new key sign; it needs no token."""
    record = rotate_member_keys(
        directory,
        out,
        passphrase=read_passphrase(passphrase_file, os.environ),
        now=SystemClock().now(),
        terms=Terms(timedelta(days=valid_days), timedelta(days=overlap_days)),
        before_outside=SignerAddress(signer_before, signer_before_pin_file).open if signer_before else None,
        outside=_outside(signer, signer_public_key, signer_pin_file),
    )
    _show(record, out, as_json=as_json)


@app.command()
def show(
    directory: Annotated[Path, typer.Argument(help="A key directory.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Verify the record in a key directory and show it; needs no passphrase and shows no secret."""
    _show(load_member_record(directory), directory, as_json=as_json)


def _outside(uri: str | None, public_key: Path | None, pin_file: Path | None) -> ExternalPart | None:
    """The part of the signing key that lies at ``uri``, which has signed once."""
    if (uri is None) != (public_key is None) or (uri is None and pin_file is not None):
        raise ConfigurationError("SF105", "--signer and --signer-public-key were expected together, or neither")
    if uri is None or public_key is None:
        return None
    return SignerAddress(uri, pin_file).open(read_public_part(public_key))


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
        "suite": record.suite.value,
        "algorithms": [algorithm.name for algorithm in record.signing_keys[0].algorithms],
        "signing_key_ids": [key.key_id for key in record.signing_keys],
        "sealing_key_id": record.sealing_key.key_id if record.sealing_key else None,
        "overlap_until": None if record.overlap_until_ms is None else to_iso(from_ms(record.overlap_until_ms)),
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
