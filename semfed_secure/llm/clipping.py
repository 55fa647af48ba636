"""Each entity's own gradient of the adapter, clipped and summed, a few entities at a time.

An adapter is a set of linear maps without bias. The gradient of such a map's weight is a sum over tokens, of what the
loss says of the map's output times what the map was given. One ordinary pass forward and back therefore leaves
everything that the gradients of all questions need, and a product of two thin matrices makes each entity's own from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy import grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from semfed_secure.llm.lessons import Lesson
    from semfed_secure.llm.split import SplitModel

_TRACED, _ROWS = 1 << 25, 1 << 22  # floats at a time: of traces 134 MB, of gradients what a processor's cache holds


@dataclass(frozen=True, slots=True)
class _Trace:
    """What passes through an adapter leave, token by token.

    Attributes:
        owners: Whose token it is, int64 ``(tokens,)``.
        given: What each map was given, float32 ``(tokens, inputs)``.
        wanted: The gradient of the summed losses by what each map made of it, float32 ``(tokens, outputs)``.
    """

    owners: Tensor
    given: list[Tensor]
    wanted: list[Tensor]


def clipped_sum(
    split: SplitModel,
    maps: Sequence[nn.Linear],
    lessons: Sequence[Lesson],
    chosen: Tensor,
    clip_norm: float,
) -> grid.GridSum:
    """The sum of the chosen entities' clipped gradients, int64 ``(parameters,)`` in the order of ``maps``.

    The gradients of an entity's questions, of whatever lessons, are summed; that sum is scaled down to ``clip_norm`` if
    it is longer, and put on the grid of `privacy.grid`. Zero for nobody; an entity whose gradient is not finite adds
    nothing. Memory does not grow with the number of entities: it is bounded, or what one entity's own questions need.

    Raises:
        ConfigurationError: SF132 if a layer mixes questions; SF141 for ``clip_norm``.
    """
    total = np.zeros(sum(layer.weight.numel() for layer in maps), dtype=np.int64)
    for group in _groups(maps, lessons, chosen):
        traces = [
            _trace(split, maps, piece)
            for lesson in lessons
            for piece in lesson.pieces(split, torch.isin(lesson.owners, group).nonzero()[:, 0])
        ]
        if traces:
            for rows in _gradients(_joined(traces)):
                total += grid.clipped_sum([part.numpy() for part in rows], clip_norm)
    return total


def _groups(maps: Sequence[nn.Linear], lessons: Sequence[Lesson], chosen: Tensor) -> Sequence[Tensor]:
    """``chosen`` in runs whose traces fit; the last entity of a run may need more than is left."""
    each = sum(layer.in_features + layer.out_features for layer in maps)
    tokens = torch.zeros(1 + max([-1, *chosen.tolist(), *(int(lesson.owners.max()) for lesson in lessons)]))
    for lesson in lessons:
        tokens.index_add_(0, lesson.owners, lesson.states.active.float())
    run = torch.cumsum(tokens[chosen], 0) * each // _TRACED
    return torch.split(chosen, torch.unique_consecutive(run, return_counts=True)[1].tolist())


def _trace(split: SplitModel, maps: Sequence[nn.Linear], lesson: Lesson) -> _Trace:
    """One pass forward and back."""
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(layer: nn.Module, given: tuple[Tensor], made: Tensor) -> None:
        if layer in seen or given[0].shape[:2] != lesson.states.hidden.shape[:2]:
            raise ConfigurationError("SF132", "a layer of this model mixes the questions of a batch")
        seen[layer] = given[0].detach(), made

    hooks = [layer.register_forward_hook(note) for layer in maps]
    try:
        losses = lesson.losses(split)
    finally:
        for hook in hooks:
            hook.remove()
    # Asked for what left the maps and not for their weights, the backward pass computes no gradient of a batch.
    wanted = torch.autograd.grad(losses.sum(), [seen[layer][1] for layer in maps])
    own = torch.arange(lesson.states.hidden.shape[1]) < lesson.states.active[:, None]
    owners = lesson.owners[:, None].expand(own.shape)[own]
    return _Trace(owners, [seen[layer][0][own] for layer in maps], [each[own] for each in wanted])


def _joined(traces: Sequence[_Trace]) -> _Trace:
    """One trace of all, each entity's tokens one after another."""
    owners, order = torch.sort(torch.cat([trace.owners for trace in traces]), stable=True)
    given = [torch.cat(parts)[order] for parts in zip(*(trace.given for trace in traces), strict=True)]
    wanted = [torch.cat(parts)[order] for parts in zip(*(trace.wanted for trace in traces), strict=True)]
    return _Trace(owners, given, wanted)


def _gradients(trace: _Trace) -> Iterator[list[Tensor]]:
    """Of a few entities at a time, one row each: their gradients by every map, ``(entities, values)``.

    Entities with equally many tokens stand together, so that none of them is padded.
    """
    few = max(1, _ROWS // sum(given.shape[1] * wanted.shape[1] for given, wanted in _pairs(trace)))
    _, counts = torch.unique_consecutive(trace.owners, return_counts=True)
    starts = torch.cumsum(counts, 0) - counts
    for count in counts.unique():
        for first in torch.split(starts[counts == count], few):
            tokens = first[:, None] + torch.arange(int(count))
            yield [torch.bmm(wanted[tokens].mT, given[tokens]).flatten(1) for given, wanted in _pairs(trace)]


def _pairs(trace: _Trace) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(trace.given, trace.wanted, strict=True)
