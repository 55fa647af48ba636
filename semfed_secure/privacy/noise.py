"""Gaussian noise and Poisson batches for DP-SGD, from a cryptographic stream.

Noise cannot be predicted, replayed or seeded, and a forked child draws other noise than its parent. Honest caveat: this
noise is floating point. Privacy accounting assumes real numbers; floats have gaps, and which floats a naive sampler
can return may tell what was under the noise (Mironov 2012). The sum of four independent draws hides that pattern
against the known attacks (Holohan and Braghin 2021, the rule of Opacus' secure mode): a mitigation, not a proof.
Where released numbers are integers (`histogram`) the noise is exact instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.privacy.parameters import Number, valid_sample_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUMMANDS = 4
_BLOCK = 1 << 18
"""Values per block: the working arrays stay inside a CPU cache."""


class GaussianNoise:
    """Standard normal values that nobody can predict; one instance per thread.

    Values are independent, of mean zero and variance one, and never given twice, also across a fork. The largest
    magnitude is 17 (four draws of at most 8.6, halved); a true normal exceeds 8.6 once in 10^17 draws.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: ChaChaStream) -> None:
        """Draw from ``stream``; use `from_system` outside tests."""
        self._stream = stream

    @classmethod
    def from_system(cls) -> GaussianNoise:
        """Noise under a fresh key of the operating system."""
        return cls(ChaChaStream.from_system())

    def standard_normal(self, count: int) -> NDArray[np.float64]:
        """``count`` values, shape ``(count,)``; scale them by the noise multiplier times the clipping norm."""
        out = np.empty(count)
        for start in range(0, count, _BLOCK):
            block = out[start : start + _BLOCK]
            pairs = -(-len(block) // 2)
            block[:] = sum(self._box_muller(pairs)[: len(block)] for _ in range(_SUMMANDS)) / np.sqrt(_SUMMANDS)
        return out

    def _box_muller(self, pairs: int) -> NDArray[np.float64]:
        words = self._stream.words(2 * pairs)
        # 53 random bits each, in (0, 1] so that the logarithm is finite.
        uniform = ((words >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53
        radius, angle = np.sqrt(-2 * np.log(uniform[:pairs])), 2 * np.pi * uniform[pairs:]
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))


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
