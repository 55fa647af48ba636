"""Group commit: threads that write at the same moment share one transaction."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar

from semfed_secure.errors import IntegrityError, SemfedError

T = TypeVar("T")
Take: TypeAlias = Callable[[], Sequence[T]]
"""Hands over everything that waits to be written by now."""

MOST = 256
"""How many threads share a transaction at most, so that none of them waits for a crowd."""


class _Ticket(Generic[T]):
    """What one thread wants to be written, and what it is told."""

    # `others` were in the same transaction and are not woken yet; `gone` was interrupted and wakes nobody any more.
    __slots__ = ("answer", "error", "gone", "item", "others", "woken")

    def __init__(self, item: T) -> None:
        self.item = item
        self.answer: int | None = None
        self.error: BaseException | None = None
        self.others: deque[_Ticket[T] | None] | None = None
        self.gone = False
        self.woken = threading.Lock()
        self.woken.acquire()


class Group(Generic[T]):
    """Writes items of many threads, as many as wait together, in one transaction after the other.

    Guarantee: `write` returns once the transaction that holds its item was committed, and not before. If that fails,
    every thread whose item was in it is told so by an error of its own, and no other thread is.
    """

    def __init__(self, commit: Callable[[Take[T]], Sequence[int]]) -> None:
        """Write by ``commit``, which opens a transaction, takes what waits, and answers one number for each item."""
        self._commit = commit
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[T]] = []
        self._leader: _Ticket[T] | None = None
        self._pid = os.getpid()

    def write(self, item: T) -> int:
        """Have ``item`` written, alone or with others; the number that ``commit`` gave it.

        Raises:
            IntegrityError: what ``commit`` raised; nothing of the transaction was written.
        """
        if self._pid != os.getpid():  # a forked child has none of the threads that wait here
            self._lock, self._waiting, self._leader, self._pid = threading.Lock(), [], None, os.getpid()
        ticket = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            self._leader = self._leader or ticket
        if self._leader is not ticket:
            self._await(ticket)
        if ticket.others is None:  # nobody took it along
            self._lead(ticket)
        return _outcome(ticket)

    def _await(self, ticket: _Ticket[T]) -> None:
        try:
            ticket.woken.acquire()
        except BaseException:  # an interrupt: others must not wait for a thread that is gone
            ticket.gone = True
            with self._lock:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                if self._leader is ticket:
                    self._appoint()
            raise
        finally:
            if ticket.others is not None:
                self._wake_next(ticket.others)

    def _lead(self, leader: _Ticket[T]) -> None:
        """Write what waits and have the others told."""
        taken: list[_Ticket[T]] = []

        def take() -> list[T]:
            with self._lock:
                taken.extend(self._waiting[:MOST])
                del self._waiting[:MOST]
            return [ticket.item for ticket in taken]

        try:
            for ticket, answer in zip(taken, self._commit(take), strict=False):
                ticket.answer = answer
        except BaseException as error:
            if not taken:  # the database did not even begin: that is the answer to everybody who asked so far
                take()
            for ticket in taken:
                ticket.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            others: deque[_Ticket[T] | None] = deque([*(ticket for ticket in taken if ticket is not leader), None])
            for ticket in taken:
                ticket.others = others
            self._wake_next(others)

    def _wake_next(self, others: deque[_Ticket[T] | None]) -> None:
        """Wake one of the others, who wakes the next; the last of them appoints who leads the next transaction.

        Threads that all wake at once fight for the interpreter, which takes longer than what they do with it. And so
        all of them can come back before the next transaction begins.
        """
        with suppress(IndexError):  # who was interrupted wakes the next as well, so it may be done already
            while (ticket := others.popleft()) is not None:
                ticket.woken.release()
                if not ticket.gone:
                    return
            with self._lock:
                self._appoint()

    def _appoint(self) -> None:
        self._leader = self._waiting[0] if self._waiting else None
        if self._leader is not None:
            self._leader.woken.release()


def _outcome(ticket: _Ticket[T]) -> int:
    if ticket.answer is not None:
        return ticket.answer
    error = ticket.error
    if isinstance(error, SemfedError):  # each thread raises its own: an error carries the trace of who raised it
        raise type(error)(error.code, error.message, **error.fields) from error
    if isinstance(error, Exception):
        raise error
    raise IntegrityError("SF502", "the transaction of the audit log was interrupted; nothing was written") from error
