"""The connection to the server: TLS, proxy, time-outs, and what a failed one means in plain words."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from semfed_secure.clock import SystemClock
from semfed_secure.errors import PeerError
from semfed_secure.identity.tls import OwnCertificate, client_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from semfed_secure.client.config import ServerSection

ENVIRONMENT = "environment"
"""Instead of a proxy's address: take it from the variables ``https_proxy``, ``http_proxy`` and ``no_proxy``."""

_NOT_OUR_CERTIFICATE = {
    "CERTIFICATE_REQUIRED": "it demands a certificate, and none is named in `[server]`",
    "UNKNOWN_CA": "our certificate is of an authority that it does not believe",
    "CERTIFICATE_EXPIRED": "our certificate has expired",
    "CERTIFICATE_REVOKED": "our certificate is revoked",
    "BAD_CERTIFICATE": "our certificate is not well-formed for it",
    "UNSUPPORTED_CERTIFICATE": "our certificate is not one for a client",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate",
}
"""Alerts of TLS, by the end of OpenSSL's name for them."""
_NOT_ITS_TLS = {
    "PROTOCOL_VERSION": "it does not speak TLS 1.3",
    "UNSUPPORTED_PROTOCOL": "it does not speak TLS 1.3",
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this address",
    "RECORD_LAYER_FAILURE": "it does not speak TLS at this address",
}


def http_client(server: ServerSection, uri: str, environ: Mapping[str, str]) -> httpx.Client:
    """The HTTP client for ``server``; it reads no environment variable but those that ``server`` asks for.

    No request is sent to one whose certificate names another member than ``uri``.

    Raises:
        ConfigurationError: ``SF102``, ``SF121``, ``SF122`` or ``SF124``, a TLS file is missing or does not fit.
    """
    own = None
    if server.certificate is not None and server.key is not None:
        own = OwnCertificate(server.certificate, server.key, server.passphrase_file)
    tls: ssl.SSLContext | bool = True
    if server.url.startswith("https:"):
        tls = client_context(own, ca=server.ca, server=uri, environ=environ, now=SystemClock().now())
    return httpx.Client(
        timeout=server.timeout_seconds,
        verify=tls,
        proxy=_proxy(server),
        trust_env=False,
    )


def certificate_error(error: httpx.TransportError, url: str) -> PeerError | None:
    """What to say of a connection that failed for a certificate or for TLS itself: trying again helps nobody."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return PeerError("SF344", f"no connection to {url}: {cause.verify_message}", url=url)
        if isinstance(cause, ssl.SSLError):
            return _alert(str(cause.reason), url)
    return None


def _alert(reason: str, url: str) -> PeerError | None:
    for end, said in _NOT_OUR_CERTIFICATE.items():
        if reason.endswith(end):
            return PeerError("SF345", f"{url} refused the connection: {said}", url=url)
    for end, said in _NOT_ITS_TLS.items():
        if reason.endswith(end):
            return PeerError("SF344", f"no connection to {url}: {said}", url=url)
    return None


def _proxy(server: ServerSection) -> str | None:
    if server.proxy != ENVIRONMENT:
        return server.proxy
    parts = urlsplit(server.url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
