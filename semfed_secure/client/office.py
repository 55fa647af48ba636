"""What any member works with that follows a server; a site is one, and a witness without data is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Clock
    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.identity.root import FederationRoot
    from semfed_secure.ids import MemberId
    from semfed_secure.storage import Database


class Office(Protocol):
    """Identity, log, database and clock of a member, and whom it follows."""

    @property
    def keys(self) -> MemberKeys: ...  # noqa: D102
    @property
    def root(self) -> FederationRoot: ...  # noqa: D102
    @property
    def database(self) -> Database: ...  # noqa: D102
    @property
    def audit(self) -> AuditLog: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102
    @property
    def on_step(self) -> Callable[[str], None]: ...  # noqa: D102
    @property
    def member_id(self) -> MemberId: ...  # noqa: D102
    @property
    def server_id(self) -> MemberId: ...  # noqa: D102
