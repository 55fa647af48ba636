"""``semfed audit export``: the log as static files, or its entries in the format of another system."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from semfed_secure.audit.exporters.destinations import Destination, NewFile
from semfed_secure.audit.exporters.export import Wanted, export_log
from semfed_secure.audit.exporters.formats import FORMATS, FormatName
from semfed_secure.audit.exporters.own_log import OwnLog, open_own_log
from semfed_secure.audit.exporters.receiver import SyslogReceiver, parse_address, receiver_context
from semfed_secure.audit.sources import database_of
from semfed_secure.audit.tiles import export_tiles
from semfed_secure.audit.verify import verify_log
from semfed_secure.cli.audit_options import (
    KeyOption,
    Place,
    SinceOption,
    UntilOption,
    first_instant,
    last_instant,
    read_key,
)
from semfed_secure.cli.audit_own import PassphraseOption, own_key
from semfed_secure.cli.output import JsonOption, emit, note
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError, SemfedError
from semfed_secure.identity.tls import OwnCertificate
from semfed_secure.storage import log_rows

FormatOption = Annotated[
    FormatName, typer.Option("--format", help="tiles, the log itself, or its entries for another system.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="A new file; for tiles a new or empty directory.", show_default=False)
]
ToOption = Annotated[
    str | None, typer.Option("--to", help="A syslog receiver, tls://HOST:PORT; for syslog and cef.", show_default=False)
]
CursorOption = Annotated[
    Path | None, typer.Option("--cursor", help="Remembers what was exported: only what follows is.", show_default=False)
]
LogKeyOption = Annotated[
    Path | None,
    typer.Option("--log-key", help="The log's private key file: enters the export in the log.", show_default=False),
]
AuthorityOption = Annotated[
    Path | None, typer.Option("--ca", help="The authority of the receiver's certificate.", show_default=False)
]
CertificateOption = Annotated[
    Path | None, typer.Option("--certificate", help="This side's, if the receiver demands one.", show_default=False)
]
CertificateKeyOption = Annotated[
    Path | None, typer.Option("--certificate-key", help="Its private key.", show_default=False)
]


def export(
    place: Place,
    form: FormatOption = FormatName.TILES,
    out: OutOption = None,
    to: ToOption = None,
    cursor: CursorOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    key: KeyOption = None,
    log_key: LogKeyOption = None,
    ca: AuthorityOption = None,
    certificate: CertificateOption = None,
    certificate_key: CertificateKeyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a log and export it: as C2SP tlog-tiles, or its entries as OCSF, CEF, syslog, CloudEvents and others.

    Exit 12, and nothing leaves, if the log does not verify, or the cursor is of another or a longer log.
    """
    receiver = _Receiver(to, ca, certificate, certificate_key, passphrase_file)
    receiver.check(form, out)
    period = first_instant(since), last_instant(until)
    if (form is FormatName.TILES and cursor is not None) or (any(period) and (cursor or form is FormatName.TILES)):
        raise ConfigurationError("SF101", "tiles are exported whole; a cursor goes on from where it stands")
    with _own(place, log_key, passphrase_file) as own:
        if form is FormatName.TILES:
            assert out is not None  # checked above
            document = _export_tiles(place, out, read_key(key), own)
        else:
            wanted = Wanted(form.value, *period, cursor)
            exported = export_log(place, receiver.destination(form, out), wanted, key=read_key(key), own=own)
            document = {
                "log": exported.log,
                "entries": exported.entries,
                "first": exported.first,
                "last": exported.last,
            }
    document = {"out" if out else "to": str(out or to), **document, "entered": own is not None and own.entered}
    if own is None:
        note("semfed: this export is not entered in the log: that takes --log-key")
    text = f"{out or to}: {document['entries']} entries of {document['log']}"
    emit(document, as_json=as_json, text=text)


@dataclass(frozen=True, slots=True)
class _Receiver:
    """What was said of where the export goes."""

    to: str | None
    ca: Path | None
    certificate: Path | None
    key: Path | None
    passphrase_file: Path | None

    def check(self, form: FormatName, out: Path | None) -> None:
        """Refuse what does not fit together."""
        if (out is None) == (self.to is None):
            raise ConfigurationError("SF101", "either --out or --to says where the export goes")
        if self.to is not None and (form is FormatName.TILES or FORMATS[form].message is None):
            raise ConfigurationError("SF101", f"syslog and cef are sent over a network, {form} is not: take --out")
        if self.to is None and (self.ca or self.certificate or self.key):
            raise ConfigurationError("SF101", "--ca, --certificate and --certificate-key belong to --to")
        if (self.certificate is None) != (self.key is None):
            raise ConfigurationError("SF101", "--certificate and --certificate-key belong together")

    def destination(self, form: FormatName, out: Path | None) -> Destination:
        """The file or the receiver."""
        if out is not None:
            return NewFile(out, FORMATS[form])
        own = None
        if self.certificate is not None and self.key is not None:
            own = OwnCertificate(self.certificate, self.key, self.passphrase_file)
        message = FORMATS[form].message
        assert self.to is not None  # checked above
        assert message is not None  # checked above
        context = receiver_context(own, ca=self.ca, environ=os.environ, now=SystemClock().now())
        return SyslogReceiver(parse_address(self.to), message, context=context, sleep=time.sleep)


@contextmanager
def _own(place: str, log_key: Path | None, passphrase_file: Path | None) -> Iterator[OwnLog | None]:
    if log_key is None:
        yield None
        return
    with open_own_log(place, own_key(log_key, passphrase_file), clock=SystemClock()) as own:
        yield own


def _export_tiles(place: str, out: Path, key: str | None, own: OwnLog | None) -> dict[str, object]:
    verdict = verify_log(place, key=key)
    if own is not None:
        own.announce(FormatName.TILES.value, "directory", 0, None)
    try:
        with database_of(place) as tx:
            head = log_rows.read_head(tx)
            assert head is not None  # INVARIANT: the log was verified above
            size = export_tiles(tx, checkpoint=head.checkpoint, verification_key=head.verification_key, directory=out)
    except SemfedError as error:
        if own is not None:
            own.say_failed(error)
        raise
    return {"log": verdict.origin, "entries": size}
