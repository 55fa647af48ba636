"""Outsiders who vouch that a checkpoint existed at a time; whoever writes a log again cannot go back there.

An anchor needs no trust in the operator, in the members or in the log's key: only that the outsider does not lie about
the time. What it says lies beside the checkpoint, and other tools than these verify it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx

from semfed_secure.crypto.timestamps import authority_certificates, request_timestamp, verify_timestamp
from semfed_secure.errors import PeerError

if TYPE_CHECKING:
    from datetime import datetime

_SECONDS = 30
_MOST = 64 * 1024
"""A timestamp with its certificates takes a tenth."""


class Anchor(Protocol):
    """Somebody outside the federation who keeps, or signs, what is shown."""

    def stamp(self, checkpoint: str) -> bytes:
        """Show a checkpoint; what is returned verifies."""
        ...

    def time_of(self, checkpoint: str, evidence: bytes) -> datetime:
        """When the checkpoint existed already, as ``evidence`` shows."""
        ...


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """An authority that answers as RFC 3161 says.

    Attributes:
        certificates: Whom to believe: the authority's root certificates, PEM, from another source than its answers.
        url: Where it is asked; verifying needs none.
    """

    certificates: bytes
    url: str = ""

    def stamp(self, checkpoint: str) -> bytes:
        """Ask for a timestamp of the checkpoint's SHA-256; nothing else leaves.

        Raises:
            PeerError: SF351 if the authority cannot be reached or does not answer with a timestamp.
            IntegrityError: SF520 if what it answers does not verify.
            ConfigurationError: SF103 or SF105.
        """
        statement, authority = checkpoint.encode(), authority_certificates(self.certificates)
        request = request_timestamp(statement)
        answer = _ask(self.url, request.encoded)
        verify_timestamp(answer, statement, authority=authority, nonce=request.nonce)
        return answer

    def time_of(self, checkpoint: str, evidence: bytes) -> datetime:
        """When the checkpoint existed already, UTC.

        Raises:
            IntegrityError: SF520 if the timestamp is not of this checkpoint, or not of this authority.
            ConfigurationError: SF103 or SF105.
        """
        authority = authority_certificates(self.certificates)
        return verify_timestamp(evidence, checkpoint.encode(), authority=authority)


def _ask(url: str, question: bytes) -> bytes:
    headers = {"content-type": "application/timestamp-query", "accept": "application/timestamp-reply"}
    try:
        with httpx.stream("POST", url, content=question, headers=headers, timeout=_SECONDS) as answer:
            answer.raise_for_status()
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _MOST:
                    raise PeerError("SF351", f"the timestamp authority answered with more than {_MOST} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PeerError("SF351", f"the timestamp authority was asked in vain: {error}") from error
    return body
