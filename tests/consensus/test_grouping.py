"""The heaviest group of pairwise neighbours."""

from __future__ import annotations

import itertools
import time

from hypothesis import assume, given
from hypothesis import strategies as st

from semfed_secure.consensus.grouping import bits, heaviest_group


@st.composite
def _graphs(draw: st.DrawFn, most: int = 8) -> tuple[tuple[int, ...], tuple[int, ...]]:
    size = draw(st.integers(1, most))
    edges = draw(st.sets(st.sampled_from([*itertools.combinations(range(size), 2)]) if size > 1 else st.nothing()))
    return _masks(size, edges), tuple(draw(st.lists(st.integers(1, 3), min_size=size, max_size=size)))


def _masks(size: int, edges: set[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(sum(1 << b for b in range(size) if (min(a, b), max(a, b)) in edges) for a in range(size))


def _by_enumeration(neighbours: tuple[int, ...], weights: tuple[int, ...], among: int) -> tuple[list[int], int]:
    groups = [
        list(group)
        for size in range(len(weights) + 1)
        for group in itertools.combinations(bits(among), size)
        if all(neighbours[a] >> b & 1 for a, b in itertools.combinations(group, 2))
    ]
    heaviest = max(sum(weights[one] for one in group) for group in groups)
    return min(group for group in groups if sum(weights[one] for one in group) == heaviest), heaviest


@given(_graphs(), st.integers(0, 255))
def test_it_is_the_heaviest_and_of_equals_the_first_in_vertex_order(
    graph: tuple[tuple[int, ...], tuple[int, ...]], among: int
) -> None:
    """Branch and bound finds what enumeration finds."""
    neighbours, weights = graph
    among &= (1 << len(weights)) - 1
    group, weight = heaviest_group(neighbours, weights, among)
    assert (bits(group), weight) == _by_enumeration(neighbours, weights, among)


@given(_graphs(), st.data())
def test_f_vertices_cannot_change_a_winner_that_leads_by_2f_plus_1(
    graph: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    """Whatever edges the liars draw, the next winner holds an unchanged member of the old one, next to all the rest."""
    neighbours, weights = graph
    size = len(weights)
    liars = data.draw(st.sets(st.integers(0, size - 1), max_size=3))
    everyone = (1 << size) - 1
    winner, top = heaviest_group(neighbours, weights, everyone)
    rival = heaviest_group(neighbours, weights, everyone & ~winner)[1]
    assume(top - rival > 2 * sum(weights[liar] for liar in liars))
    honest = {
        (a, b) for a, b in itertools.combinations(range(size), 2) if neighbours[a] >> b & 1 and not {a, b} & liars
    }
    theirs = {pair for pair in itertools.combinations(range(size), 2) if set(pair) & liars and data.draw(st.booleans())}
    changed = _masks(size, honest | theirs)
    group = bits(heaviest_group(changed, weights, everyone)[0])
    kept = [one for one in group if winner >> one & 1 and one not in liars]
    assert kept
    assert all(changed[kept[0]] >> one & 1 for one in group if one != kept[0])


def test_one_bridging_text_does_not_merge_groups() -> None:
    """A vertex that neighbours both of two groups joins one of them."""
    neighbours = _masks(5, {(0, 1), (1, 2), (0, 2), (2, 3), (2, 4), (3, 4)})
    assert bits(heaviest_group(neighbours, (1,) * 5, 31)[0]) == [0, 1, 2]


def test_hostile_graphs_do_not_take_exponential_time() -> None:
    """The Moon-Moser graph on 63 vertices has 3^21 maximal groups; the colouring bound sees them at once."""
    size = 63
    neighbours = tuple(sum(1 << b for b in range(size) if a // 3 != b // 3) for a in range(size))
    started = time.process_time()
    group, weight = heaviest_group(neighbours, (1,) * size, (1 << size) - 1)
    assert (bits(group), weight) == ([*range(0, 63, 3)], 21)
    assert time.process_time() - started < 2
