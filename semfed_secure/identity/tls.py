"""TLS between members."""

from __future__ import annotations

from semfed_secure.ids import FederationId, MemberId, is_name

SCHEME = "semfed://"


def member_uri(federation: FederationId, member_id: MemberId) -> str:
    """The name of a member in its TLS certificate: ``semfed://FEDERATION/MEMBER``."""
    return f"{SCHEME}{federation}/{member_id}"


def parse_member_uri(uri: str) -> tuple[FederationId, MemberId] | None:
    """Whom a URI names, or None if it is not of the form ``semfed://FEDERATION/MEMBER``."""
    federation, _, member = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not is_name(federation) or not is_name(member):
        return None
    return FederationId(federation), MemberId(member)
