"""A member that only watches: its witness file, and what is opened for it. It has no data, no model, no policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.client.config import MemberConfig
from semfed_secure.client.site import OnStep, ignore_steps, open_member
from semfed_secure.identity.records import Role
from semfed_secure.ids import MemberId
from semfed_secure.settings import load_toml

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.audit.log import AuditLog
    from semfed_secure.clock import Clock
    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.identity.root import FederationRoot
    from semfed_secure.storage import Database


@dataclass(frozen=True, slots=True)
class WitnessOffice:
    """One witness: identity, log, and what it has seen, all open."""

    keys: MemberKeys
    root: FederationRoot
    database: Database
    audit: AuditLog
    clock: Clock
    on_step: OnStep
    member_id: MemberId
    server_id: MemberId

    def close(self) -> None:
        """Give back the database."""
        self.database.close()


def load_witness_config(path: Path) -> MemberConfig:
    """Read and validate a witness file: the sections `site`, `identity`, `federation` and `server` of a site file.

    Raises:
        ConfigurationError: SF102 if the file cannot be read, SF101 if it is not TOML or a field is not valid.
    """
    return load_toml(MemberConfig, path)


def open_witness(
    config: MemberConfig, *, clock: Clock, keys: MemberKeys | None = None, on_step: OnStep = ignore_steps
) -> WitnessOffice:
    """Open a witness's identity, database, audit log and federation root.

    Raises:
        ConfigurationError: SF1xx, what the file names is missing or wrong, or the role ``witness`` is.
        PeerError: SF322 if the federation root is not the pinned one.
        IntegrityError: SF50x if the log cannot be kept.
    """
    opened = open_member(config, role=Role.WITNESS, clock=clock, keys=keys)
    return WitnessOffice(
        keys=opened.keys,
        root=opened.root,
        database=opened.database,
        audit=opened.audit,
        clock=clock,
        on_step=on_step,
        member_id=opened.keys.record.member_id,
        server_id=MemberId(config.federation.server_id),
    )
