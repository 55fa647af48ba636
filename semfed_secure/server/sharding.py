"""Where a round's work is done: in this process, in others of this machine, or in Ray's.

Workers live as long as one consensus is formed; what they were given ends with them. Results do not depend on where
they were made (`semfed_secure.consensus.sharding`), nor on workers that were lost meanwhile.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.sharding import Engine, InTurn, ShardRunner
from semfed_secure.server.config import ShardingSection
from semfed_secure.server.workers import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from semfed_secure.server.embedder import Embedder

BATCH = 64
"""Texts that are embedded together."""


@dataclass(frozen=True, slots=True)
class RoundRunner(ShardRunner):
    """Works on the shards of one round, and embeds its texts.

    Attributes:
        vectors: What was embedded for this round already, by batch.
    """

    vectors: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)

    def embed(self, model: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vector of each text.

        An encoder's last bits depend on what it is given together, so texts always form the same batches: in order of
        length, then of the alphabet. A batch is embedded once a round, whoever else tries to form it.
        """
        ordered = sorted(set(texts), key=lambda text: (len(text), text))
        batches = [tuple(ordered[start : start + BATCH]) for start in range(0, len(ordered), BATCH)]
        names = [_name(model, batch) for batch in batches]
        new = [(name, batch) for name, batch in zip(names, batches, strict=True) if name not in self.vectors]
        found = self.engine.map(_Embed(model), [batch for _, batch in new])
        self.vectors.update(zip((name for name, _ in new), found, strict=True))
        rows = [self.vectors[name] for name in names]
        place = {text: row for row, text in enumerate(ordered)}
        whole = np.concatenate(rows) if rows else np.zeros((0, model.dimension), np.float32)
        return whole[[place[text] for text in texts]]


@dataclass(frozen=True, slots=True)
class _Embed:
    """Embeds one batch; in another process with a model of that process's own."""

    model: Embedder

    def __call__(self, batch: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self.model.embed(batch), np.float32)


def _name(model: Embedder, batch: Sequence[str]) -> bytes:
    texts = b"".join(hashlib.sha256(text.encode()).digest() for text in batch)
    return hashlib.sha256(model.weights_digest + texts).digest()


def here() -> RoundRunner:
    """Works on one round in this process."""
    return RoundRunner(InTurn(), ShardingSection().prompts_per_shard)


class Sharding:
    """How one server divides its rounds; vectors are kept from one attempt at a consensus to the next."""

    def __init__(self, section: ShardingSection | None = None) -> None:
        """Start nothing."""
        self._section = section or ShardingSection()
        self._vectors: dict[bytes, NDArray[np.float32]] = {}

    @contextmanager
    def runner(self) -> Iterator[RoundRunner]:
        """What forms one consensus; its workers end with it.

        Raises:
            ConfigurationError: ``SF103`` the extra ``[ray]`` is not installed; ``SF108`` Ray does not start.
        """
        with _engine(self._section) as engine:
            yield RoundRunner(engine, self._section.prompts_per_shard, self._vectors)

    def forget(self) -> None:
        """Let go of every vector: they tell what was said."""
        self._vectors.clear()


@contextmanager
def _engine(section: ShardingSection) -> Iterator[Engine]:
    if section.engine == "ray":
        from semfed_secure.server.ray_engine import RayActors  # noqa: PLC0415 - the other engine needs no Ray

        with RayActors(section.workers) as actors:
            yield actors
    elif section.workers > 1:
        with Processes(section.workers) as processes:
            yield processes
    else:
        yield InTurn()
