"""TLS between members: who a certificate names, and how each side demands one of the other.

TLS 1.3 only. Files are checked before anybody connects, so that what is wrong on this side is told by its own code.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semfed_secure.clock import to_iso
from semfed_secure.crypto.certificates import term_of
from semfed_secure.crypto.key_files import read_passphrase
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import read_bounded, read_private
from semfed_secure.ids import FederationId, MemberId, is_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

SCHEME = "semfed://"
MAX_PEM_BYTES = 256 * 1024
"""The largest file of certificates or of a key that is read."""
PATIENCE = 8
"""Reads from a peer whose handshake has failed, before it is cut off."""


def member_uri(federation: FederationId, member_id: MemberId) -> str:
    """The name of a member in its TLS certificate: ``semfed://FEDERATION/MEMBER``."""
    return f"{SCHEME}{federation}/{member_id}"


def parse_member_uri(uri: str) -> tuple[FederationId, MemberId] | None:
    """Whom a URI names, or None if it is not of the form ``semfed://FEDERATION/MEMBER``."""
    federation, _, member = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not is_name(federation) or not is_name(member):
        return None
    return FederationId(federation), MemberId(member)


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """The files by which this side shows who it is.

    ``passphrase_file`` opens the key; without it the variable ``SEMFED_PASSPHRASE`` does, if the key is sealed.
    """

    certificate: Path
    key: Path
    passphrase_file: Path | None = None


def server_context(
    own: OwnCertificate, *, client_ca: Path | None, required: bool, environ: Mapping[str, str], now: datetime
) -> ssl.SSLContext:
    """How a server speaks TLS; with ``client_ca`` it asks clients for a certificate, which may be ``required``.

    Raises:
        ConfigurationError: ``SF102`` a file cannot be read; ``SF122`` others can read the key; ``SF121`` wrong
            passphrase; ``SF124`` the certificate is out of its term, not the key's, or none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.sslobject_class = _Alerting
    _load(context, own, environ, now)
    if client_ca is not None:
        _trust(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def client_context(
    own: OwnCertificate | None, *, ca: Path | None, server: str | None, environ: Mapping[str, str], now: datetime
) -> ssl.SSLContext:
    """How a client speaks TLS: it believes ``ca`` alone, or else the authorities of the operating system.

    A certificate that names a member must name ``server``. The federation's authority names one in every certificate;
    that of an institution or of its proxy names the host alone. Without ``server`` the host is all that counts.

    Raises:
        ConfigurationError: as `server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate for the very host
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if server is not None:
        context.sslsocket_class, context.sslobject_class = _expecting(server)
    if ca is None:
        context.load_default_certs()
    else:
        _trust(context, ca)
    if own is not None:
        _load(context, own, environ, now)
    return context


def names_of(connection: ssl.SSLObject | ssl.SSLSocket) -> tuple[str, ...]:
    """The URIs in the verified certificate of the other side; none if it showed none."""
    names: Any = (connection.getpeercert() or {}).get("subjectAltName", ())
    return tuple(str(value) for kind, value in names if kind == "URI")


def _load(context: ssl.SSLContext, own: OwnCertificate, environ: Mapping[str, str], now: datetime) -> None:
    begins, ends = term_of(read_bounded(own.certificate, MAX_PEM_BYTES))
    if not begins <= now < ends:
        term = f"{to_iso(begins)} to {to_iso(ends)}"
        raise ConfigurationError("SF124", f"a certificate in its term was expected in {own.certificate}, found {term}")
    read_private(own.key, MAX_PEM_BYTES)
    asked = False

    def passphrase() -> bytes:
        nonlocal asked
        asked = True
        return read_passphrase(own.passphrase_file, environ)

    try:
        context.load_cert_chain(own.certificate, own.key, passphrase)
    except ssl.SSLError as error:
        # What OpenSSL says of a wrong passphrase differs by version; of another key it says this.
        if asked and error.reason != "KEY_VALUES_MISMATCH":
            raise ConfigurationError("SF121", f"the passphrase of {own.key} was expected") from None
        raise ConfigurationError("SF124", f"the key of {own.certificate} was expected in {own.key}") from None
    except OSError as error:
        raise ConfigurationError("SF102", f"a readable file was expected at {own.key}: {error.strerror}") from None


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(cadata=read_bounded(authorities, MAX_PEM_BYTES).decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise ConfigurationError("SF124", f"certificates in PEM were expected in {authorities}") from None


def _expecting(server: str) -> tuple[type[ssl.SSLSocket], type[ssl.SSLObject]]:
    """Connections whose handshake fails if the other side is another member; the object is for one inside another."""

    class Socket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as it is called
            super().do_handshake(block)
            _require_name(self, server)

    class Object(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _require_name(self, server)

    return Socket, Object


def _require_name(connection: ssl.SSLObject | ssl.SSLSocket, server: str) -> None:
    named = [uri for uri in names_of(connection) if uri.startswith(SCHEME)]
    if named and named != [server]:
        error = ssl.SSLCertVerificationError("another member")
        error.verify_message = f"a certificate of {server} was expected, found one of {', '.join(named)}"
        raise error


class _Alerting(ssl.SSLObject):
    """Tells the other side why a handshake failed.

    asyncio cuts the connection before the alert is sent, and the other side would learn nothing. Saying "read more"
    first makes it send what is waiting; then the other side hangs up, or is cut off soon.
    """

    _patience = PATIENCE

    def do_handshake(self) -> None:
        """As ever, but a failure is told before it is raised."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self._patience -= 1
            if self._patience <= 0:
                raise
            raise ssl.SSLWantReadError from None
