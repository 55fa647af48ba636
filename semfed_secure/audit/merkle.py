"""RFC 6962 trees: hashing, roots, inclusion and consistency proofs.

A tree is described by the hashes of its complete subtrees: the one at ``(level, position)`` covers the ``2**level``
entries that start at ``position * 2**level``. Such a hash never changes once it is known, so appending costs a few
hashes whatever the size of the log. Proofs are verified by the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**63 - 1
"""Largest number of entries: what the databases can count."""

Place: TypeAlias = tuple[int, int]
"""Level and position of a complete subtree."""
Range: TypeAlias = tuple[int, int]
"""Entries from the first number up to, but without, the second."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry: SHA-256 of a zero byte and the entry."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two neighbouring subtrees: SHA-256 of a one byte and both hashes."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The complete subtrees that make up a tree of some size; all that appending and the root need.

    Guarantee: after any sequence of `add`, `root` is the RFC 6962 tree hash of all entries added.
    """

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Start from ``hashes`` of the complete subtrees of a tree of ``size`` entries, largest first."""
        if not 0 <= size <= MAX_SIZE or len(hashes) != size.bit_count():
            raise ValueError("a frontier has one hash for each binary one of its size")
        self.size = size
        self._hashes = list(hashes)

    @classmethod
    def parse(cls, size: int, data: bytes) -> Frontier:
        """Read `encode`'s bytes back.

        Raises:
            ValueError: ``data`` is not the frontier of a tree of ``size`` entries.
        """
        if len(data) % HASH_BYTES:
            raise ValueError("a frontier is a row of hashes")
        return cls(size, [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)])

    def encode(self) -> bytes:
        """The hashes in a row."""
        return b"".join(self._hashes)

    def add(self, leaf: bytes) -> list[tuple[Place, bytes]]:
        """Append the entry with hash ``leaf``; return the subtrees of two entries and more that it completes."""
        completed: list[tuple[Place, bytes]] = []
        level, position, value = 0, self.size, leaf
        while position & 1:
            value = node_hash(self._hashes.pop(), value)
            level, position = level + 1, position >> 1
            completed.append(((level, position), value))
        self._hashes.append(value)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The tree hash."""
        return fold(self._hashes) if self._hashes else EMPTY_ROOT


def fold(hashes: Sequence[bytes]) -> bytes:
    """Hash of the subtree made of these complete ones, left to right, each larger than the next."""
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def subtree(hashes: Sequence[bytes]) -> bytes:
    """Hash of the complete subtree over these neighbours; there are ``2**level`` of them."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[place], row[place + 1]) for place in range(0, len(row), 2)]
    return row[0]


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove that entry ``index`` is in a tree of ``size``, from the leaf to the root.

    Raises:
        ValueError: there is no such entry.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"entry {index} is not in a log of {size} entries")
    ranges: list[Range] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose hashes prove that a tree of ``new`` entries extends one of ``old`` (RFC 6962, 2.1.2).

    Raises:
        ValueError: the sizes are not in order.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ValueError(f"a log of {new} entries cannot extend one of {old}")
    ranges: list[Range] = []
    start, stop = 0, new
    while old not in {0, stop}:
        middle = start + _split(stop - start)
        if old <= middle:
            ranges.append((middle, stop))
            stop = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start and old:
        ranges.append((start, stop))
    return ranges[::-1]


def places_of(part: Range) -> list[Place]:
    """The complete subtrees that a subtree of the proofs above consists of, left to right."""
    start, stop = part
    places: list[Place] = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        places.append((level, start >> level))
        start += 1 << level
    return places


def prove(ranges: Sequence[Range], hashes: Mapping[Place, bytes]) -> tuple[bytes, ...]:
    """Hashes of ``ranges`` from those of their complete subtrees.

    Raises:
        KeyError: a subtree is not in ``hashes``.
    """
    return tuple(fold([hashes[place] for place in places_of(part)]) for part in ranges)


def root_over(leaves: Iterable[bytes]) -> bytes:
    """The root of the tree over ``leaves`` in their order."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf_hash(leaf))
    return frontier.root()


def verify_inclusion(leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> int:
    """Accept only a proof that the entry with hash ``leaf`` is number ``index`` of the tree; return ``index``.

    Raises:
        PeerError: ``SF328``.
    """
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes((leaf, root, *proof)):
        raise _bad_proof("inclusion")
    value, place, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise _bad_proof("inclusion")
        if place & 1 or place == last:
            value = node_hash(sibling, value)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or value != root:
        raise _bad_proof("inclusion")
    return index


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> tuple[int, int]:
    """Accept only a proof that the new tree starts with every entry of the old one; return both sizes.

    Raises:
        PeerError: ``SF328``.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE or not _are_hashes((old_root, new_root, *proof)):
        raise _bad_proof("consistency")
    if old_size in {0, new_size}:
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise _bad_proof("consistency")
        return old_size, new_size
    if _roots_of_consistency(old_size, new_size, old_root, proof) != (old_root, new_root):
        raise _bad_proof("consistency")
    return old_size, new_size


def _roots_of_consistency(
    old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    # RFC 9162 2.1.4.2; an old tree that is one complete subtree is its own first hash.
    path = [old_root, *proof] if old_size.bit_count() == 1 else list(proof)
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not path:
        return None
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    return (old, new) if last == 0 else None


def _split(width: int) -> int:
    """Largest power of two below ``width``."""
    return 1 << ((width - 1).bit_length() - 1)


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _bad_proof(kind: str) -> PeerError:
    return PeerError("SF328", f"the {kind} proof does not lead to the root of the log checkpoint")
