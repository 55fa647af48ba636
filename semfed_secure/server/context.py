"""What every part of a server works with: keys, disk, log, rosters, time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.records import Role
from semfed_secure.server.sharding import Sharding

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Clock, Randomness
    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.ids import FederationId, MemberId
    from semfed_secure.server.config import LimitsSection
    from semfed_secure.server.embedder import Embedder
    from semfed_secure.server.rosters import RosterKeeper
    from semfed_secure.server.round_keys import RoundKeys
    from semfed_secure.storage import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """One server's surroundings.

    Attributes:
        database: Its database.
        audit: Its audit log, in the same database.
        keys: Its own keys.
        round_keys: What bundles are sealed to, one key per round.
        rosters: Who belongs to the federation.
        clock: The time.
        randomness: Where nonces come from.
        limits: What strangers and members may take.
        close_when_complete: Whether a round closes as soon as nobody else is expected.
        min_witnesses: Witnesses that must vouch for the log before a round opens.
        embedder: Loads the embedder; called for ``text`` rounds only.
        sharding: Who does the work of forming a consensus.
    """

    database: Database
    audit: AuditLog
    keys: MemberKeys
    round_keys: RoundKeys
    rosters: RosterKeeper
    clock: Clock
    randomness: Randomness
    limits: LimitsSection
    close_when_complete: bool = True
    min_witnesses: int = 0
    embedder: Callable[[], Embedder] | None = None
    sharding: Sharding = field(default_factory=Sharding)

    def __post_init__(self) -> None:
        """Refuse keys that cannot serve."""
        if Role.SERVER not in self.keys.record.roles:
            raise ConfigurationError("SF101", f"keys of a server were expected, {self.member} is none")
        if self.keys.record.federation != self.rosters.root.federation:
            raise ConfigurationError("SF101", f"keys of a member of {self.rosters.root.federation} were expected")

    @property
    def member(self) -> MemberId:
        """Our own member id, the actor of our audit entries."""
        return self.keys.record.member_id

    @property
    def federation(self) -> FederationId:
        """Our federation."""
        return self.keys.record.federation
