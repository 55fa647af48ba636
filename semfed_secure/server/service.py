"""From a server file to a running coordinator: keys, database, log, rosters, embedder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.clock import Clock, SystemClock, SystemRandomness
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.federation_files import load_root
from semfed_secure.server.context import ServerContext
from semfed_secure.server.coordinator import Coordinator
from semfed_secure.server.overview import Overview
from semfed_secure.server.rosters import RosterKeeper
from semfed_secure.server.round_keys import ROUND_KEYS, RoundKeys
from semfed_secure.server.sharding import Sharding
from semfed_secure.storage import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.server.config import ServerConfig
    from semfed_secure.server.embedder import Embedder


class Service:
    """A coordinator and its surroundings, with a beginning and an end in the log."""

    def __init__(self, context: ServerContext, *, version: str) -> None:
        """Take up every round where the database of ``context`` says it stands; ``version`` of this software."""
        self.context, self.coordinator, self._version = context, Coordinator(context), version

    def log_started(self) -> None:
        """Write that the server began to serve."""
        details = {"version": self._version, "role": "server", "federation": self.context.federation}
        event = Event(type=EventType.LOG_STARTED, outcome="success", actor=self.context.member, details=details)
        record, key = self.context.keys.record, self.context.keys.signing
        details = {"key_id": key.key_id, "suite": record.suite.value, "purpose": "signing"}
        loaded = Event(
            type=EventType.KEY_LOADED,
            outcome="success",
            actor=self.context.member,
            target=key.key_id,
            details=details,
        )
        self.context.audit.append_all([event, loaded])

    def log_stopped(self) -> None:
        """Write that the server stopped on purpose, and what was counted and not logged yet."""
        self.coordinator.write_refusals()
        details = {"version": self._version, "role": "server"}
        event = Event(type=EventType.LOG_STOPPED, outcome="success", actor=self.context.member, details=details)
        self.context.audit.append(event)


@contextmanager
def open_service(
    config: ServerConfig, *, environ: Mapping[str, str], version: str, clock: Clock | None = None
) -> Iterator[Service]:
    """Open everything that ``config`` names, and close it again.

    Several processes may do so at once: the one that serves, and the operator's commands.

    Raises:
        ConfigurationError: a file is missing or does not fit; the message names it.
        PeerError: ``SF322`` the roster does not verify.
        IntegrityError: the database or the log is damaged.
    """
    time = clock or SystemClock()
    keys = load_server_keys(config, environ)
    with _open_database(config, time) as (database, rosters):
        writer = f"{keys.record.member_id}/server"
        context = ServerContext(
            database=database,
            audit=AuditLog(database, key=keys.log, clock=time, writer=writer),
            keys=keys,
            round_keys=RoundKeys(config.identity.keys / ROUND_KEYS, keys),
            rosters=rosters,
            clock=time,
            randomness=SystemRandomness(),
            limits=config.limits,
            close_when_complete=config.rounds.close_when_complete,
            min_witnesses=config.rounds.min_witnesses,
            embedder=EmbedderLoader(config.embedder.source) if config.embedder else None,
            sharding=Sharding(config.sharding),
        )
        yield Service(context, version=version)


@contextmanager
def open_overview(config: ServerConfig) -> Iterator[Overview]:
    """Open what tells where rounds stand: no private key, so no passphrase either.

    Raises:
        ConfigurationError: a file is missing or does not fit; the message names it.
        PeerError: ``SF322`` the roster does not verify.
    """
    clock = SystemClock()
    with _open_database(config, clock) as (database, rosters):
        yield Overview(database, rosters, clock)


@contextmanager
def _open_database(config: ServerConfig, clock: Clock) -> Iterator[tuple[Database, RosterKeeper]]:
    root = load_root(config.federation.root)
    if root.federation != config.server.federation:
        raise ConfigurationError("SF101", f"the root of {config.server.federation} was expected")
    database = Database.open(config.server.database, kind="server")
    try:
        yield database, RosterKeeper(config.federation.roster, root=root, database=database, clock=clock)
    finally:
        database.close()


def load_server_keys(config: ServerConfig, environ: Mapping[str, str]) -> MemberKeys:
    """The keys that ``config`` names, which must be those of its member.

    Raises:
        ConfigurationError: ``SF101`` they are somebody else's; otherwise as `load_member_keys`.
    """
    keys = config.identity.load(environ)
    if (keys.record.federation, keys.record.member_id) != (config.server.federation, config.server.member):
        expected = f"{config.server.member} of {config.server.federation}"
        raise ConfigurationError("SF101", f"the keys of {expected} were expected in {config.identity.keys}")
    return keys


class EmbedderLoader:
    """Loads the embedder at its first use and keeps it; nothing of the model stack is imported before."""

    def __init__(self, source: str) -> None:
        """Load from ``source``, a directory of pinned weights."""
        self._source = source
        self._embedder: Embedder | None = None

    def __call__(self) -> Embedder:
        """The embedder.

        Raises:
            ConfigurationError: ``SF103`` the extra is not installed; ``SF131`` the weights cannot be loaded.
        """
        if self._embedder is None:
            from semfed_secure.llm.embedding import load_embedder  # noqa: PLC0415 - votes need no model stack

            self._embedder = load_embedder(self._source)
        return self._embedder
