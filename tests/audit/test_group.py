"""Group commit: many threads, few transactions; each thread gets its own number or its own error."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.group import MOST, Group
from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import IntegrityError
from semfed_secure.storage import log_rows
from tests.audit.samples import Site, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WRITERS = 16


def at_once(act: Callable[[int], Any], count: int = WRITERS) -> list[Any]:
    """What each of ``count`` threads answers, or the error that it was given."""

    def told(number: int) -> Any:
        try:
            return act(number)
        except Exception as error:  # noqa: BLE001 - it is the answer
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(told, range(count)))


def held_back(site: Site, act: Callable[[int], Any], count: int = WRITERS) -> list[Any]:
    """The same, while a transaction of somebody else lets all of them wait until they are all there."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with site.database.transaction():
            entered.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(30)
    release = threading.Timer(0.3, leave.set)
    release.start()
    answers = at_once(act, count)
    holder.join()
    release.join()
    return answers


def test_writers_that_wait_together_share_a_transaction(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen threads, each with a number of its own, and one or two checkpoints signed instead of sixteen."""
    signed = []
    sign = site.log._sign
    monkeypatch.setattr(site.log, "_sign", lambda *words, **more: signed.append(1) or sign(*words, **more))
    numbers = held_back(site, lambda number: site.log.append(sample(number)))
    assert sorted(numbers) == list(range(WRITERS))
    assert len(signed) <= 3
    entries = site.log.entries(0, WRITERS)
    assert [entries[number].event for number in numbers] == [sample(number) for number in range(WRITERS)]
    assert verify_log(site.path, key=site.vkey).size == WRITERS


def test_neighbours_of_one_thread_stay_neighbours(site: Site) -> None:
    """What one thread appends together is together, whoever shares the transaction."""
    firsts = held_back(site, lambda number: site.log.append_all([sample(number)] * 3))
    assert sorted(firsts) == list(range(0, 3 * WRITERS, 3))
    entries = site.log.entries(0, 3 * WRITERS)
    for number, first in enumerate(firsts):
        assert [entry.event for entry in entries[first : first + 3]] == [sample(number)] * 3


def test_one_bad_event_fails_none_of_its_neighbours(site: Site) -> None:
    """An event that cannot become an entry is its own thread's trouble."""
    broken = sample(1).model_copy(update={"actor": object()})
    answers = held_back(site, lambda number: site.log.append(broken if number == 5 else sample(number)))
    assert isinstance(answers[5], TypeError)
    assert sorted(answers[:5] + answers[6:]) == list(range(WRITERS - 1))
    assert verify_log(site.path, key=site.vkey).size == WRITERS - 1


def test_a_failed_transaction_is_told_to_every_thread_that_was_in_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets an error of its own with the code, nothing is written, and the next append goes on."""

    def full(*_: object) -> None:
        raise IntegrityError("SF502", "the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(log_rows, "insert_nodes", full)
        answers = held_back(site, lambda number: site.log.append(sample(number)))
    assert [answer.code for answer in answers] == ["SF502"] * WRITERS
    assert len({id(answer) for answer in answers}) == WRITERS
    assert site.log.size() == 0
    assert site.log.append(sample(0)) == 0


def test_a_number_is_told_only_after_the_commit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """When any thread hears its number, another connection can read the entry."""

    def append(number: int) -> bool:
        index = site.log.append(sample(number))
        return site.log.size() > index

    assert held_back(site, append) == [True] * WRITERS


def test_a_thread_that_writes_already_is_told_instead_of_waiting_for_itself(site: Site) -> None:
    """Inside a transaction of its own a thread passes it on."""
    with site.database.transaction(), pytest.raises(RuntimeError, match="pass it on"):
        site.log.append(sample(0))


def test_no_transaction_is_larger_than_its_limit() -> None:
    """A crowd is served in several transactions, in the order in which it came."""
    sizes: list[int] = []
    deadline = time.monotonic() + 60

    def commit(take: Callable[[], Sequence[int]]) -> list[int]:
        while not sizes and len(group._waiting) < MOST + 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        items = list(take())
        sizes.append(len(items))
        return items

    group = Group(commit)
    assert at_once(group.write, MOST + 40) == list(range(MOST + 40))
    assert sizes == [MOST, 40]


def test_an_interrupt_of_the_leader_fails_its_group_and_leaves_the_lead() -> None:
    """Who presses Ctrl-C stops one transaction; nobody waits for ever."""
    interrupts = [KeyboardInterrupt()]

    def commit(take: Callable[[], Sequence[int]]) -> list[int]:
        items = list(take())
        if interrupts:
            raise interrupts.pop()
        return items

    group = Group(commit)
    with pytest.raises(KeyboardInterrupt):
        group.write(1)
    assert group.write(2) == 2


def test_a_forked_child_writes_on_its_own(site: Site) -> None:
    """A child made while a thread leads does not wait for that thread."""
    site.log.append(sample(0))
    site.log._group._lock.acquire()  # as it may be at the moment of a fork
    child = os.fork()
    if child == 0:
        os._exit(0 if site.log.append(sample(1)) == 1 else 1)
    site.log._group._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    assert site.log.append(sample(2)) == 2
