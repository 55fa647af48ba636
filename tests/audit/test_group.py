"""Group commit: many threads, few transactions; each thread gets its own number or its own error."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit import group as group_module
from semfed_secure.audit.group import MOST, Group
from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import IntegrityError
from semfed_secure.storage import log_rows
from tests.audit.samples import Site, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WRITERS = 16


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it, at most half a minute."""
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)


class Interrupted:
    """What a thread waits at that is interrupted there."""

    def __init__(self, wait: Callable[[], None]) -> None:
        self._wait = wait

    def acquire(self) -> None:
        """Wait, and be interrupted."""
        self._wait()
        raise KeyboardInterrupt

    def release(self) -> None:
        """Nobody is there."""


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
    """The same, while a transaction of somebody else lets them wait until all of them, or all but one, are there."""
    entered = threading.Event()

    def hold() -> None:
        with site.database.transaction():
            entered.set()
            until(lambda: len(site.log._group._waiting) >= count - 1)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(30)
    answers = at_once(act, count)
    holder.join()
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

    def commit(take: Callable[[], Sequence[int]]) -> list[int]:
        until(lambda: bool(sizes) or len(group._waiting) == MOST + 40)
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


@pytest.mark.parametrize("early", [True, False], ids=["before the commit", "after the commit"])
def test_an_interrupt_of_a_thread_that_waits_leaves_the_others_woken(
    monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    """Those behind it hear their numbers, and the next transaction has somebody who leads it."""
    taken, interrupted = threading.Event(), threading.Event()

    def wait() -> None:
        taken.wait(30)
        if not early:
            time.sleep(0.05)
        interrupted.set()

    class Ticket(group_module._Ticket[int]):
        def __init__(self, item: int) -> None:
            super().__init__(item)
            if item == 3:
                self.woken = Interrupted(wait)  # type: ignore[assignment] # all that is used of a lock

    def commit(take: Callable[[], Sequence[int]]) -> list[int]:
        until(lambda: taken.is_set() or len(group._waiting) == WRITERS)
        items = list(take())
        taken.set()
        if early:
            interrupted.wait(30)
        return items

    def write(number: int) -> Any:
        if number == 3:
            time.sleep(0.05)  # so that another one leads
            with pytest.raises(KeyboardInterrupt):
                group.write(number)
            return number
        return group.write(number)

    monkeypatch.setattr(group_module, "_Ticket", Ticket)
    group = Group(commit)
    assert at_once(write) == list(range(WRITERS))
    assert at_once(lambda number: group.write(number + WRITERS)) == list(range(WRITERS, 2 * WRITERS))


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
