"""The heaviest group of texts in which every two are neighbours.

Complete linkage: a text that resembles two groups joins one of them and never merges them. Exact, by
branch and bound with a colouring bound; vertices come in tie order, so equal weights end the same way
on every machine.
"""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4096)
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
    best = _heaviest(neighbours, weights, among, 0)
    members, weight, allowed = 0, 0, among
    for vertex in bits(among):
        if not allowed >> vertex & 1:
            continue
        rest = allowed & neighbours[vertex] & ~((2 << vertex) - 1)
        taken = weight + weights[vertex]
        if taken + _heaviest(neighbours, weights, rest, best - taken - 1) == best:
            members, weight, allowed = members | 1 << vertex, taken, rest
    return members, best


def _heaviest(neighbours: tuple[int, ...], weights: tuple[int, ...], among: int, floor: int) -> int:
    """Weight of the heaviest group, or anything not above ``floor`` where no group is heavier."""
    best = max(floor, 0)
    for vertex, bound in reversed(_bounds(neighbours, weights, among)):
        if bound <= best:
            break
        inside = _heaviest(neighbours, weights, among & neighbours[vertex], best - weights[vertex])
        best = max(best, weights[vertex] + inside)
        among &= ~(1 << vertex)
    return best


def _bounds(neighbours: tuple[int, ...], weights: tuple[int, ...], among: int) -> list[tuple[int, int]]:
    """Vertices with an upper bound on any group among those up to and including them.

    A class holds no two neighbours, so a group takes at most its heaviest member from each class.
    """
    bounds: list[tuple[int, int]] = []
    reached = 0
    while among:
        candidates, heaviest = among, 0
        while candidates:
            vertex = (candidates & -candidates).bit_length() - 1
            candidates &= ~(neighbours[vertex] | 1 << vertex)
            among &= ~(1 << vertex)
            heaviest = max(heaviest, weights[vertex])
            bounds.append((vertex, reached + heaviest))
        reached += heaviest
    return bounds


def bits(mask: int) -> list[int]:
    """The positions of the bits set in ``mask``, ascending."""
    return [vertex for vertex in range(mask.bit_length()) if mask >> vertex & 1]
