"""The SDK: open a site, join a round, train, contribute, wait, learn; every step resumable in another process.

::

    client = Client.open("hospital.toml")
    with client.join("round-7") as r:
        r.train(records)
        receipt = r.contribute()
        r.learn(r.wait_for_consensus(timeout_seconds=600))
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from semfed_secure.client.collecting import join
from semfed_secure.client.config import SiteConfig, load_site_config
from semfed_secure.client.engine import Engine
from semfed_secure.client.progress import FINISHED, list_states, state_of
from semfed_secure.client.site import OnStep, Site, ignore_steps, open_site
from semfed_secure.client.taking_part import Round
from semfed_secure.client.transport import HttpTransport, RoundSummary, Transport
from semfed_secure.client.witness import Vigil
from semfed_secure.clock import Clock, Randomness, SystemClock, SystemRandomness
from semfed_secure.errors import ConfigurationError, ConsensusError
from semfed_secure.identity.tls import member_uri
from semfed_secure.ids import FederationId, MemberId, RoundId, is_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from semfed_secure.identity.member_files import MemberKeys
    from semfed_secure.llm.model import Model

__all__ = ["TAKES_PART", "Client", "Round"]

TAKES_PART = frozenset({"announced", "collecting"})
"""States, as servers list them, in which a round can be joined."""


class Client:
    """One site, ready to take part in rounds.

    Opening validates identity, policy, ledger, audit log and pins once, and connects to nothing. Whatever a step has
    done is in the state directory before it returns, so any step may be taken by another process, again, or after a
    crash: nothing is spent twice, and no round gets two different bundles.
    """

    def __init__(
        self, site: Site, transport: Transport, engine: Engine, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Use `open`."""
        self._site, self._transport, self._engine, self._sleep = site, transport, engine, sleep
        self._vigil = Vigil(site, transport)

    @classmethod
    def open(
        cls,
        config: SiteConfig | Path | str,
        *,
        model: Model | None = None,
        transport: Transport | None = None,
        keys: MemberKeys | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        on_step: OnStep = ignore_steps,
    ) -> Self:
        """Open a site by its site file.

        Args:
            config: The site file, or one that was loaded.
            model: Takes the place of the model that the site file names: any object with ``answer`` and ``score``.
            transport: Takes the place of HTTP.
            keys: Take the place of the key files.
            clock: Takes the place of the machine's clock.
            randomness: Takes the place of the system's generator.
            on_step: Told each numbered step when it is done.

        Raises:
            ConfigurationError: SF1xx.
            PeerError: SF322, the federation root is not the pinned one.
            IntegrityError: SF522, the policy is not the pinned one; SF50x, the log cannot be kept.
        """
        loaded = config if isinstance(config, SiteConfig) else load_site_config(Path(config))
        site = open_site(
            loaded,
            clock=clock if clock is not None else SystemClock(),
            randomness=randomness if randomness is not None else SystemRandomness(),
            keys=keys,
            on_step=on_step,
        )
        try:
            uri = member_uri(FederationId(loaded.site.federation), MemberId(loaded.federation.server_id))
            channel = transport if transport is not None else HttpTransport.to(loaded.server, uri)
        except BaseException:
            site.close()
            raise
        return cls(site, channel, Engine(site, model))

    def __enter__(self) -> Self:
        """Already open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def site(self) -> Site:
        """What was opened: policy, ledger, audit log, database."""
        return self._site

    def rounds(self) -> tuple[RoundSummary, ...]:
        """The rounds that the server says it has; a hint, verified when one is joined."""
        return self._transport.rounds()

    def keep_watch(self) -> None:
        """Vouch for the server's log, if this site has the role of a witness and it is time to; see `Vigil.keep`.

        Raises:
            PeerError: SF322 or SF323, what the server shows does not verify.
        """
        self._vigil.keep()

    def unfinished(self) -> tuple[RoundId, ...]:
        """Rounds that this site joined and neither learned from nor saw aborted, oldest first."""
        with self._site.database.snapshot() as tx:
            return tuple(name for name, state in list_states(tx) if state not in FINISHED)

    def join(self, round_id: str | None = None) -> Round:
        """Verify a round's signed manifest, roster and prompts, and take part; again for one already joined.

        A site with the role of a witness then vouches for the server's log, once in a while.

        Args:
            round_id: Which one; without it the only one that is open, or else the only one left unfinished here.

        Raises:
            ConfigurationError: SF105, this is no name of a round.
            ConsensusError: SF401, no round is open; SF404, several are, or this one is closed.
            PeerError: SF32x, what the server shows does not verify.
            PolicyDenied: SF201.
        """
        name = RoundId(round_id) if round_id is not None else self._open_round()
        if not is_name(name):
            raise ConfigurationError("SF105", "a round is named by 1-63 of a-z 0-9 . _ -")
        joined = join(self._site, self._transport, name)
        self.keep_watch()
        return Round(joined, self._site, self._transport, self._engine, self._sleep)

    def close(self) -> None:
        """Give back the database and the connections."""
        self._site.close()
        if isinstance(self._transport, HttpTransport):
            self._transport.close()

    def _open_round(self) -> RoundId:
        listed = [row.round_id for row in self._transport.rounds() if row.state in TAKES_PART]
        with self._site.database.snapshot() as tx:
            mine = [name for name in listed if state_of(tx, name) not in FINISHED]
        mine = mine or list(self.unfinished())
        if not mine:
            raise ConsensusError("SF401", "no round is open")
        if len(mine) > 1:
            raise ConsensusError("SF404", f"several rounds are open, name one: {', '.join(mine)}")
        return mine[0]
