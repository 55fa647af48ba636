"""``semfed federation issue-tls``: certificates by which members' machines recognise each other."""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.clock import SystemClock, to_iso
from semfed_secure.crypto.key_files import read_passphrase
from semfed_secure.errors import ConfigurationError
from semfed_secure.federation.certificates import issue_certificate
from semfed_secure.federation.office import open_office
from semfed_secure.identity.files import read_bounded
from semfed_secure.identity.tls import MAX_PEM_BYTES, member_uri
from semfed_secure.identity.tls_files import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Wanted
from semfed_secure.ids import MemberId


def issue(
    directory: Annotated[Path, typer.Argument(help="The federation root's directory.", show_default=False)],
    member: Annotated[str, typer.Option("--member", help="A member of the roster.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Where tls.pem and tls.key are written.", show_default=False)],
    dns: Annotated[
        list[str] | None,
        typer.Option("--dns", help="A host name of a server; repeat it. Without any, the domain of its record."),
    ] = None,
    ip: Annotated[list[str] | None, typer.Option("--ip", help="An IP address of a server; repeat it.")] = None,
    request: Annotated[
        Path | None,
        typer.Option("--request", help="A certificate request (PEM) for a P-256 key that the member made itself."),
    ] = None,
    as_client: Annotated[
        bool, typer.Option("--as-client", help="For a member that is server and client: its certificate as a client.")
    ] = False,
    valid_days: Annotated[
        int, typer.Option("--valid-days", min=1, max=397, help="Days until another one is needed.")
    ] = 90,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="Holds the TLS authority's passphrase. Else SEMFED_PASSPHRASE does."),
    ] = None,
    key_passphrase_file: Annotated[
        Path | None,
        typer.Option("--key-passphrase-file", help="Holds the passphrase of the member's key. Else the same one."),
    ] = None,
    root_passphrase_file: Annotated[
        Path | None,
        typer.Option("--root-passphrase-file", help="Holds that of a root key; it opens the log. Else the same one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Issue a member a TLS certificate; the first one also makes the federation's TLS authority. The root logs both."""
    clock = SystemClock()
    passphrase = _passphrase(passphrase_file)
    of_root = _passphrase(root_passphrase_file, default=passphrase)
    of_key = _passphrase(key_passphrase_file, default=passphrase)
    wanted = Wanted(
        member_id=MemberId(member),
        valid_for=timedelta(days=valid_days),
        dns_names=dns or (),
        addresses=[_address(text) for text in ip or ()],
        as_client=as_client,
        request=None if request is None else read_bounded(request, MAX_PEM_BYTES),
    )
    with open_office(directory, passphrases=[of_root], clock=clock) as office:
        ends = issue_certificate(
            office, directory, wanted, out, passphrase=passphrase, key_passphrase=of_key, now=clock.now()
        )
        federation = office.directory.root.federation
    document = {
        "member": member,
        "uri": member_uri(federation, wanted.member_id),
        "certificate": str(out / CERTIFICATE_FILE),
        "key": None if request else str(out / KEY_FILE),
        "ca": str(directory / CA_FILE),
        "valid_until": to_iso(ends),
    }
    emit(document, as_json=as_json, text=_said(document))


def _said(document: dict[str, str | None]) -> str:
    issued = f"{document['uri']}, until {document['valid_until']}: {document['certificate']}"
    return f"{issued}\nEverybody believes {document['ca']}"


def _passphrase(file: Path | None, *, default: bytes | None = None) -> bytes:
    return default if file is None and default is not None else read_passphrase(file, os.environ)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ConfigurationError("SF105", "an IP address such as 192.0.2.1 was expected") from None
