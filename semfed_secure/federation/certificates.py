"""TLS certificates of the federation's own authority, each of which the root's log names before anybody has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.clock import to_iso
from semfed_secure.crypto.certificates import Purpose, fingerprint, term_of
from semfed_secure.errors import PeerError
from semfed_secure.federation.entries import ACTOR
from semfed_secure.identity.tls import member_uri
from semfed_secure.identity.tls_files import Issued, Wanted, issue_tls
from semfed_secure.ids import hex_digest, is_name

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from semfed_secure.federation.office import RootOffice
    from semfed_secure.ids import FederationId, MemberId


def issue_certificate(
    office: RootOffice,
    directory: Path,
    wanted: Wanted,
    out: Path,
    *,
    passphrase: bytes,
    key_passphrase: bytes,
    now: datetime,
) -> datetime:
    """Issue a TLS certificate in the root's ``directory`` as `issue_tls` does, and log it; a refusal is an entry too.

    Guarantee: no certificate, the authority's own neither, is written that the root's log does not name. So one that
    somebody shows and that the log does not name was made with a stolen key.

    Raises:
        SemfedError: As `issue_tls`.
        IntegrityError: ``SF502`` the log cannot be written.
    """
    roster = office.directory.roster(now=now)
    try:
        return issue_tls(
            directory,
            wanted,
            out,
            roster=roster,
            passphrase=passphrase,
            key_passphrase=key_passphrase,
            note=lambda issued: office.note(_issued_event(wanted.member_id, issued)),
            now=now,
        )
    except PeerError as error:
        office.note(_refused_event(roster.federation, wanted.member_id, error))
        raise


def _issued_event(member_id: MemberId, issued: Issued) -> Event:
    details: dict[str, object] = {
        "certificate_digest": hex_digest(fingerprint(issued.certificate)),
        "expires_at": to_iso(term_of(issued.certificate)[1]),
    }
    subject = issued.subject
    if subject is None:
        return Event(type=EventType.AUTHORITY_FOUNDED, outcome="success", actor=ACTOR, details=details)
    details |= {
        "uri": subject.uri,
        "purpose": "server" if subject.purpose is Purpose.SERVER else "client",
        "hosts": [*subject.dns_names, *map(str, subject.addresses)],
    }
    return Event(type=EventType.CERTIFICATE_ISSUED, outcome="success", actor=ACTOR, target=member_id, details=details)


def _refused_event(federation: FederationId, member_id: MemberId, error: PeerError) -> Event:
    named = is_name(member_id)
    return Event(
        type=EventType.CERTIFICATE_REFUSED,
        outcome="denied",
        actor=ACTOR,
        target=member_id if named else None,
        codes=(error.code,),
        reason=error.message,
        details={"uri": member_uri(federation, member_id)} if named else {},
    )
