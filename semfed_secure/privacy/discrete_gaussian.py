"""The discrete Gaussian on the integers, drawn exactly, tens of millions of values a second.

A value x has probability proportional to exp(-x^2 / (2 sigma^2)), with no error at all: nothing is to be added to any
delta. Where a draw cannot be decided by the bits and the bounds at hand, more bits are drawn and tighter bounds are
computed, in integers (`intervals`), until it is. The only assumption is that the words of the ChaCha20 stream are
uniform and independent.

**How.** Below sigma = 256, by inversion: the values, ordered 0, -1, 1, -2, 2, ..., share out the unit interval by their
probabilities, and a uniform number of as many bits as it takes chooses one. 16 bits choose by one look-up for
most draws; 64 bits choose by bisection among the others; one draw in 2^50 takes longer. Above, a value is
bin * width + rest, for a power of two as ``width``. The bin is drawn by inversion, with the weight of the point of it
that is nearest to zero, border included; ``rest`` uniformly; and the value is kept with probability its own weight over
that weight, so what is kept has its own weight as probability, up to one factor for all. Canonne, Kamath and Steinke
(2020, algorithm 3) reject so too, under another envelope.

**Not constant in time**: how long a draw takes depends on its values. Whoever can time single draws on the machine
that draws them may learn something of the noise; draw in large blocks, and let nobody else on that machine.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.privacy.intervals import exp_bounds, gaussian_weights
from semfed_secure.privacy.parameters import Number, valid_grid_sigma

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1 << 15
"""Values per block: the working arrays stay inside a CPU cache."""
_WORD = 64
_INDEX_BITS, _UNDECIDED = 16, np.int16(np.iinfo(np.int16).min)
_LARGEST_TABLE = 256
_COIN_BITS = 24
"""Of a word; the other 40 are more than any ``rest`` needs."""
_SLACK = 2.0**-40
"""Far above the error of the few IEEE operations that decide whether to keep a value, which is below 2^-45."""


class DiscreteGaussian:
    """Integers whose probability is proportional to exp(-x^2 / (2 sigma^2)); one instance per thread.

    Values are independent, exactly so distributed, without bound, never given twice, also across a fork, and cannot
    be seeded outside of tests: they are as unpredictable as the stream's words.
    """

    __slots__ = ("_bins", "_coarse", "_steepest", "_stream", "_width_bits", "sigma")

    def __init__(self, sigma: Number, stream: ChaChaStream) -> None:
        """Draw from ``stream``; use `from_system` outside tests.

        Raises:
            ConfigurationError: SF141 for ``sigma``.
        """
        self.sigma = valid_grid_sigma(sigma)
        self._stream = stream
        scale = Fraction(self.sigma)
        self._width_bits = max(0, int(scale / _LARGEST_TABLE).bit_length())
        self._coarse = scale / (1 << self._width_bits)
        self._steepest = math.ceil((1 << _COIN_BITS) / (2 * self._coarse**2))
        self._bins = _inversion(self._coarse, mirrored=self._width_bits > 0)

    @classmethod
    def from_system(cls, sigma: Number) -> DiscreteGaussian:
        """Values under a fresh key of the operating system.

        Raises:
            ConfigurationError: SF141 for ``sigma``.
        """
        return cls(sigma, ChaChaStream.from_system())

    def draw(self, count: int) -> NDArray[np.int64]:
        """The next ``count`` values, shape ``(count,)``."""
        out = np.empty(count, dtype=np.int64)
        done = 0
        while done < count:
            # Of a block that is too long its first values are taken: they are as random as all.
            block = self._block(min(_BLOCK, (count - done) + (count - done) // 32 + 8))[: count - done]
            out[done : done + len(block)] = block
            done += len(block)
        return out

    def _block(self, count: int) -> NDArray[np.int64]:
        bins = self._bins.draw(count, self._stream)
        if not self._width_bits:
            return bins
        words = self._stream.words(count)
        rest = (words & np.uint64((1 << self._width_bits) - 1)).view(np.int64)
        coins = (words >> np.uint64(_WORD - _COIN_BITS)).view(np.int64)
        # Widths from zero to the bin: k for bin k, and k for bin ~k, which is -k - 1, on the left.
        away = bins ^ (bins >> 63)
        # INVARIANT: exp(-t) >= 1 - t, and t is at most (2 away + 1) / (2 coarse^2) within a bin.
        kept = coins + (2 * away + 1) * self._steepest < 1 << _COIN_BITS
        unsure = np.flatnonzero(~kept)
        inside = np.where(bins[unsure] < 0, (1 << self._width_bits) - rest[unsure], rest[unsure])
        kept[unsure] = self._kept(away[unsure], inside, coins[unsure])
        return ((bins << self._width_bits) + rest)[kept]

    def _kept(self, away: NDArray[np.int64], inside: NDArray[np.int64], coins: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each value stands, with probability exp(-t), t = (2 away + part) part / (2 coarse^2).

        The value is ``away`` widths and ``inside``, or ``part`` of a width, from zero.
        """
        part = inside * 2.0**-self._width_bits
        falls = (2 * away + part) * part * float(1 / (2 * self._coarse**2))
        # For every t >= 0: 1 - t + t^2/2 - t^3/6 <= exp(-t) <= 1 - t + t^2/2. Above t = 3 these bounds leave [0, 1]
        # and decide nothing; below, their terms are below 5 and rounding stays below the slack.
        above = 1 - falls + falls * falls / 2
        low = coins * 2.0**-_COIN_BITS
        kept: NDArray[np.bool_] = low + (2.0**-_COIN_BITS + _SLACK) <= above - falls * falls * falls / 6
        for place in np.flatnonzero(~kept & (low - _SLACK < above)):
            kept[place] = self._keeps(int(away[place]), int(inside[place]), int(coins[place]))
        return kept

    def _keeps(self, away: int, inside: int, coin: int) -> bool:
        """Whether a uniform number that begins with the bits of ``coin`` is below exp(-t), decided in integers."""
        part = Fraction(inside, 1 << self._width_bits)
        bits = _COIN_BITS
        while True:
            low, high = exp_bounds((2 * away + part) * part / (2 * self._coarse**2), bits)
            if coin + 1 <= low or coin >= high:
                return coin < high
            coin, bits = coin << _WORD | int(self._stream.words(1)[0]), bits + _WORD


