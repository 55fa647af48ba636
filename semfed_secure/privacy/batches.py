"""Poisson batches for DP-SGD, from a cryptographic stream: nobody can predict, replay or seed who is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.privacy.parameters import Number, valid_sample_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PoissonBatches:
    """Batches in which each entity takes part independently, as the accounting of DP-SGD assumes.

    Each of ``count`` entities is in a batch with probability ``sample_rate`` (rounded down by less than 2^-52),
    independently of all others and of all other batches; a batch may be empty, and is then a step of noise only.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: ChaChaStream) -> None:
        """Draw from ``stream``; use `from_system` outside tests."""
        self._stream = stream

    @classmethod
    def from_system(cls) -> PoissonBatches:
        """Batches under a fresh key of the operating system."""
        return cls(ChaChaStream.from_system())

    def draw(self, count: int, sample_rate: Number) -> NDArray[np.intp]:
        """Indices of the entities of one batch, ascending.

        Raises:
            ConfigurationError: SF141 for the rate.
        """
        threshold = int(valid_sample_rate(sample_rate) * 2**53)
        return np.flatnonzero((self._stream.words(count) >> np.uint64(11)) < np.uint64(threshold))
