"""Who calls, as far as the connection tells: an address always, a member only by a TLS certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.errors import PeerError
from semfed_secure.identity.tls import parse_member_uri
from semfed_secure.server.bodies import network_of
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import STATEMENT_LIMITS, parse_contribution, parse_statement

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.types import Scope

    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import FederationId, MemberId

CERTIFICATE_NAMES = "certificate_names"
"""Key of the connection's state: the URIs in the verified client certificate; absent where none was asked for."""


def address(scope: Scope) -> str:
    """The caller's address or network, as `network_of` says; behind a proxy that we trust, what the proxy says."""
    client: Any = scope.get("client")
    return network_of(str(client[0])) if client else ""


def member(scope: Scope, federation: FederationId) -> MemberId | None:
    """The member that the client certificate names, or None where the connection showed none.

    Raises:
        PeerError: ``SF346`` it names no member of ``federation``, or several.
    """
    names: tuple[str, ...] | None = scope.get("state", {}).get(CERTIFICATE_NAMES)
    if names is None:
        return None
    if len(names) == 1 and (named := parse_member_uri(names[0])) is not None and named[0] == federation:
        return named[1]
    raise PeerError("SF346", f"a certificate of one member of {federation} was expected")


def require_member(caller: MemberId, roster: Roster, *, now: datetime) -> None:
    """Hold a certificate to the roster in force, which it may outlive.

    Raises:
        PeerError: ``SF306`` its member is unknown, out of its term, or revoked.
    """
    if any(
        record.member_id == caller and record.valid_at(now) and not roster.revoked(record, at=now)
        for record in roster.records
    ):
        return
    raise PeerError("SF306", f"a certificate of a present member was expected, {caller} is none")


def require_sender(body: bytes, caller: MemberId | None) -> None:
    """Hold a contribution to the certificate of the connection that brought it, where there is one.

    Nothing is proven by it: whose a contribution is, its signatures decide.

    Raises:
        PeerError: ``SF346`` the statement is another member's.
    """
    if caller is None:
        return
    try:
        envelope = parse_signed(
            parse_contribution(body, limits=Limits(max_bytes=len(body))).statement,
            limits=signed_limits(STATEMENT_LIMITS),
        )
        sender = parse_statement(envelope.payload).sender
    except PeerError:
        return  # admission says why
    if sender != caller:
        raise PeerError("SF346", f"a contribution of {caller} was expected on its connection")
