"""The rules compiled, with numba: each prompt is read once and worked on while it lies in the processor's cache.

Importing this module needs the extra ``accel``. A prompt at which a client may be absent is left undone, for the
caller. The coordinate-wise kernel does the arithmetic of numpy in the same order and gives the same bytes; inner
products are summed in another order, so the others agree up to rounding. Threads share out whole prompts, so their
number changes nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numba
import numpy as np

from semfed_secure.consensus.gram import RESOLVED, SAME, TIED
from semfed_secure.consensus.medians import EQUAL, SETTLED, STEPS, VISITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    from semfed_secure.consensus.gram import Mask, Shares, Vectors

    Pairs: TypeAlias = NDArray[np.int64]

_NEAR = SAME * 10
_TINY = 1e-300
_SUMS = {"reassoc", "contract", "nsz"}  # another order of summation, and nothing that would overlook NaN

_exact = numba.njit(nogil=True, cache=True, error_model="numpy")
_summing = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=_SUMS)


def middle_mean(vectors: Vectors, cut: int) -> tuple[Vectors, Mask]:
    """`semfed_secure.consensus.gram.middle_mean` of the prompts with nobody absent."""
    largest = vectors.dtype.type(np.sqrt(np.finfo(vectors.dtype).max / max(vectors.shape[2], 1)) / 2)
    result, done = _results(vectors)
    pairs = _sorting_network(vectors.shape[1], cut)
    _share_out(len(vectors), lambda start, stop: _middle_means(vectors, cut, pairs, largest, start, stop, result, done))
    return result, done


def geometric_median(vectors: Vectors, weights: Shares) -> tuple[Vectors, Mask]:
    """The weighted geometric median of the prompts with nobody absent."""
    result, done = _results(vectors)
    given = np.ascontiguousarray(weights)
    _share_out(len(vectors), lambda start, stop: _medians(vectors, given, start, stop, result, done))
    return result, done


def krum(vectors: Vectors, faults: int, places: int) -> tuple[Vectors, Mask]:
    """The mean of the ``places`` best clients of Krum, of the prompts with nobody absent."""
    result, done = _results(vectors)
    _share_out(len(vectors), lambda start, stop: _krums(vectors, faults, places, start, stop, result, done))
    return result, done


def _results(vectors: Vectors) -> tuple[Vectors, Mask]:
    return np.empty((vectors.shape[0], vectors.shape[2]), vectors.dtype), np.zeros(vectors.shape[0], np.bool_)


def _share_out(prompts: int, work: Callable[[int, int], None]) -> None:
    threads = min(numba.get_num_threads(), prompts)
    if threads < 2:
        work(0, prompts)
        return
    edges = [prompts * part // threads for part in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))


def _sorting_network(size: int, cut: int) -> Pairs:
    """Batcher's odd-even merge sort, without the comparisons that decide only about places cut away."""
    pairs: list[tuple[int, int]] = []
    span = 1
    while span < size:
        step = span
        while step >= 1:
            pairs += [
                (low, low + step)
                for first in range(step % span, size - step, 2 * step)
                for low in range(first, min(first + step, size - step))
                if low // (2 * span) == (low + step) // (2 * span)
            ]
            step //= 2
        span *= 2
    wanted, kept = set(range(cut, size - cut)), []
    for pair in reversed(pairs):
        if wanted & set(pair):
            wanted |= set(pair)
            kept.append(pair)
    return np.array(kept[::-1], np.int64).reshape(-1, 2)


@_exact
def _middle_means(
    vectors: Vectors, cut: int, pairs: Pairs, largest: np.floating, start: int, stop: int, result: Vectors, done: Mask
) -> None:
    clients, dimensions = vectors.shape[1:]
    rows = np.empty((clients, dimensions), vectors.dtype)
    kept = vectors.dtype.type(clients - 2 * cut)
    for prompt in range(start, stop):
        strange = 0
        for client in range(clients):
            for place in range(dimensions):
                value = vectors[prompt, client, place]
                rows[client, place] = value
                strange |= not (abs(value) <= largest)
        if strange:
            continue
        for pair in range(len(pairs)):
            upper, lower = rows[pairs[pair, 0]], rows[pairs[pair, 1]]
            for place in range(dimensions):
                one, other = upper[place], lower[place]
                upper[place] = min(one, other)
                lower[place] = max(one, other)
        total = rows[cut]
        for client in range(cut + 1, clients - cut):
            for place in range(dimensions):
                total[place] += rows[client, place]
        for place in range(dimensions):
            result[prompt, place] = total[place] / kept + vectors.dtype.type(0)
        done[prompt] = True


