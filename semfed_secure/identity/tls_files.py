"""The TLS authority of a federation, in the directory of its root, and the certificates that it issues.

::

    tls-ca.pem          the authority's certificate: what servers and clients believe
    tls-ca.key          its key, sealed under a passphrase; it signs TLS certificates and nothing else

    tls.pem, tls.key    in the directory of a member: its certificate, and its key if that was made here
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from semfed_secure.crypto.certificates import (
    Purpose,
    Subject,
    authority_certificate,
    new_key,
    open_authority,
    requested_key,
    term_of,
)
from semfed_secure.crypto.key_files import check_passphrase
from semfed_secure.crypto.private import Secret
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import make_private_directory, read_bounded, refuse_existing, write_new, write_private
from semfed_secure.identity.records import Role
from semfed_secure.identity.tls import MAX_PEM_BYTES, member_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from semfed_secure.crypto.certificates import Address, Authority
    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import MemberId

CA_FILE, CA_KEY_FILE = "tls-ca.pem", "tls-ca.key"
CERTIFICATE_FILE, KEY_FILE = "tls.pem", "tls.key"
AUTHORITY_TERM = timedelta(days=5 * 365)
MAX_HOSTS = 100
"""Names and addresses of one server."""
_NAME_LENGTH = 253


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be issued.

    Attributes:
        member_id: A member of the roster; what it may be, server or client, the roster says.
        valid_for: The term.
        dns_names: How a server is reached; without any name or address, by the domain of its record.
        addresses: Likewise.
        as_client: For a member that is server and client: the certificate of a client. It has one for each.
        request: A certificate request by the member for its own key; without it a key is made.
    """

    member_id: MemberId
    valid_for: timedelta
    dns_names: Sequence[str] = ()
    addresses: Sequence[Address] = ()
    as_client: bool = False
    request: bytes | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate, PEM, that is about to be written, and for whom; without a subject it is the authority's own."""

    certificate: bytes
    subject: Subject | None = None


def issue_tls(
    directory: Path,
    wanted: Wanted,
    out: Path,
    *,
    roster: Roster,
    passphrase: bytes,
    key_passphrase: bytes,
    note: Callable[[Issued], None],
    now: datetime,
) -> datetime:
    """Issue a TLS certificate to a member; the first one founds the authority. Returns when it ends.

    A server's certificate serves for no client and a client's for no server. No existing file is touched. What a crash
    left of the authority is taken up.

    Args:
        directory: The federation root's.
        wanted: What is to be issued.
        out: Gets the certificate, and the key if one is made.
        roster: Of the federation, verified.
        passphrase: Of the authority's key.
        key_passphrase: Of the member's key.
        note: Is told of every certificate before it is written; where it raises, none is.
        now: The time.

    Raises:
        PeerError: ``SF306`` no valid member.
        ConfigurationError: ``SF105`` a name or term is out of range; ``SF104`` no certificate request; ``SF121``
            wrong passphrase; ``SF123`` a file exists; ``SF102`` cannot read or write.
    """
    hidden, own = Secret(passphrase), Secret(key_passphrase)
    del passphrase, key_passphrase
    subject = _subject(wanted, roster, now)
    made = [out / CERTIFICATE_FILE] if wanted.request is not None else [out / CERTIFICATE_FILE, out / KEY_FILE]
    refuse_existing(*made)
    check_passphrase(hidden)
    check_passphrase(own)
    authority = _authority(directory, f"{roster.federation} TLS authority", hidden, note, now)
    if wanted.request is not None:
        key, sealed = requested_key(wanted.request), None
    else:
        key, sealed = new_key(own.reveal())
    certificate = authority.issue(subject, key, now=now, valid_for=wanted.valid_for)
    make_private_directory(out)
    if sealed is not None:
        write_private(out / KEY_FILE, sealed)
    note(Issued(certificate, subject))
    write_new(out / CERTIFICATE_FILE, certificate)
    return term_of(certificate)[1]


def _subject(wanted: Wanted, roster: Roster, now: datetime) -> Subject:
    roles = {record.member_id: record.roles for record in roster.records}.get(wanted.member_id, frozenset())
    serves = Role.SERVER in roles and not wanted.as_client
    role = Role.SERVER if serves else Role.CLIENT if wanted.as_client else min(roles, default=Role.CLIENT)
    record = roster.member(wanted.member_id, role=role, at=now)
    named = [*wanted.dns_names, *map(str, wanted.addresses)]
    if named and not serves:
        raise ConfigurationError(
            "SF105", f"DNS names and addresses of servers were expected, {wanted.member_id} is none here"
        )
    if len(named) > MAX_HOSTS or not all(len(name) <= _NAME_LENGTH and name.isprintable() for name in named):
        raise ConfigurationError("SF105", f"at most {MAX_HOSTS} DNS names and IP addresses were expected")
    return Subject(
        name=wanted.member_id,
        uri=member_uri(roster.federation, wanted.member_id),
        purpose=Purpose.SERVER if serves else Purpose.CLIENT,
        dns_names=wanted.dns_names if named or not serves else (record.domain,),
        addresses=wanted.addresses,
    )


def _authority(
    directory: Path, name: str, passphrase: Secret, note: Callable[[Issued], None], now: datetime
) -> Authority:
    """The authority in ``directory``, made if it is missing.

    Its key is written first: without a certificate nobody believes it, so one that a crash left alone is taken.
    """
    certificate, key = directory / CA_FILE, directory / CA_KEY_FILE
    if not certificate.exists():
        if not key.exists():
            write_private(key, new_key(passphrase.reveal())[1])
        sealed = read_bounded(key, MAX_PEM_BYTES)
        made = authority_certificate(name, sealed, passphrase.reveal(), now=now, valid_for=AUTHORITY_TERM)
        note(Issued(made))
        write_new(certificate, made)
    return open_authority(
        read_bounded(certificate, MAX_PEM_BYTES), read_bounded(key, MAX_PEM_BYTES), passphrase.reveal()
    )
