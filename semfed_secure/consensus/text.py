"""Semantic consensus over texts: the heaviest group of like answers, and one real answer from its middle.

Never a bare medoid: duplicated poison takes a medoid over all answers. The group is chosen first, by the
weight behind it; only then the released text, nearest to the geometric median of the trimmed group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.consensus.geometry import cosines_ppm, median_distances, quantise
from semfed_secure.consensus.grouping import bits, heaviest_group
from semfed_secure.consensus.guards import guard
from semfed_secure.consensus.outcome import (
    ABSTAIN,
    PPM,
    BoolArray,
    IntArray,
    Outcomes,
    Status,
    status_of,
    tie_key,
    tolerance,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from semfed_secure.wire.messages import ConsensusRule


@dataclass(frozen=True)
class Vocabulary:
    """Every distinct text of a round, with the server's own embedding of it.

    Equal texts are one entry, so equal answers always count as one whatever the embedder's rounding does.

    Attributes:
        texts: Distinct texts.
        vectors: float ``(len(texts), dimension)``.
        similarity_ppm: Least cosine of neighbours, parts per million.
    """

    texts: tuple[str, ...]
    vectors: NDArray[np.floating]
    similarity_ppm: int

    @cached_property
    def _quantised(self) -> NDArray[np.int16]:
        return quantise(self.vectors)

    def graph(self, entries: Sequence[int]) -> Graph:
        """Who resembles whom among the named entries: near enough, and with guards that agree."""
        cosine = cosines_ppm(self._quantised[list(entries)])
        guards = [guard(self.texts[entry]) for entry in entries]
        neighbours = [0] * len(entries)
        for one, other in np.argwhere(np.triu(cosine >= self.similarity_ppm, 1)).tolist():
            if guards[one].agrees(guards[other]):
                neighbours[one] |= 1 << other
                neighbours[other] |= 1 << one
        return Graph(tuple(entries), cosine, tuple(neighbours))


@dataclass(frozen=True, slots=True)
class Graph:
    """The distinct answers to one prompt, in tie order.

    Attributes:
        entries: Vocabulary index of each vertex.
        cosine: Parts per million, ``(vertices, vertices)``.
        neighbours: Bit mask of each vertex's neighbours.
    """

    entries: tuple[int, ...]
    cosine: IntArray
    neighbours: tuple[int, ...]

    def alike(self) -> NDArray[np.bool_]:
        """Whether two vertices are equal or neighbours, ``(vertices, vertices)``."""
        return _alike(self.neighbours)


@lru_cache(maxsize=4096)  # most prompts have few distinct answers, and most of them one of few patterns
def _alike(neighbours: tuple[int, ...]) -> BoolArray:
    size = len(neighbours)
    rows = [(mask | 1 << one).to_bytes(-(-size // 8), "little") for one, mask in enumerate(neighbours)]
    packed = np.frombuffer(b"".join(rows), np.uint8).reshape(size, -1)
    return np.unpackbits(packed, axis=1, count=size, bitorder="little").astype(bool)


@dataclass(frozen=True, slots=True)
class TextAnswers:
    """Evidence of a ``text`` round; make it with `text_answers`.

    Attributes:
        answers: Index into the vocabulary or `ABSTAIN`, int64 ``(clients, prompts)``.
        vocabulary: The distinct texts and their vectors.
        graphs: One graph per prompt; leaving a client out leaves its texts in as vertices of no weight.
        vertices: Vertex of each answer in its prompt's graph, or `ABSTAIN`, int64 ``(clients, prompts)``.
    """

    answers: IntArray
    vocabulary: Vocabulary
    graphs: tuple[Graph, ...]
    vertices: IntArray

    def agreements(self, among: BoolArray | None = None) -> IntArray:
        """On how many prompts each two clients are neighbours or equal, of the answers marked in ``among``."""
        clients = self.answers.shape[0]
        counts = np.zeros((clients, clients), np.int64)
        vertices = self.vertices if among is None else np.where(among, self.vertices, ABSTAIN)
        for graph, vertex in zip(self.graphs, vertices.T, strict=True):
            here = np.flatnonzero(vertex >= 0)
            if len(here):
                counts[np.ix_(here, here)] += graph.alike()[np.ix_(vertex[here], vertex[here])]
        return counts

    def outweighed(self, weights: IntArray) -> BoolArray:
        """Whose text and its neighbours have less weight than some text that is no neighbour of it, and its own."""
        behind = np.zeros(self.vertices.shape, bool)
        for prompt, graph in enumerate(self.graphs):
            here = np.flatnonzero(self.vertices[:, prompt] >= 0)
            if len(here):
                vertex = self.vertices[here, prompt]
                alike = graph.alike()[np.ix_(vertex, vertex)]
                mass = alike @ weights[here]
                behind[here, prompt] = np.where(alike, 0, mass).max(axis=1) > mass
        return behind

    def consensus(self, weights: IntArray, *, rule: ConsensusRule) -> Outcomes:
        """`text_consensus` of these answers."""
        return text_consensus(self, weights, rule=rule)

    def without(self, client: int) -> TextAnswers:
        """The same round as if ``client`` had not answered."""
        return replace(
            self, answers=np.delete(self.answers, client, axis=0), vertices=np.delete(self.vertices, client, axis=0)
        )

    def part(self, prompts: slice) -> TextAnswers:
        """The answers to some prompts; the vocabulary stays behind, for their graphs hold all that a consensus asks."""
        none = replace(self.vocabulary, texts=(), vectors=self.vocabulary.vectors[:0])
        return TextAnswers(self.answers[:, prompts], none, self.graphs[prompts], self.vertices[:, prompts])

    def same_meaning(self, first: int, second: int) -> bool:
        """Whether two texts are equal or neighbours."""
        return first == second or self.vocabulary.graph((first, second)).neighbours[0] != 0


def text_answers(
    texts: Sequence[Sequence[str | None]], vocabulary: Vocabulary, *, prompt_ids: Sequence[str], nonce: bytes
) -> TextAnswers:
    """Arrange the clients' texts as evidence.

    Args:
        texts: One row per client, one text or ``None`` (abstains) per prompt; each text is in the vocabulary.
        vocabulary: Every distinct text.
        prompt_ids: Identifier of each prompt.
        nonce: The round's nonce; vertices stand in the order of `tie_key`.
    """
    place = {text: entry for entry, text in enumerate(vocabulary.texts)}
    answers = np.array(
        [[ABSTAIN if text is None else place[text] for text in row] for row in texts], dtype=np.int64
    ).reshape(len(texts), len(prompt_ids))
    vertices = np.full_like(answers, ABSTAIN)
    graphs = []
    for prompt, prompt_id in enumerate(prompt_ids):
        given = {int(entry) for entry in answers[:, prompt] if entry >= 0}
        entries = sorted(given, key=lambda entry: tie_key(nonce, prompt_id, vocabulary.texts[entry].encode()))
        for vertex, entry in enumerate(entries):
            vertices[answers[:, prompt] == entry, prompt] = vertex
        graphs.append(vocabulary.graph(entries))
    return TextAnswers(answers, vocabulary, tuple(graphs), vertices)


def text_consensus(evidence: TextAnswers, weights: IntArray, *, rule: ConsensusRule) -> Outcomes:
    """The answer in the middle of the heaviest group of each prompt, or none.

    Permuting the clients changes nothing; an honest duplicate never lowers its group; the released text is
    always one that an answering client gave. With equal weights, when the winning group leads by at least
    ``2 f + 1``, then whatever ``f`` clients answer instead, the new winning group holds an unchanged member
    of the old one, and every text in it is a neighbour of that member.

    Args:
        evidence: The answers as graphs.
        weights: Parts per million, ``(clients,)``.
        rule: Thresholds, and the share of the group's weight that is trimmed from its edge.
    """
    pairs = zip(evidence.graphs, evidence.vertices.T, strict=True)
    polls = [hold_poll(graph, *_behind(graph, vertex, weights)) for graph, vertex in pairs]
    released = middles(polls, rule.trim_ppm)
    support_ppm = _column(poll.top * PPM // max(poll.total, 1) for poll in polls)
    margin_ppm = _column((poll.top - poll.rival) * PPM // max(poll.total, 1) for poll in polls)
    answered = (evidence.vertices >= 0).sum(axis=0)
    status = status_of(answered=answered, support_ppm=support_ppm, margin_ppm=margin_ppm, rule=rule)
    winner = _column(
        poll.graph.entries[middle[0]] if middle else ABSTAIN for poll, middle in zip(polls, released, strict=True)
    )
    return Outcomes(
        status=status,
        label=np.where(status == Status.AGREED, winner, ABSTAIN),
        support_ppm=support_ppm,
        margin_ppm=margin_ppm,
        certified_tolerance=tolerance(
            _column(poll.winner_count for poll in polls),
            _column(poll.rival_count for poll in polls),
            top=_column(poll.top for poll in polls),
            rival=_column(poll.rival for poll in polls),
            weights=weights,
            rule=rule,
        ),
        members=_standing(evidence.vertices, [poll.group for poll in polls]),
        core=_standing(evidence.vertices, released),
    )


@dataclass(frozen=True, slots=True)
class Poll:
    """Who stands where on one prompt: the winning group's vertices and weight, its heaviest rival's, and all."""

    graph: Graph
    mass: tuple[int, ...]
    group: tuple[int, ...]
    top: int
    rival: int
    total: int
    winner_count: int
    rival_count: int


def hold_poll(graph: Graph, mass: Sequence[int], count: Sequence[int]) -> Poll:
    """Hold the poll of one prompt.

    Args:
        graph: Its distinct answers.
        mass: Weight behind each vertex.
        count: Clients behind each vertex; one of nobody takes no part.
    """
    heavy, many = tuple(mass), tuple(count)
    among = sum(1 << one for one, present in enumerate(many) if present)
    group, top = heaviest_group(graph.neighbours, heavy, among)
    rest = among & ~group
    members = tuple(bits(group))
    return Poll(
        graph=graph,
        mass=heavy,
        group=members,
        top=top,
        rival=heaviest_group(graph.neighbours, heavy, rest)[1],
        total=sum(heavy),
        winner_count=sum(many[one] for one in members),
        rival_count=heaviest_group(graph.neighbours, many, rest)[1],
    )


def _behind(graph: Graph, vertex: IntArray, weights: IntArray) -> tuple[list[int], list[int]]:
    """Weight and number of the clients behind each vertex."""
    mass, count = [0] * len(graph.entries), [0] * len(graph.entries)
    for one, weight in zip(vertex.tolist(), weights.tolist(), strict=True):
        if one >= 0:
            mass[one] += weight
            count[one] += 1
    return mass, count


def middles(polls: Sequence[Poll], trim_ppm: int) -> list[tuple[int, ...]]:
    """Each prompt's trimmed group, the vertex nearest to its geometric median first; empty where nobody answered."""
    distances = _median_distances([(poll.graph, poll.mass, poll.group) for poll in polls])
    cores = [_trim(poll, distance, trim_ppm) for poll, distance in zip(polls, distances, strict=True)]
    nearest = _median_distances([(poll.graph, poll.mass, core) for poll, core in zip(polls, cores, strict=True)])
    return [
        tuple(one for _, one in sorted(zip(distance, core, strict=True)))
        for core, distance in zip(cores, nearest, strict=True)
    ]