@_summing
def _medians(vectors: Vectors, weights: Shares, start: int, stop: int, result: Vectors, done: Mask) -> None:
    clients = vectors.shape[1]
    product = np.empty((clients, clients))
    for prompt in range(start, stop):
        if _gram(vectors[prompt], product):
            shares = _settled(product, weights[prompt])
            _combine(shares, vectors[prompt], result[prompt])
            done[prompt] = True


@_summing
def _krums(vectors: Vectors, faults: int, places: int, start: int, stop: int, result: Vectors, done: Mask) -> None:
    clients = vectors.shape[1]
    product = np.empty((clients, clients))
    scores, apart = np.empty(clients), np.empty(clients)
    for prompt in range(start, stop):
        if not _gram(vectors[prompt], product):
            continue
        for client in range(clients):
            for other in range(clients):
                apart[other] = _apart(product, client, other)
            _sort(apart)
            scores[client] = apart[1 : clients - faults - 1].sum()
        border = np.sort(scores)[places - 1]
        below = scores < border * (1 - TIED)
        tied = ~below & (scores <= border * (1 + TIED))
        shares = (below + tied * ((places - below.sum()) / tied.sum())) / places
        _combine(shares, vectors[prompt], result[prompt])
        done[prompt] = True


@_exact
def _sort(values: Shares) -> None:
    """By insertion: for so few, sooner than any other way."""
    for place in range(1, len(values)):
        value, hole = values[place], place
        while hole > 0 and values[hole - 1] > value:
            values[hole] = values[hole - 1]
            hole -= 1
        values[hole] = value


@_summing
def _apart(product: Shares, one: int, other: int) -> float:
    lengths = product[one, one] + product[other, other]
    apart = lengths - 2 * product[one, other]
    return apart if apart > SAME * lengths else 0.0


@_summing
def _gram(rows: Vectors, product: Shares) -> bool:
    """Fill in the inner products; False if a client is absent."""
    clients = len(rows)
    _products(rows, product)
    for client in range(clients):
        if not np.isfinite(rows.dtype.type(product[client, client])):
            return False
    if rows.itemsize < 8:
        for one in range(clients):
            for other in range(one):
                lengths = product[one, one] + product[other, other]
                if lengths - 2 * product[one, other] <= RESOLVED * lengths:
                    _products(rows.astype(np.float64), product)
                    return True
    return True


@_summing
def _products(rows: Vectors, product: Shares) -> None:
    """Four clients by four at a time: every number that is loaded serves four products."""
    clients, dimensions = rows.shape
    for one in range(0, clients, 4):
        a0, a1 = rows[one], rows[min(one + 1, clients - 1)]
        a2, a3 = rows[min(one + 2, clients - 1)], rows[min(one + 3, clients - 1)]
        for other in range(0, one + 4, 4):
            if other >= clients:
                break
            b0, b1 = rows[other], rows[min(other + 1, clients - 1)]
            b2, b3 = rows[min(other + 2, clients - 1)], rows[min(other + 3, clients - 1)]
            zero = rows.dtype.type(0)
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
            for k in range(dimensions):
                s00 += a0[k] * b0[k]
                s01 += a0[k] * b1[k]
                s02 += a0[k] * b2[k]
                s03 += a0[k] * b3[k]
                s10 += a1[k] * b0[k]
                s11 += a1[k] * b1[k]
                s12 += a1[k] * b2[k]
                s13 += a1[k] * b3[k]
                s20 += a2[k] * b0[k]
                s21 += a2[k] * b1[k]
                s22 += a2[k] * b2[k]
                s23 += a2[k] * b3[k]
                s30 += a3[k] * b0[k]
                s31 += a3[k] * b1[k]
                s32 += a3[k] * b2[k]
                s33 += a3[k] * b3[k]
            sums = ((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))
            for i in range(4):
                for j in range(4):
                    if one + i < clients and other + j < clients:
                        product[one + i, other + j] = sums[i][j]
                        product[other + j, one + i] = sums[i][j]


