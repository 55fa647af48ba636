"""The last page of a log is read from its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit import pages
from semfed_secure.audit.pages import last_entries
from semfed_secure.audit.sources import open_source
from semfed_secure.errors import IntegrityError
from semfed_secure.storage import log_rows
from tests.audit.intruder import sql
from tests.audit.samples import SIZE

if TYPE_CHECKING:
    from tests.audit.samples import Site


@pytest.mark.parametrize("limit", [1, 7, SIZE - 1, SIZE, SIZE + 9])
def test_a_page_is_the_end_of_the_whole_list(full: Site, limit: int) -> None:
    """So many entries, in order, the last one last."""
    with open_source(full.path) as source:
        found = last_entries(source, limit, lambda _entry: True)
    assert [entry.seq for entry in found] == list(range(SIZE))[-limit:]


def test_a_page_of_rare_entries_reaches_back_as_far_as_it_must(full: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for lies at the beginning: every step on the way is read, and none twice."""
    monkeypatch.setattr(pages, "MOST", 40)
    seen: list[int] = []
    with open_source(full.path) as source:
        found = last_entries(source, 2, lambda entry: seen.append(entry.seq) or entry.seq < 2)
    assert [entry.seq for entry in found] == [0, 1]
    assert sorted(seen) == list(range(SIZE))


def test_a_page_reads_no_more_entries_than_it_shows(full: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the log is."""
    read: list[int] = []
    real = log_rows.walk_entries
    monkeypatch.setattr(
        log_rows, "walk_entries", lambda tx, start: (read.append(row.position) or row for row in real(tx, start))
    )
    with open_source(full.path) as source:
        last_entries(source, 5, lambda _entry: True)
    assert read == list(range(SIZE - 5, SIZE))


def test_a_page_of_a_log_without_a_readable_checkpoint_is_refused(full: Site) -> None:
    """SF503: where the log ends is what its newest checkpoint says."""
    sql(full, "UPDATE log_head SET checkpoint = 'no note'")
    with open_source(full.path) as source, pytest.raises(IntegrityError, match="SF503"):
        last_entries(source, 5, lambda _entry: True)
