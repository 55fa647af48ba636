"""A syslog receiver over TLS: RFC 5425, messages framed by their length, each batch confirmed before it counts.

RFC 5425 has no acknowledgement but one: a receiver answers the end of a TLS session (close_notify) with its own, and
it can only do so when it has read all that came before. So a batch is one session, and it is delivered when the
receiver has answered its end. A session that ends otherwise delivered nothing that counts: the batch is sent again,
whole, and receivers tell by the entries' ids what they have already.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from semfed_secure.audit.exporters.session import Session
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from semfed_secure.audit.exporters.record import Record
    from semfed_secure.identity.tls import OwnCertificate

T = TypeVar("T")
_PAUSES = (1.0, 3.0)
"""Seconds before the second attempt, and before the third."""
_TIMEOUT = 30.0
"""Seconds without any progress after which a connection is given up."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port of a receiver; the host is what its certificate must name."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written."""
        return f"tls://{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``tls://HOST:PORT``.

    Raises:
        ConfigurationError: ``SF105``.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme != "tls" or parts.path or parts.query or parts.username is not None:
        raise ConfigurationError("SF105", f"a receiver was expected as tls://HOST:PORT, found {text!r}")
    return Address(host, port)


def receiver_context(
    own: OwnCertificate | None, *, ca: Path | None, environ: Mapping[str, str], now: datetime
) -> ssl.SSLContext:
    """How receivers are spoken to: TLS 1.2 or newer, as RFC 9662 has it; the host must be named by its certificate.

    Raises:
        ConfigurationError: as `semfed_secure.identity.tls.client_context`.
    """
    context = client_context(own, ca=ca, server=None, environ=environ, now=now)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class SyslogReceiver:
    """Delivers records to one receiver.

    Guarantee: `deliver` returns only when the receiver, whose certificate names the host and is of an authority that
    ``context`` trusts, has ended the session in order behind the last message. Otherwise a coded error is raised.
    """

    kind = "syslog over TLS"

    def __init__(
        self,
        address: Address,
        message: Callable[[Record], str],
        *,
        context: ssl.SSLContext,
        sleep: Callable[[float], None],
    ) -> None:
        """Nothing is connected yet."""
        self._address, self._message, self._context, self._sleep = address, message, context, sleep
        self._session: Session | None = None

    def open(self, log: str) -> None:  # noqa: ARG002 - syslog has no header
        """Connect and shake hands, so that a wrong address or certificate is found before the log says anything.

        Raises:
            PeerError: as `deliver`.
        """
        self._session = self._again(self._connect)

    def deliver(self, records: Sequence[Record]) -> bool:
        """Send records, and wait until the receiver has confirmed them; connects again when a session breaks.

        Raises:
            PeerError: ``SF349`` the receiver cannot be reached, or does not confirm; ``SF350`` its certificate is not
                as demanded, or it refuses ours.
        """
        frames = b"".join(_frame(self._message(record)) for record in records)
        self._again(lambda: self._exchange(frames))
        return True

    def finish(self) -> None:
        """Every batch is confirmed by itself."""

    def abandon(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _again(self, act: Callable[[], T]) -> T:
        for pause in _PAUSES:
            try:
                return act()
            except PeerError as error:
                if not error.retryable:
                    raise
                self._sleep(pause)
        return act()

    def _connect(self) -> Session:
        try:
            return Session(self._address.host, self._address.port, self._context, timeout=_TIMEOUT)
        except OSError as error:
            raise self._unreached(error) from error

    def _exchange(self, frames: bytes) -> None:
        session = self._session or self._connect()
        self._session = None
        try:
            session.send(frames)
            session.end()
        except OSError as error:
            raise self._unreached(error) from error
        finally:
            session.close()

    def _unreached(self, error: Exception) -> PeerError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return PeerError("SF350", f"no connection to {self._address}: {error.verify_message}")
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return PeerError("SF349", f"{self._address} hung up without confirming what it was sent")
        if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
            return PeerError("SF350", f"{self._address} refused the connection: {error.reason}")
        said = getattr(error, "strerror", None) or type(error).__name__
        return PeerError("SF349", f"{self._address} was not reached, or did not confirm: {said}")


def _frame(message: str) -> bytes:
    """Its length in bytes, a space and the message: line ends and anything else in it are no ends."""
    data = message.encode()
    return b"%d %s" % (len(data), data)