@_summing
def _combine(shares: Shares, rows: Vectors, result: Vectors) -> None:
    dimensions = rows.shape[1]
    result[:] = 0
    for client in range(len(shares)):
        share = rows.dtype.type(shares[client])
        if share != 0:
            for place in range(dimensions):
                result[place] += share * rows[client, place]


@_summing
def _settled(product: Shares, weights: Shares) -> Shares:
    """`semfed_secure.consensus.medians.geometric` of one prompt."""
    clients = len(weights)
    following, distance, kept, unused = np.empty(clients), np.empty(clients), np.empty(clients), np.empty(clients)
    shares: Shares = _start(product, weights, distance)
    for turn in range(STEPS):
        pull = _step(product, weights, shares, following, distance)
        for visit in VISITS:
            if turn == visit and pull > SETTLED:
                kept[:] = 0
                kept[np.argmin(distance)] = 1
                if _step(product, weights, kept, unused, unused) <= 0:
                    return kept
        shares, following = following, shares
        if pull <= SETTLED:
            break
    return shares


@_summing
def _start(product: Shares, weights: Shares, distance: Shares) -> Shares:
    clients = len(weights)
    at_clients = np.zeros(clients)
    for client in range(clients):
        for other in range(client):
            distance[other] = np.sqrt(_apart(product, client, other))
        for other in range(client):
            at_clients[client] += weights[other] * distance[other]
            at_clients[other] += weights[client] * distance[other]
    _distances(product, weights, distance)
    at_mean = 0.0
    for client in range(clients):
        at_mean += weights[client] * np.sqrt(distance[client])
    best = at_clients.min() * (1 + EQUAL)
    if at_mean <= best:
        mean: Shares = weights.copy()
        return mean
    tied = (at_clients <= best) * weights
    shares: Shares = tied / tied.sum()
    return shares


@_summing
def _distances(product: Shares, shares: Shares, squared: Shares) -> float:
    """Squared distance of each client to the point; returns the point's squared length."""
    clients = len(shares)
    _project(product, shares, squared)
    inner = 0.0
    for client in range(clients):
        inner += squared[client] * shares[client]
    for client in range(clients):
        squared[client] = max(product[client, client] - 2 * squared[client] + inner, 0.0)
    return max(inner, 0.0)


@_summing
def _project(product: Shares, shares: Shares, projected: Shares) -> None:
    """Fill in every client's inner product with the point."""
    clients = len(shares)
    projected[:] = 0
    for other in range(clients):
        for client in range(clients):
            projected[client] += product[other, client] * shares[other]


@_summing
def _step(product: Shares, weights: Shares, shares: Shares, following: Shares, distance: Shares) -> float:
    clients = len(weights)
    length = _distances(product, shares, distance)
    total = held = 0.0
    for client in range(clients):
        if distance[client] <= _NEAR * (product[client, client] + length):
            distance[client] = 0.0
            held += weights[client]
        else:
            distance[client] = np.sqrt(distance[client])
            total += weights[client] / distance[client]
    total = max(total, _TINY)
    force = np.empty(clients)
    for client in range(clients):
        force[client] = -total * shares[client]
        if distance[client] > 0:
            force[client] += weights[client] / distance[client]
    pulling = 0.0
    _project(product, force, following)
    for client in range(clients):
        pulling += following[client] * force[client]
    pulling = np.sqrt(max(pulling, 0.0))
    stay = min(1.0, held / max(pulling, _TINY))
    summed = 0.0
    for client in range(clients):
        following[client] = (1 - stay) * (force[client] / total + shares[client]) + stay * shares[client]
        summed += following[client]
    for client in range(clients):
        following[client] /= summed
    left: float = pulling - held
    return left
