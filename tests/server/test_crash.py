"""Crashes around every commit, in process; `tests/cli/test_server_cli.py` kills a real one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.errors import ConfigurationError, ConsensusError
from semfed_secure.server.round import RoundInput, RoundState
from semfed_secure.storage import Database
from tests.server.world import (
    SITES,
    World,
    post,
)

if TYPE_CHECKING:
    from pathlib import Path

from tests.server.rounds import ROUND, consensus_of, contribute


class Crash(BaseException):
    """The process is gone: nothing catches it."""


def test_a_crash_at_any_write_resumes_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies just before, or just after, its n-th commit, for every n; clients try again; all ends well."""
    ends = []
    for fatal in range(60):
        for after_commit in (False, True):
            world = World(_new(tmp_path, f"{fatal}-{after_commit}"))
            crashes = _run_with_one_crash(world, monkeypatch, fatal, after_commit=after_commit)
            consensus = consensus_of(world)
            assert consensus.admitted_count == 3
            assert [result.label for result in consensus.results[0]][:2] == ["heart", "lung"]
            assert world.events().count("bundle.admitted") == 3
            assert world.events().count("consensus.published") == 1
            world.database.close()
            ends.append(crashes)
        if not ends[-1]:
            break
    assert ends.count(True) > 12
    assert not ends[-1], "the run was not long enough to outlive its last write"


def _new(path: Path, name: str) -> Path:
    directory = path / name
    directory.mkdir()
    return directory


def _run_with_one_crash(world: World, monkeypatch: pytest.MonkeyPatch, fatal: int, *, after_commit: bool) -> bool:
    death = _Death(fatal, after_commit=after_commit)
    with monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", death.transaction)
        manifest = _insist(world, world.open)
        for name in SITES[:3]:
            body = post(name, manifest)
            assert _insist(world, lambda body=body: world.server.receive(ROUND, body)).admitted
        world.clock.advance(600)
        while _insist(world, world.state) != "published":
            _insist(world, world.server.advance)  # the server of the moment: a restart makes a new one
    return death.happened


class _Death:
    """Stands in for `Database.transaction` and dies once, around the n-th commit."""

    def __init__(self, fatal: int, *, after_commit: bool) -> None:
        self._left, self._after_commit, self.happened = fatal, after_commit, False

    @property
    def transaction(self) -> Any:
        """The method to put in place."""
        real = Database.transaction

        @contextmanager
        def dying(database: Database) -> Any:
            dies = self._left == 0 and not self.happened
            self._left -= 1
            self.happened = self.happened or dies
            with real(database) as tx:
                yield tx
                if dies and not self._after_commit:
                    raise Crash
            if dies:
                raise Crash

        return dying


def _insist(world: World, act: Any) -> Any:
    """Do it until it is done, as clients and operators do."""
    while True:
        try:
            return act()
        except Crash:
            world.restart()
        except ConfigurationError as error:  # the round was opened just before the crash
            if "taken" not in error.message:
                raise
            return world.server.store.terms(ROUND).manifest


def test_a_reader_never_sees_a_consensus_before_it_is_published(world: World) -> None:
    """Formed is not published: until its entry is in the log, the answer is *not yet*."""
    world.open()
    contribute(world)
    for happening in (RoundInput.CLOSE, RoundInput.FORM):
        world.server._transitions.take(ROUND, RoundState(world.state()), happening)
        with pytest.raises(ConsensusError, match="SF401"):
            world.server.consensus(ROUND)
    world.server.advance()
    assert world.server.consensus(ROUND)