class _Inversion:
    """Integers by inversion, ranked 0, -1, 1, -2, 2, ...; k has weight exp(-k^2 / (2 scale^2)).

    So has -k, or, if ``mirrored``, ~k = -k - 1: then they are names of bins, and -1 is the mirror image of bin 0.
    """

    __slots__ = ("_cuts", "_mirrored", "_scale", "_table")

    def __init__(self, scale: Fraction, *, mirrored: bool) -> None:
        self._scale, self._mirrored = scale, mirrored
        bits = 2 * _WORD
        while (cuts := self._first_words(bits)) is None:
            bits += _WORD
        self._cuts = cuts
        starts = np.arange(1 << _INDEX_BITS, dtype=np.uint64) << np.uint64(_WORD - _INDEX_BITS)
        ends = starts | np.uint64((1 << _WORD - _INDEX_BITS) - 1)
        ranks = np.searchsorted(cuts, ends, side="right")
        decided = np.searchsorted(cuts, starts) == ranks
        self._table = np.where(decided, _of_rank(ranks), _UNDECIDED).astype(np.int16)

    def draw(self, count: int, stream: ChaChaStream) -> NDArray[np.int64]:
        """``count`` integers: how many shares of the unit interval lie wholly below a uniform number tells the rank."""
        indices = stream.words(-(-count // 4)).view(np.uint16)[:count]
        chosen = self._table[indices]
        places = np.flatnonzero(chosen == _UNDECIDED)
        out = chosen.astype(np.int64)
        out[places] = _of_rank(self._refined(indices[places], stream))
        return out

    def _refined(self, indices: NDArray[np.uint16], stream: ChaChaStream) -> NDArray[np.int64]:
        rest = stream.words(len(indices)) >> np.uint64(_INDEX_BITS)
        words = indices.astype(np.uint64) << np.uint64(_WORD - _INDEX_BITS) | rest
        ranks: NDArray[np.int64] = np.searchsorted(self._cuts, words, side="right")
        # INVARIANT: a border whose first word differs from a number's lies on the same side of it, whatever follows.
        for place in np.flatnonzero(self._cuts[np.maximum(ranks, 1) - 1] == words):
            ranks[place] = self._decided(int(words[place]), stream)
        return ranks

    def _decided(self, number: int, stream: ChaChaStream) -> int:
        """The rank of the uniform number that begins with the word ``number``, from as many words as it takes."""
        bits = _WORD
        while True:
            number, bits = number << _WORD | int(stream.words(1)[0]), bits + _WORD
            lows, highs = self._borders(bits)
            rank = bisect_right(highs, number)
            if rank < len(lows) and number < lows[rank]:
                return rank

    def _first_words(self, bits: int) -> NDArray[np.uint64] | None:
        """The first word of each border between two ranks, or None where bounds of ``bits`` places do not tell it.

        The last one, all ones, stands for all borders in the tail.
        """
        last = (1 << _WORD) - 1
        # A border lies below one, whatever its upper bound says.
        lows, highs = ([min(border >> bits - _WORD, last) for border in borders] for borders in self._borders(bits))
        return np.array([*(low for low in lows if low < last), last], dtype=np.uint64) if lows == highs else None

    def _borders(self, bits: int) -> tuple[list[int], list[int]]:
        """Lower and upper bounds of the borders between ranks, with ``bits`` binary places."""
        weights, tail = gaussian_weights(self._scale, bits + _WORD)
        each = [weight for weight in weights for _ in range(2)]
        if not self._mirrored:
            each = each[1:]  # zero has no twin
        lows, highs = (list(accumulate(column)) for column in zip(*each, strict=True))
        least, most = lows[-1], highs[-1] + 2 * tail
        return [(low << bits) // most for low in lows], [-(-(high << bits) // least) for high in highs]


@lru_cache(maxsize=16)
def _inversion(scale: Fraction, *, mirrored: bool) -> _Inversion:
    """Tables are public, follow from the scale alone, and are shared by samplers."""
    return _Inversion(scale, mirrored=mirrored)


def _of_rank(ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, -1, 1, -2, 2, ... for 0, 1, 2, 3, 4, ..."""
    return ranks >> 1 ^ -(ranks & 1)
