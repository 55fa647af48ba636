"""An opened site: everything that its steps share, validated once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType, reason_of
from semfed_secure.audit.log import AuditLog
from semfed_secure.client.adapters import AdapterStore
from semfed_secure.client.expired import delete_expired
from semfed_secure.client.pins import (
    POLICY,
    ROOT,
    changed,
    expected_digest,
    hold,
    is_new_key,
    require_names,
    require_pinned,
)
from semfed_secure.errors import ConfigurationError, SemfedError
from semfed_secure.identity.federation_files import load_root
from semfed_secure.identity.records import Role
from semfed_secure.ids import Digest, MemberId, hex_digest, parse_digest
from semfed_secure.policy.compose import load_policy
from semfed_secure.privacy.ledger import BudgetLedger
from semfed_secure.storage import Database

if TYPE_CHECKING:
    from pathlib import Path

    from semfed_secure.client.config import MemberConfig, SiteConfig
    from semfed_secure.clock import Clock, Randomness
    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.identity.root import FederationRoot
    from semfed_secure.policy.effective import EffectivePolicy
    from semfed_secure.storage import Transaction

DATABASE_FILE = "site.db"
ADAPTERS, PROMPTS, CONSENSUS, LABELS, SCORES = "adapters", "prompts", "consensus", "labels", "scores"
"""Directories below the state directory."""

OnStep = Callable[[str], None]
"""Called when a numbered step is done, with its name: ``release 5``. For display; what it raises stops the act."""


@dataclass(frozen=True, slots=True)
class Site:
    """One institution's side: identity, policy, ledger, audit log, adapters, all open.

    Only `open_site` makes one, so whoever holds a `Site` holds keys that belong to the site's own record, a policy
    and a federation root that are the pinned ones, and a log that can be written.
    """

    config: SiteConfig
    keys: MemberKeys
    root: FederationRoot
    policy: EffectivePolicy
    database: Database
    audit: AuditLog
    ledger: BudgetLedger
    adapters: AdapterStore
    clock: Clock
    randomness: Randomness
    on_step: OnStep

    @property
    def member_id(self) -> MemberId:
        """Who this site is."""
        return self.keys.record.member_id

    @property
    def server_id(self) -> MemberId:
        """Whom this site asks."""
        return MemberId(self.config.federation.server_id)

    def directory(self, name: str) -> Path:
        """A directory below the state directory, made if it is missing."""
        path = self.config.site.state / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Give back the database."""
        self.database.close()


def ignore_steps(step: str) -> None:
    """Show nothing."""


def open_site(
    config: SiteConfig,
    *,
    clock: Clock,
    randomness: Randomness,
    keys: MemberKeys | None = None,
    on_step: OnStep = ignore_steps,
) -> Site:
    """Open a site's identity, database, audit log, federation root, policy and ledger, in this order.

    Root and policy are the pinned ones, or the first, or named on purpose by digest in the site file; a policy that
    does not load is an audit entry before it is an error. Released bundles that the policy does not allow to be kept
    any longer are deleted.

    Raises:
        ConfigurationError: SF1xx, what the site file names is missing or wrong.
        PeerError: SF322 if the federation root is not the pinned one, SF331 if the own record does not verify.
        IntegrityError: SF522 if the policy is not the pinned one, SF50x if the log cannot be kept.
    """
    opened = open_member(config, role=Role.CLIENT, clock=clock, keys=keys)
    actor = opened.keys.record.member_id
    try:
        policy = _load_policy(config, opened.database, opened.audit, actor)
        site = Site(
            config=config,
            keys=opened.keys,
            root=opened.root,
            policy=policy,
            database=opened.database,
            audit=opened.audit,
            ledger=BudgetLedger(opened.database, opened.audit, clock, actor=actor),
            adapters=AdapterStore(config.site.state / ADAPTERS),
            clock=clock,
            randomness=randomness,
            on_step=on_step,
        )
        delete_expired(opened.database, opened.audit, policy, clock=clock, actor=actor)
    except BaseException:
        opened.database.close()
        raise
    return site


