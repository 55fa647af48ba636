"""The server is held to its log: what a client saw once must be the beginning of all it is shown later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.client.pins import server_checkpoint
from semfed_secure.client.server_log import follow
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import PeerError
from semfed_secure.storage import Database
from tests.client.world import NOW

if TYPE_CHECKING:
    from pathlib import Path

KEY = LogSigningKey.generate("server.example/log")


class Log:
    """A server's log, and a transport that proves its growth."""

    def __init__(self, path: Path, entries: int, *, note: str = "") -> None:
        """A log of some entries; ``note`` makes another history."""
        self.database = Database.open(path, kind="server")
        self.audit = AuditLog(self.database, key=KEY, clock=FixedClock(NOW), writer="server")
        self.grow(entries, note=note)

    def grow(self, entries: int, *, note: str = "") -> str:
        """Append entries; the new checkpoint."""
        for _ in range(entries):
            self.audit.append(Event(type=EventType.LOG_STARTED, outcome="success", actor="server", reason=note))
        return self.audit.checkpoint()

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof, or the refusal of a server that has no such sizes."""
        try:
            return self.audit.consistency_proof(old, new)
        except ValueError as error:
            raise PeerError("SF342", "status 404") from error


class Member:
    """All that is asked of a member record here."""

    log_key = KEY.public.encode()


@pytest.fixture
def site(tmp_path: Path) -> Database:
    """The client's database."""
    return Database.open(tmp_path / "site.db", kind="client")


def see(site: Database, log: Any, note: str) -> int:
    """Show the client a checkpoint; its size."""
    return follow(site, log, Member(), note).size  # type: ignore[arg-type]


def pinned(site: Database) -> str | None:
    """The checkpoint that the client keeps."""
    with site.snapshot() as tx:
        return server_checkpoint(tx)


def test_a_growing_log_is_followed(site: Database, tmp_path: Path) -> None:
    """Each newer checkpoint replaces the last one; an older one of the same log is fine and replaces nothing."""
    log = Log(tmp_path / "a.db", 3)
    first = log.audit.checkpoint()
    assert see(site, log, first) == 3
    newer = log.grow(300)
    assert see(site, log, newer) == 303
    assert see(site, log, first) == 3
    assert see(site, log, newer) == 303
    assert pinned(site) == newer


def test_a_forked_log_is_refused(site: Database, tmp_path: Path) -> None:
    """Same size, longer or shorter: another history is SF323, and the pin stays."""
    log = Log(tmp_path / "a.db", 5)
    seen = log.audit.checkpoint()
    see(site, log, seen)
    for entries in (3, 5, 9):
        fork = Log(tmp_path / f"fork-{entries}.db", entries, note="another history")
        with pytest.raises(PeerError) as caught:
            see(site, fork, fork.audit.checkpoint())
        assert (caught.value.code, caught.value.exit_code) == ("SF323", 13)
    assert pinned(site) == seen


def test_a_log_restored_from_a_backup_is_refused(site: Database, tmp_path: Path) -> None:
    """It cannot prove what it showed before, as it is and after it grew again."""
    log, backup = Log(tmp_path / "a.db", 4), Log(tmp_path / "b.db", 4)
    see(site, log, log.grow(6))
    for note in (backup.audit.checkpoint(), backup.grow(1, note="written after the restore"), backup.grow(9)):
        with pytest.raises(PeerError) as caught:
            see(site, backup, note)
        assert caught.value.code == "SF323"


def test_an_unreachable_server_is_no_fork(site: Database, tmp_path: Path) -> None:
    """SF341 stays what it is: try again."""
    log = Log(tmp_path / "a.db", 3)
    see(site, log, log.audit.checkpoint())

    class Away:
        def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
            raise PeerError("SF341", f"{old} {new}")

    with pytest.raises(PeerError) as caught:
        see(site, Away(), log.grow(4))
    assert caught.value.retryable


def test_another_logs_checkpoint_is_refused(site: Database, tmp_path: Path) -> None:
    """SF323: signed by nobody we know, or not signed at all."""
    database = Database.open(tmp_path / "x.db", kind="server")
    other = AuditLog(database, key=LogSigningKey.generate("server.example/log"), clock=FixedClock(NOW), writer="s")
    for note in (other.checkpoint(), "", "no note"):
        with pytest.raises(PeerError) as caught:
            see(site, None, note)
        assert caught.value.code == "SF323"
    assert pinned(site) is None


def test_a_false_proof_is_refused(site: Database, tmp_path: Path) -> None:
    """The logs are one, the proof is not: SF323."""
    log = Log(tmp_path / "a.db", 3)
    see(site, log, log.audit.checkpoint())

    class Lying:
        def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
            return tuple(bytes(32) for _ in log.consistency(old, new))

    with pytest.raises(PeerError) as caught:
        see(site, Lying(), log.grow(4))
    assert caught.value.code == "SF323"
