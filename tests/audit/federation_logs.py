"""The logs of a federation that held one round of votes and one of texts, for tests that compare them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.clock import FixedClock
from semfed_secure.errors import SemfedError
from semfed_secure.identity.member_files import load_member_keys
from semfed_secure.storage import Database
from semfed_secure.testing import TableModel
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import OutputKind
from tests.client.world import MEMBERS, NOW, OPEN_PROMPTS, ROUND, TRUTH, UNSAFE, Words, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from semfed_secure.audit.events import Entry, Event
    from semfed_secure.client.transport import Transport

TEXT_ROUND = "round-of-texts"


class Rounds:
    """Three sites around one server, and what goes wrong at which moment."""

    def __init__(self, directory: Path, *, reach: Callable[[str, Transport], Transport] | None = None) -> None:
        self.world = World(directory, embedder=Words())
        self.reach = reach or (lambda _, way: way)

    def run(self, *, texts: bool = True, opened: bool = False) -> None:
        """Hold the rounds."""
        if not opened:
            self.world.open_round()
        for name in MEMBERS:
            with self.client(name) as client, suppress(SemfedError):
                client.join(ROUND).contribute()
        self.world.federation.close_round(ROUND)
        for name in MEMBERS:
            with self.client(name) as client, suppress(SemfedError):
                joined = client.join(ROUND)
                joined.learn(joined.wait_for_consensus())
        if texts:
            self.hold_texts()

    def hold_texts(self) -> None:
        """A round of texts: committed to, opened, agreed."""
        self.world.open_round(TEXT_ROUND, OPEN_PROMPTS, kind=OutputKind.TEXT)
        clients = {name: self.client(name) for name in MEMBERS}
        for client in clients.values():
            client.join(TEXT_ROUND).contribute()
        self.world.federation.close_round(TEXT_ROUND)
        for client in clients.values():
            with suppress(SemfedError):  # it opens what it committed to, and there is no consensus yet
                client.join(TEXT_ROUND).wait_for_consensus()
        self.world.federation.close_round(TEXT_ROUND)
        for client in clients.values():
            client.join(TEXT_ROUND).wait_for_consensus()
            client.close()

    def client(self, name: str) -> Any:
        """A site, behind whatever is between it and the server."""
        way = self.reach(name, self.world.federation.transport())
        return self.world.client(name, mechanism=UNSAFE, model=TableModel(TRUTH), transport=way)

    @property
    def places(self) -> dict[str, Path]:
        """Where each log lies."""
        federation = self.world.federation
        sites = {name: federation.site(name) / "state" for name in MEMBERS}
        return {"server": federation.directory / "server" / "server.db"} | sites

    def rewritten(self, member: str, to: Path, change: Callable[[Entry], Iterable[Event]]) -> Path:
        """The log that this member's own key signs over what ``change`` makes of each entry; times stay as they are."""
        directory = self.world.federation.directory / "server" if member == "server" else self.site(member)
        keys, clock = load_member_keys(directory / "keys", PASSPHRASE), FixedClock(NOW)
        to.mkdir()
        with open_source(self.places[member]) as source, Database.open(to / "log.db", kind="client") as database:
            writer = next(read_entries(source)).writer
            log = AuditLog(database, key=keys.log, clock=clock, writer=writer)
            with database.transaction() as tx:
                for entry in read_entries(source):
                    clock.advance((entry.at - clock.now()).total_seconds())
                    for event in change(entry):
                        log.append(event, tx)
        return to

    def site(self, member: str) -> Path:
        """The directory of a site."""
        return self.world.federation.site(member)

    def copy(self, member: str, to: Path) -> Path:
        """The log of a member as it is now."""
        place = self.places[member]
        file = place / DATABASE_FILE if place.is_dir() else place
        to.mkdir()
        for part in file.parent.glob(f"{file.name}*"):
            shutil.copy(part, to / part.name)
        return to


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    """Two rounds that went as they should."""
    rounds = Rounds(tmp_path_factory.mktemp("held"))
    rounds.run()
    yield rounds
    rounds.world.federation.close()
