"""A syslog receiver over TLS on this machine: it takes frames as RFC 5425 has them, and can misbehave on purpose."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FRAME = re.compile(rb"([1-9][0-9]*) ")
DAY = timedelta(days=1)


class Certificates:
    """An authority in a directory, and what it issues: files of PEM."""

    def __init__(self, directory: Path) -> None:
        """A new authority."""
        directory.mkdir()
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of receivers")])
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, host: str, *, ends: timedelta = DAY) -> tuple[Path, Path]:
        """Certificate and key of a host, or of an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
        certificate = self._directory / f"{host}.pem"
        certificate.write_bytes(self._sign(subject, key, x509.SubjectAlternativeName([name]), ends=ends))
        private = self._directory / f"{host}.key"
        private.touch(mode=0o600)
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(*encoding))
        return certificate, private

    def _sign(self, subject: x509.Name, key, extension: x509.ExtensionType, *, ends: timedelta = DAY) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + ends)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def split(data: bytes) -> list[bytes]:
    """Every whole message in what was received; the last one may have been cut."""
    messages, place = [], 0
    while found := _FRAME.match(data, place):
        stop = found.end() + int(found[1])
        if stop > len(data):
            break
        messages.append(data[found.end() : stop])
        place = stop
    return messages


class Receiver:
    """Takes sessions one after the other, and keeps what came."""

    def __init__(self, context: ssl.SSLContext, end: Callable[[int, ssl.SSLSocket], None]) -> None:
        """``end`` is called when a session's peer has ended it; its number is counted from one."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._context, self._end = context, end
        self.port = self._listening.getsockname()[1]
        self.received: list[bytes] = []
        self.failures: list[str] = []
        self.sessions = 0

    @property
    def address(self) -> str:
        """As the command takes it."""
        return f"tls://127.0.0.1:{self.port}"

    def serve(self) -> None:
        """Until `stop`."""
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            try:
                with plain, self._context.wrap_socket(plain, server_side=True) as session:
                    self._session(session)
            except OSError as error:
                self.failures.append(str(error))

    def _session(self, session: ssl.SSLSocket) -> None:
        self.sessions += 1
        data = b""
        try:
            while part := session.recv(65_536):
                data += part
        finally:
            self.received += split(data)
        self._end(self.sessions, session)

    def stop(self) -> None:
        """Take no further session."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def confirm(number: int, session: ssl.SSLSocket) -> None:
    """End the session as RFC 5425 says."""
    session.unwrap()


@contextmanager
def receiving(
    certificate: tuple[Path, Path],
    *,
    clients: Path | None = None,
    end: Callable[[int, ssl.SSLSocket], None] = confirm,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> Iterator[Receiver]:
    """While it lasts, a receiver listens on this machine; ``clients`` is whose clients it demands."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    context.load_cert_chain(*certificate)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    receiver = Receiver(context, end)
    thread = threading.Thread(target=receiver.serve)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stop()
        thread.join(30)
