"""Apply a rule to prompts in blocks, and sort out who is absent at which prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import TypeAlias

    from numpy.typing import ArrayLike

    from semfed_secure.consensus.gram import Mask, Shares, Vectors

    Rule: TypeAlias = Callable[[Vectors, Shares], Vectors]
    """Finite vectors of clients that are all present, and weights with sum 1, to one row for each prompt."""
    Kernel: TypeAlias = Callable[[Vectors, Shares], tuple[Vectors, Mask]]
    """The same for vectors that may be anything, and whether each prompt was done."""

BLOCK_BYTES = 2 << 20
"""Small enough to stay in the processor's cache from one step of a rule to the next."""
KERNEL_BYTES = 128 << 20
"""A kernel finishes one prompt before it reads the next; this only bounds copies of input in another form."""


def kernels() -> ModuleType:
    """The compiled rules; ``SF103`` if the extra ``accel`` is not installed."""
    try:
        from semfed_secure.consensus import kernels as compiled  # noqa: PLC0415  # it needs an extra
    except ModuleNotFoundError:
        raise ConfigurationError("SF103", "compiled rules need the extra `semfed-secure[accel]`") from None
    return compiled


def fewest_of(vectors: ArrayLike, faults: int, more: int) -> int:
    """The clients needed against ``faults`` liars, twice as many and ``more``; ``SF105`` if there are never so many."""
    if isinstance(faults, bool) or not isinstance(faults, int | np.integer) or faults < 0:
        raise ConfigurationError("SF105", "a whole number of liars, 0 or more, was expected")
    needed, shape = 2 * int(faults) + more, np.shape(vectors)
    if len(shape) == 3 and shape[1] < needed:
        raise ConfigurationError("SF105", f"{faults} liars need {needed} clients or more, got {shape[1]}")
    return needed


def each_prompt(
    vectors: ArrayLike,
    weights: ArrayLike | None,
    fewest: int,
    rule: Rule,
    kernel: Kernel | None = None,
    *,
    directed: bool = False,
) -> Vectors:
    """Check the input once, then apply ``rule`` block by block; ``kernel`` takes prompts with nobody absent."""
    given = np.asanyarray(vectors)
    if given.ndim != 3 or given.dtype.kind not in "fiu":
        raise ConfigurationError("SF105", "real numbers of shape (prompts, clients, dimensions) were expected")
    prompts, clients, dimensions = given.shape
    kind = np.float32 if np.result_type(given.dtype, np.float32) == np.float32 else np.float64
    whole_numbers = given.dtype.kind != "f"
    inner = np.float64 if whole_numbers else kind
    shares = _weights(weights, prompts, clients)
    result = np.full((prompts, dimensions), np.nan, kind)
    size = max(clients * dimensions * np.dtype(inner).itemsize, 1)
    kernel = None if whole_numbers else kernel
    step = max((BLOCK_BYTES if kernel is None else KERNEL_BYTES) // size, 1)
    with np.errstate(all="ignore"):  # numbers too large to hold are sorted out by what they give
        for start in range(0, prompts, step):
            here = slice(start, start + step)
            block: Vectors = np.ascontiguousarray(given[here], inner)
            left = np.arange(len(block))
            if kernel is not None and block.size:
                result[here], done = kernel(block, _shares(shares[here]))
                left = left[~(done & shares[here].all(axis=1))]
            for part in np.array_split(left, range(BLOCK_BYTES // size or 1, len(left), BLOCK_BYTES // size or 1)):
                whole = len(part) == len(block)
                result[start + part] = _present(
                    block if whole else block[part], shares[start + part], fewest, rule, directed=directed
                )
    return result


def _present(block: Vectors, weights: Shares, fewest: int, rule: Rule, *, directed: bool) -> Vectors:
    """Apply the rule to those present: prompts with equally many of them at a time, so that nobody's place shows."""
    squared = np.einsum("pcd,pcd->pc", block, block)
    present = np.isfinite(squared) & (weights > 0)
    if directed:
        present &= squared > 0
    counts = present.sum(axis=1)
    result = np.full((block.shape[0], block.shape[2]), np.nan, block.dtype)
    for count in np.unique(counts[counts >= fewest]).tolist():
        here = counts == count
        everybody = count == block.shape[1] and bool(here.all())
        dense = block if everybody else block[here][present[here]].reshape(-1, count, block.shape[2])
        result[here] = rule(dense, _shares(weights[here][present[here]].reshape(-1, count)))
    return result


def _shares(weights: Shares) -> Shares:
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def _weights(weights: ArrayLike | None, prompts: int, clients: int) -> Shares:
    given = np.ones(clients) if weights is None else np.asarray(weights, np.float64)
    if given.shape not in {(clients,), (prompts, clients)}:
        raise ConfigurationError("SF105", "weights of shape (clients,) or (prompts, clients) were expected")
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise ConfigurationError("SF105", "weights that are finite and not negative were expected")
    largest = given.max(axis=-1, keepdims=True, initial=0.0)
    return np.broadcast_to(given / np.where(largest > 0, largest, 1.0), (prompts, clients))
