"""The heaviest group of texts in which every two are neighbours.

Complete linkage: a text that resembles two groups joins one of them and never merges them. Exact, by
branch and bound with a colouring bound; vertices come in tie order, so equal weights end the same way
on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def heaviest_group(neighbours: tuple[int, ...], weights: tuple[int, ...], among: int) -> tuple[int, int]:
    """The heaviest set of pairwise neighbours; of equally heavy ones, the first in vertex order.

    Whatever ``f`` vertices do, a winner that outweighs every group disjoint from it by more than twice
    their weight keeps a member: the next winner contains one of its unchanged vertices, and all members
    of that next winner are neighbours of it.

    Args:
        neighbours: Bit mask of the neighbours of each vertex, its own bit excluded.
        weights: Positive weight of each vertex.
        among: Bit mask of the vertices that may take part.

    Returns:
        The members as a bit mask, and their weight.
    """
    size = len(neighbours)
    # Below the weight stands one bit for each vertex, the first one highest: no two groups weigh the same.
    marked = [weight << size | 1 << (size - 1 - vertex) for vertex, weight in enumerate(weights)]
    members, weight = _heaviest(neighbours, marked, among, 0)
    return members, weight >> size


def _heaviest(neighbours: tuple[int, ...], weights: Sequence[int], among: int, floor: int) -> tuple[int, int]:
    """The heaviest group and its weight, or none and ``floor`` where no group is heavier."""
    members, best = 0, floor
    for vertex, bound in reversed(_bounds(neighbours, weights, among)):
        if bound <= best:
            break
        own = weights[vertex]
        rest, inside = _heaviest(neighbours, weights, among & neighbours[vertex], max(best - own, 0))
        if own + inside > best:
            members, best = rest | 1 << vertex, own + inside
        among &= ~(1 << vertex)
    return members, best


def _bounds(neighbours: tuple[int, ...], weights: Sequence[int], among: int) -> list[tuple[int, int]]:
    """Vertices with an upper bound on any group among those up to and including them.

    A class holds no two neighbours, so a group takes at most its heaviest member from each class.
    """
    bounds: list[tuple[int, int]] = []
    reached = 0
    while among:
        candidates, heaviest = among, 0
        while candidates:
            lowest = candidates & -candidates
            vertex = lowest.bit_length() - 1
            candidates &= ~(neighbours[vertex] | lowest)
            among ^= lowest
            heaviest = max(heaviest, weights[vertex])
            bounds.append((vertex, reached + heaviest))
        reached += heaviest
    return bounds


def bits(mask: int) -> list[int]:
    """The positions of the bits set in ``mask``, ascending."""
    return [vertex for vertex in range(mask.bit_length()) if mask >> vertex & 1]
