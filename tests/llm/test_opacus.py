"""The clipped sum is the one that Opacus' hooks lead to: another implementation of each question's own gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from opacus.grad_sample import GradSampleHooks

from semfed_secure.llm.lessons import Lesson
from tests.llm import tiny
from tests.llm.test_training import CLIP, ENTITIES, World, world

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")


@pytest.fixture(params=sorted(tiny.FAMILIES))
def here(request: pytest.FixtureRequest) -> World:
    """Closed and open questions of five entities for a model of each family."""
    return world(request.param)


def by_hooks(here: World, clip: float) -> Tensor:
    """What Opacus keeps of each question, added per entity; what is longer than ``clip`` is scaled down; summed."""
    own = torch.zeros(ENTITIES, tiny.flat(here.adapter).numel())
    for lesson in here.lessons:
        own.index_add_(0, lesson.owners, _recorded(here, lesson))
    return (clip / own.norm(dim=1).clamp(min=clip)) @ own


def check_equal(here: World) -> None:
    """Fail unless both sums are one, where everybody is clipped, where some are, and where nobody is."""
    for clip in (CLIP / 100, CLIP, 10.0):
        found, right = here.clipped(clip=clip), by_hooks(here, clip)
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


def _recorded(here: World, lesson: Lesson) -> Tensor:
    """One row for each question."""
    model = here.adapter.model
    recording = GradSampleHooks(model, loss_reduction="sum", strict=False)
    for module in model.modules():  # Opacus records what is in training; nothing else of the model may be
        module.training = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    try:
        torch.autograd.backward(lesson.losses(here.split).sum())
        return torch.cat([parameter.grad_sample.flatten(1) for parameter in here.adapter.parameters], 1)
    finally:
        recording.cleanup()
        model.eval()
        for parameter in here.adapter.parameters:
            parameter.grad = parameter.grad_sample = None


def test_the_clipped_sum_is_that_of_opacus_hooks(here: World) -> None:
    """Each question's gradient by the hooks, summed per entity, clipped and added: the same sum, for every family."""
    check_equal(here)


def _of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question is clipped by itself."""
    inner = World.clipped

    def clipped(self: World, *, clip: float) -> Tensor:
        alone = [lesson.take(torch.tensor([row])) for lesson in self.lessons for row in range(len(lesson))]
        return sum(inner(World(self.split, self.adapter, (one,)), clip=clip) for one in alone)

    monkeypatch.setattr(World, "clipped", clipped)


def _of_longer_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that is summed over tokens in our sum, and averaged over them in the hooks'."""
    losses, clipped = Lesson.losses, World.clipped

    def summed(self: World, *, clip: float) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(Lesson, "losses", lambda own, split: losses(own, split) * (own.targets >= 0).sum(1))
            return clipped(self, clip=clip)

    monkeypatch.setattr(World, "clipped", summed)


@pytest.mark.parametrize("broken", [_of_records, _of_longer_losses])
def test_another_sum_is_not_that_of_the_hooks(broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Record instead of entity, another loss: the comparison fails for each."""
    found = world()
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        check_equal(found)