def _trim(poll: Poll, distance: Sequence[int], trim_ppm: int) -> tuple[int, ...]:
    budget = sum(poll.mass[one] for one in poll.group) * trim_ppm // PPM
    core = list(poll.group)
    for _, one in sorted(zip(distance, poll.group, strict=True), reverse=True):
        budget -= poll.mass[one]
        if budget < 0 or len(core) == 1:
            break
        core.remove(one)
    return tuple(core)


def _median_distances(sets: Sequence[tuple[Graph, tuple[int, ...], tuple[int, ...]]]) -> list[list[int]]:
    """`median_distances` of some vertices of each graph; sets of one size are one batch."""
    found: list[list[int]] = [[] for _ in sets]
    by_size: dict[int, list[int]] = {}
    for place, (_, _, vertices) in enumerate(sets):
        by_size.setdefault(len(vertices), []).append(place)
    for places in (places for size, places in by_size.items() if size):
        chosen = [sets[place] for place in places]
        cosine = np.stack([graph.cosine[np.ix_(vertices, vertices)] for graph, _, vertices in chosen])
        mass = np.array([[mass[one] for one in vertices] for _, mass, vertices in chosen], np.int64)
        for place, distance in zip(places, median_distances(cosine, mass).tolist(), strict=True):
            found[place] = distance
    return found


def _column(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, np.int64)


def _standing(vertices: IntArray, groups: Sequence[tuple[int, ...]]) -> BoolArray:
    """Whose vertex is in the prompt's group, ``(clients, prompts)``."""
    standing = np.zeros(vertices.shape, dtype=bool)
    for prompt, group in enumerate(groups):
        standing[:, prompt] = [one in group for one in vertices[:, prompt].tolist()]
    return standing