@dataclass(frozen=True, slots=True)
class OpenedMember:
    """A member's identity, its database and its log."""

    keys: MemberKeys
    root: FederationRoot
    database: Database
    audit: AuditLog


def open_member(config: MemberConfig, *, role: Role, clock: Clock, keys: MemberKeys | None) -> OpenedMember:
    """Open what every member has that acts as ``role``; the root is the pinned one, or the first, or named on purpose.

    Raises:
        ConfigurationError, PeerError, IntegrityError: as `open_site`, but for the policy.
    """
    own = keys if keys is not None else config.identity.load(os.environ)
    _require_own(config, own, role)
    root = load_root(config.federation.root)
    config.site.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database.open(config.site.state / DATABASE_FILE, kind="client")
    try:
        audit = AuditLog(database, key=own.log, clock=clock, writer=f"{own.record.member_id}/client")
        with database.transaction() as tx:
            require_names(tx)
            hold(tx, ROOT, root.digest, named=_digest(config.federation.root_digest))
            if is_new_key(tx, own.signing.key_id):
                audit.append(_key_loaded(own), tx)
        return OpenedMember(own, root, database, audit)
    except BaseException:
        database.close()
        raise


def read_policy(config: SiteConfig, tx: Transaction) -> EffectivePolicy:
    """The site's policy: the one that its file names on purpose, else the pinned one, or the first.

    A file that does not load any more is another policy than the pinned one, like one that loads and says otherwise.

    Raises:
        ConfigurationError: SF102, a file cannot be read; SF111 or SF112, the first one is not valid.
        IntegrityError: SF522.
    """
    named = _digest(config.policy.digest)
    try:
        policy = load_policy(config.policy.file)
    except ConfigurationError as error:
        expected = expected_digest(tx, POLICY, named=named)
        if expected is None or error.code == "SF102":
            raise
        raise changed(POLICY, expected, f"the file does not load: {error.message}", cause=error.code) from error
    require_pinned(tx, POLICY, policy.digest, named=named)
    return policy


def _key_loaded(keys: MemberKeys) -> Event:
    details = {"key_id": keys.signing.key_id, "suite": keys.record.suite.value, "purpose": "signing"}
    return Event(
        type=EventType.KEY_LOADED,
        outcome="success",
        actor=keys.record.member_id,
        target=keys.signing.key_id,
        details=details,
    )


def _require_own(config: MemberConfig, keys: MemberKeys, role: Role) -> None:
    record = keys.record
    named = (config.site.federation, config.site.member)
    if (record.federation, record.member_id) != named:
        found = f"{record.federation}/{record.member_id}"
        raise ConfigurationError("SF101", f"the keys of {'/'.join(named)} were expected, found those of {found}")
    if role not in record.roles:
        raise ConfigurationError("SF101", f"the role {role} was expected of {record.member_id}")


def _load_policy(config: SiteConfig, database: Database, audit: AuditLog, actor: str) -> EffectivePolicy:
    """Load and pin the policy; a new one, and one that is refused, is logged."""
    file = str(config.policy.file.name)
    try:
        with database.transaction() as tx:
            policy = read_policy(config, tx)
            if hold(tx, POLICY, policy.digest, named=_digest(config.policy.digest)):
                event = Event(
                    type=EventType.POLICY_LOADED,
                    outcome="success",
                    actor=actor,
                    policy_id=policy.id,
                    policy_digest=hex_digest(policy.digest),
                    details={
                        "version": policy.version,
                        "file": file,
                        "extends": [f"{source.id} {source.version}" for source in policy.sources[:-1]],
                    },
                )
                audit.append(event, tx)
    except SemfedError as error:
        audit.append(
            Event(
                type=EventType.POLICY_REJECTED,
                outcome="failed",
                actor=actor,
                codes=(error.code,),
                reason=reason_of(error),
                details={"file": file},
            )
        )
        raise
    return policy


def _digest(printed: str | None) -> Digest | None:
    return None if printed is None else parse_digest(printed)
