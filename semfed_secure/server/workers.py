"""Processes of this machine as the engine of a round, and what every engine does about lost workers."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from semfed_secure.crypto.key_files import PASSPHRASE_VARIABLE
from semfed_secure.errors import ConsensusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

_Shard = TypeVar("_Shard")
_Result = TypeVar("_Result")

LOSSES = 3
"""How often workers may be lost over one shard; once more is ``SF405``."""


def lost() -> ConsensusError:
    """What is raised when workers are lost again and again."""
    return ConsensusError("SF405", f"a worker was lost {LOSSES + 1} times over the same part of a round")


@contextmanager
def without_passphrase() -> Iterator[None]:
    """Processes that are started within do not inherit what opens the server's keys."""
    kept = os.environ.pop(PASSPHRASE_VARIABLE, None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ[PASSPHRASE_VARIABLE] = kept


class Processes:
    """Works on shards in processes of this machine, which hold none of this one's memory."""

    def __init__(self, workers: int) -> None:
        """Nothing is started before there is work."""
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Nothing to do yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, task: Callable[[_Shard], _Result], shards: Sequence[_Shard]) -> list[_Result]:
        """What ``task`` makes of each shard, in their order.

        Raises:
            ConsensusError: ``SF405`` workers are lost again and again.
        """
        done: dict[int, _Result] = {}
        for _ in range(LOSSES + 1):
            left = [place for place in range(len(shards)) if place not in done]
            try:
                with without_passphrase():
                    if self._pool is None:
                        self._pool = ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))
                    futures = {place: self._pool.submit(task, shards[place]) for place in left}
                for place, future in futures.items():
                    done[place] = future.result()
            except BrokenProcessPool:  # one lost worker takes the others with it
                self._pool = None
                continue
            return [done[place] for place in range(len(shards))]
        raise lost()
