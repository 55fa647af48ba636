"""Ray as the engine of a round: actors on this machine, reached over loopback only, with a token.

This Ray is started for one consensus and ended after it: no dashboard, no usage report, no cluster that it joins or
that others join, no object on a disk. Whoever can connect to a Ray runs code in it, so every connection needs a token
that only this process and its children know.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from semfed_secure.errors import ConfigurationError
from semfed_secure.server.workers import LOSSES, lost, without_passphrase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

_Shard = TypeVar("_Shard")
_Result = TypeVar("_Result")

_LOOPBACK = "127.0.0.1"
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - private directories below it only
_STORE_BYTES = 1 << 30


class _Actor:
    """Works on one shard after another; what a task loads once, such as a model, it keeps."""

    def run(self, task: Callable[[_Shard], _Result], shard: _Shard) -> _Result:
        return task(shard)


class RayActors:
    """Works on shards in actors of a Ray of this machine; one at a time in a process."""

    def __init__(self, workers: int) -> None:
        """Nothing is started before there is work."""
        self._workers = workers
        self._directory: str | None = None
        self._actors: list[Any] = []

    def __enter__(self) -> Self:
        """Nothing to do yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End this Ray, and leave nothing of it behind."""
        if self._directory is not None:
            _ray().shutdown()
            shutil.rmtree(self._directory, ignore_errors=True)

    def map(self, task: Callable[[_Shard], _Result], shards: Sequence[_Shard]) -> list[_Result]:
        """What ``task`` makes of each shard, in their order.

        Raises:
            ConfigurationError: ``SF103`` the extra is not installed; ``SF108`` Ray does not start.
            ConsensusError: ``SF405`` workers are lost again and again.
        """
        ray = _ray()
        if self._directory is None:
            self._start(ray)
        given, free = ray.put(task), [*self._actors]
        running: dict[Any, tuple[int, Any]] = {}
        done: dict[int, _Result] = {}
        for place, shard in enumerate(shards):
            if not free:
                free += self._finish(ray, running, done, 1)
            actor = free.pop()
            running[actor.run.remote(given, shard)] = place, actor
        self._finish(ray, running, done, len(running))
        return [done[place] for place in range(len(shards))]

    def _finish(self, ray: Any, running: dict[Any, tuple[int, Any]], done: dict[int, Any], count: int) -> list[Any]:
        """Wait for ``count`` shards, and return the actors that have worked on them."""
        ready = ray.wait([*running], num_returns=count)[0] if running else []
        free = []
        for reference in ready:
            place, actor = running.pop(reference)
            try:
                done[place] = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayActorError as error:
                raise lost() from error
            free.append(actor)
        return free

    def _start(self, ray: Any) -> None:
        # Texts and vectors lie on no disk; of mode 0700, for Ray's own directories below it are open to all.
        self._directory = tempfile.mkdtemp(prefix="semfed-", dir=_MEMORY)
        try:
            with without_passphrase():
                ray.init(
                    address="local",
                    num_cpus=self._workers,
                    num_gpus=0,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    object_store_memory=_STORE_BYTES,
                    _plasma_directory=_MEMORY,
                    _temp_dir=self._directory,
                    _system_config={"automatic_object_spilling_enabled": False},
                )
        except Exception as error:
            raise ConfigurationError("SF108", f"Ray does not start: {type(error).__name__}") from error
        if ray.util.get_node_ip_address() != _LOOPBACK:
            raise ConfigurationError("SF108", f"Ray was expected on {_LOOPBACK} alone")
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=LOSSES)(_Actor)
        self._actors = [actor.remote() for _ in range(self._workers)]


@cache
def _ray() -> Any:
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: loopback, and no cluster
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    try:
        import ray  # noqa: PLC0415 - it reads its settings when it is imported
    except ImportError:
        raise ConfigurationError("SF103", "install `semfed-secure[ray]` for the engine ray") from None
    return ray
