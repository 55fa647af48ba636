"""Timestamps of RFC 3161: an authority outside the federation signs that it saw a digest, and when.

`rfc3161-client` (extra ``timestamp``) reads and verifies them; the chain is held to the authority's own certificates,
which the caller names, at the time that the timestamp states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.x509 import load_pem_x509_certificates

from semfed_secure.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType

    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class TimestampRequest:
    """A question to an authority.

    Attributes:
        encoded: The bytes that it is asked with, DER.
        nonce: Comes back in the answer, so that no older answer is taken for it.
    """

    encoded: bytes
    nonce: int


def authority_certificates(pem: bytes) -> list[Certificate]:
    """The certificates of a file, at least one.

    Raises:
        ConfigurationError: SF105 if it holds none.
    """
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigurationError("SF105", "the authority's certificates in PEM were expected") from error


def request_timestamp(statement: bytes) -> TimestampRequest:
    """A question about the SHA-256 of ``statement``.

    Raises:
        ConfigurationError: SF103 if the extra ``timestamp`` is not installed.
    """
    library = _library()
    request = library.TimestampRequestBuilder().data(statement).hash_algorithm(library.HashAlgorithm.SHA256).build()
    return TimestampRequest(request.as_bytes(), request.nonce)


def verify_timestamp(
    answer: bytes, statement: bytes, *, authority: list[Certificate], nonce: int | None = None
) -> datetime:
    """When ``statement`` existed already, as the authority signed it; UTC.

    Guarantee: what is returned stands in a timestamp of exactly these bytes that verifies under a chain to one of
    ``authority``, whose signer may sign timestamps and was valid then; and that answers ``nonce``, if one is given.

    Raises:
        IntegrityError: SF520 if it does not verify.
        ConfigurationError: SF103 if the extra ``timestamp`` is not installed.
    """
    library = _library()
    builder = library.VerifierBuilder(roots=list(authority), nonce=nonce)
    try:
        timestamp = library.decode_timestamp_response(answer)
        builder.build().verify_message(timestamp, statement)
        when: datetime = timestamp.tst_info.gen_time
    # A parser of strangers' bytes: whatever it raises means that this is no timestamp.
    except Exception as error:
        message = "the timestamp is not one that this authority signed for this checkpoint"
        raise IntegrityError("SF520", message) from error
    return when


def _library() -> ModuleType:
    try:
        import rfc3161_client  # noqa: PLC0415 - an extra
    except ImportError as error:
        message = "timestamps need rfc3161-client: install semfed-secure[timestamp]"
        raise ConfigurationError("SF103", message) from error
    return rfc3161_client
