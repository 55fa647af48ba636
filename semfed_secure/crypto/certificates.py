"""X.509 certificates for TLS between members: one authority per federation, P-256, ECDSA with SHA-256.

They keep strangers from the door and decide nothing behind it. P-256 because TLS libraries on the market speak it;
Ed25519 is forbidden in chains by pyca's own verifier, ML-DSA unknown to the OpenSSL of current Pythons. The keys are
TLS keys only: no message and no log entry is ever signed by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from semfed_secure.crypto.private import Secret, Undisclosed
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from semfed_secure.ids import Digest

Address: TypeAlias = IPv4Address | IPv6Address
CLOCKS_DIFFER = timedelta(minutes=5)
"""A certificate is valid this long before it was made, for those whose clock is behind."""

_EXPECTED = "the right passphrase, and the TLS authority's own key, were expected"


class Purpose(Enum):
    """What a certificate is good for: none serves for the other."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a certificate is for: a URI that names the member, and of a server how it is reached."""

    name: str
    uri: str
    purpose: Purpose
    dns_names: Sequence[str] = ()
    addresses: Sequence[Address] = ()


@dataclass(frozen=True, slots=True)
class TlsKey:
    """The public half of a TLS key; `new_key` and `requested_key` make one."""

    _key: ec.EllipticCurvePublicKey


class Authority(Undisclosed):
    """A certificate authority, open; shows nothing of its key."""

    __slots__ = ("_certificate", "_key")

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Use `open_authority`."""
        self._certificate, self._key = certificate, key

    def issue(self, subject: Subject, key: TlsKey, *, now: datetime, valid_for: timedelta) -> bytes:
        """A certificate for ``subject``, PEM.

        Raises:
            ConfigurationError: ``SF105`` it would outlive the authority, or a name is none.
        """
        if now + valid_for > self._certificate.not_valid_after_utc:
            ends = self._certificate.not_valid_after_utc.date().isoformat()
            raise ConfigurationError("SF105", f"a term that ends before the authority's, {ends}, was expected")
        builder = _builder(subject.name, key._key, now, now + valid_for)  # noqa: SLF001 - of this module
        try:
            names = _names(subject)
        except ValueError as error:
            raise ConfigurationError("SF105", f"DNS names and IP addresses were expected: {error}") from None
        builder = (
            builder.issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([subject.purpose.value]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def authority_certificate(name: str, key: bytes, passphrase: bytes, *, now: datetime, valid_for: timedelta) -> bytes:
    """The certificate, PEM, of a new authority with a key that `new_key` made.

    Raises:
        ConfigurationError: ``SF121`` wrong passphrase, or a damaged file.
    """
    hidden = Secret(passphrase)
    del passphrase
    opened = _opened(key, hidden)
    certificate = (
        _builder(name, opened.public_key(), now, now + valid_for)
        .issuer_name(_common_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(opened.public_key()), critical=False)
        .sign(opened, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def open_authority(certificate: bytes, key: bytes, passphrase: bytes) -> Authority:
    """Open an authority: its certificate and its key.

    Raises:
        ConfigurationError: ``SF121`` wrong passphrase, a damaged file, or a key of another certificate.
    """
    hidden = Secret(passphrase)
    del passphrase
    opened = _opened(key, hidden)
    try:
        read = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        read = None
    if read is None or opened.public_key() != read.public_key():
        raise ConfigurationError("SF121", _EXPECTED)
    return Authority(read, opened)


def new_key(passphrase: bytes) -> tuple[TlsKey, bytes]:
    """A new key: its public half, and PEM (PKCS #8), encrypted under ``passphrase``."""
    hidden = Secret(passphrase)
    del passphrase
    key = ec.generate_private_key(ec.SECP256R1())
    return TlsKey(key.public_key()), _sealed(key, hidden)


def requested_key(request: bytes) -> TlsKey:
    """The key of a certificate request (PKCS #10, PEM), which its owner proves to hold.

    Nothing else is taken from the request: what a certificate says is said by who issues it.

    Raises:
        ConfigurationError: ``SF104`` it is none, its signature does not verify, or the key is not P-256.
    """
    try:
        read = x509.load_pem_x509_csr(request)
        key = read.public_key()
        valid = read.is_signature_valid
    except (ValueError, InvalidSignature):
        raise ConfigurationError("SF104", "a certificate request in PEM was expected") from None
    if not valid or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError("SF104", "a request signed by its own P-256 key was expected")
    return TlsKey(key)


def term_of(certificate: bytes) -> tuple[datetime, datetime]:
    """From when to when a certificate (PEM) is valid.

    Raises:
        ConfigurationError: ``SF124`` it is none.
    """
    try:
        read = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        raise ConfigurationError("SF124", "a certificate in PEM was expected") from None
    return read.not_valid_before_utc, read.not_valid_after_utc


def fingerprint(certificate: bytes) -> Digest:
    """The SHA-256 digest by which tools name a certificate (PEM)."""
    return sha256(x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER))


def _opened(key: bytes, passphrase: Secret) -> ec.EllipticCurvePrivateKey:
    try:
        opened = serialization.load_pem_private_key(key, passphrase.reveal())
    except (ValueError, TypeError):
        opened = None
    if not isinstance(opened, ec.EllipticCurvePrivateKey):
        raise ConfigurationError("SF121", _EXPECTED)
    return opened


def _builder(name: str, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _names(subject: Subject) -> list[x509.GeneralName]:
    return [
        x509.UniformResourceIdentifier(subject.uri),
        *(x509.DNSName(name) for name in subject.dns_names),
        *(x509.IPAddress(address) for address in subject.addresses),
    ]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sealed(key: ec.EllipticCurvePrivateKey, passphrase: Secret) -> bytes:
    # PKCS #8 and not our own key file: TLS libraries and proxies read it too.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.reveal()),
    )
