"""Pruning while the log, or the clock, moves under it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit import retention
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import IntegrityError, RefusedError
from tests.audit.aged import DAY, age, month, pruned
from tests.audit.intruder import bodies_of

if TYPE_CHECKING:
    from tests.audit.samples import Site


def empty(site: Site) -> list[int]:
    """The entries without content."""
    return [index for index, body in enumerate(bodies_of(site)) if not body]


def test_another_removal_while_a_log_is_read_for_pruning_is_told(site: Site, monkeypatch) -> None:
    """Also if it took what was written since; whoever asks again goes on behind it."""
    age(site, 3)
    real = retention.verify_source

    def slow(*args: object, **kwargs: object) -> object:
        found = real(*args, **kwargs)
        monkeypatch.undo()
        site.log.append_all(month(3))
        site.clock.advance(90 * DAY)
        assert pruned(site, "2026-12-31").count == 8
        return found

    monkeypatch.setattr(retention, "verify_source", slow)
    with pytest.raises(IntegrityError, match="entered meanwhile"):
        pruned(site)
    assert verify_log(site.path, key=site.vkey).pruned == 8


def test_a_clock_that_steps_back_while_a_log_is_read_for_pruning_removes_nothing(site: Site, monkeypatch) -> None:
    """The entry would say that it was too early, and verification would hold that against the log for ever."""
    age(site, 2)
    real = retention.verify_source

    def slow(*args: object, **kwargs: object) -> object:
        found = real(*args, **kwargs)
        site.clock.advance(-200 * DAY)
        return found

    monkeypatch.setattr(retention, "verify_source", slow)
    with pytest.raises(RefusedError, match="are kept for 30 days"):
        pruned(site)
    assert (empty(site), verify_log(site.path, key=site.vkey).pruned) == ([], 0)


def test_all_of_a_log_can_be_pruned_by_who_has_just_opened_it(site: Site) -> None:
    """The newest entry too, whose time the next one is held against."""
    site.log.append_all([month(0)[1], month(0)[3]])
    site.clock.advance(90 * DAY)
    reopened = AuditLog(site.database, key=site.key, clock=site.clock, writer="w")
    assert pruned(replace(site, log=reopened), "2026-04-01").count == 2
    assert (empty(site), verify_log(site.path, key=site.vkey).pruned) == ([0, 1], 2)
