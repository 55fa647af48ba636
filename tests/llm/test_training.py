"""DP-SGD as accounted: per-entity clipping, noise at its scale, every step counted; and broken variants are noticed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest
from torch.nn import functional

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm import clipping, training
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.lessons import Lesson, closed_lesson, open_lesson
from semfed_secure.llm.model import TrainingPlan
from semfed_secure.llm.questions import Wording
from semfed_secure.llm.split import SplitModel
from semfed_secure.llm.training import train_on_labels, train_privately
from semfed_secure.privacy import grid
from semfed_secure.units import Mechanism
from tests.llm import tiny

if TYPE_CHECKING:
    from collections.abc import Callable

    from semfed_secure.llm.reading import Reading
    from semfed_secure.llm.split import States

CLIP = 0.4
ENTITIES = 5
CANDIDATES = ("card", "cardiac", "car", "heart")
ROWS = (  # prompt, right answer, owner: owner 0 has three questions, owner 4 none
    ("his arm hurts", "heart", 0),
    ("he", "card", 0),
    ("a much longer question about the chest", "take the other one", 0),
    ("rest", "cardiac", 1),
    ("the time of it", "no", 2),
    ("x", "car", 2),
    ("and here", "a rather long answer that has more tokens than all the others", 3),
)
PLAN = TrainingPlan(Mechanism.DP_SGD, 1.5, 1.0, 1, CLIP, 4.0)


@dataclass(frozen=True)
class World:
    """A split model, its adapter, and lessons of both shapes."""

    split: SplitModel
    adapter: LoraAdapter
    lessons: tuple[Lesson, ...]

    def clipped(self, chosen: tuple[int, ...] = (0, 1, 2, 3, 4), *, clip: float = CLIP) -> torch.Tensor:
        """What the trainer sums."""
        found = training.clipped_sum(self.split, self.adapter.maps, self.lessons, torch.tensor(chosen), clip)
        return torch.from_numpy(grid.values_of(found, clip)).float()

    def one_by_one(self, chosen: tuple[int, ...] = (0, 1, 2, 3, 4), *, clip: float = CLIP) -> torch.Tensor:
        """The definition: each question alone through autograd; an entity's gradients summed, then clipped."""
        total = torch.zeros(tiny.flat(self.adapter).shape)
        for entity in chosen:
            own = torch.zeros_like(total)
            for lesson in self.lessons:
                for row in (lesson.owners == entity).nonzero()[:, 0]:
                    own += self._gradient(lesson.take(row[None]))
            total += own * min(1.0, clip / max(float(own.norm()), 1e-30))
        return total

    def _gradient(self, question: Lesson) -> torch.Tensor:
        hidden = self.split.top(question.states)[0]
        terms = []
        for state, target in zip(hidden, question.targets[0].tolist(), strict=True):
            if target >= 0:
                among = slice(None) if question.among is None else question.among
                terms.append(functional.cross_entropy(self.split.head.weight[among] @ state, torch.tensor(target)))
        found = torch.autograd.grad(torch.stack(terms).mean(), self.adapter.parameters)
        return torch.cat([piece.flatten() for piece in found])

    def train(self, plan: TrainingPlan = PLAN, *, rate: float = 0.1) -> None:
        """One private training."""
        train_privately(
            self.split,
            self.adapter,
            self.lessons,
            entities=ENTITIES,
            plan=plan,
            rate=rate,
            progress=lambda done, total: None,
        )


def world(family: str = "llama") -> World:
    """Lessons for a fresh model of a family, whose adapter changes something."""
    model = tiny.causal(family)
    split, adapter = SplitModel(model, layers=2), LoraAdapter(model, tiny.SETTINGS)
    tiny.stir(adapter)
    wording = Wording(tiny.tokenizer(), most=512)

    def read(reading: Reading) -> States:
        with adapter.off():
            return split.states(reading.tokens, reading.active)

    closed = [row for row in ROWS if row[1] in CANDIDATES]
    unsettled = [row for row in ROWS if row[1] not in CANDIDATES]
    lessons = (*closed_lesson(wording, closed, CANDIDATES, read), open_lesson(wording, unsettled, read))
    return World(split, adapter, lessons)


def check_clipped_sum(here: World) -> None:
    """Fail unless the sum is the definition's, for all entities and for some."""
    for clip in (CLIP, 10.0):
        for chosen in ((0, 1, 2, 3, 4), (0,), (2, 3)):
            found, right = here.clipped(chosen, clip=clip), here.one_by_one(chosen, clip=clip)
            torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_the_clipped_sum_is_one_by_one_autograd(family: str) -> None:
    """Closed and open lessons mixed: an entity's questions are summed, and that sum is clipped."""
    check_clipped_sum(world(family))


def test_the_maps_hold_all_that_is_trained(pair: tuple[SplitModel, LoraAdapter]) -> None:
    """Nothing that learns is left out of the clipping, and both lists stand in one order."""
    _, adapter = pair
    assert [id(layer.weight) for layer in adapter.maps] == [id(parameter) for parameter in adapter.parameters]
    assert all(layer.bias is None for layer in adapter.maps)


@pytest.mark.parametrize("floats", [1, 9000, 60000])
def test_small_pieces_change_nothing(floats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little memory a pass may take, the sum is the same."""
    monkeypatch.setattr("semfed_secure.llm.split._FLOATS", floats)
    monkeypatch.setattr(clipping, "_TRACED", floats)
    monkeypatch.setattr(clipping, "_ROWS", floats)
    check_clipped_sum(world())


def _unclipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def unclipped(parts: list[np.ndarray], clip_norm: float) -> grid.GridSum:
        return np.rint(np.concatenate([part.sum(0) for part in parts]) * (grid.UNITS / clip_norm)).astype(np.int64)

    monkeypatch.setattr(grid, "clipped_sum", unclipped)


def _per_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clip each question: an entity with three then counts three times."""
    sums = training.clipped_sum

    def one_at_a_time(split, maps, lessons, chosen, clip_norm):
        alone = [lesson.take(torch.tensor([row])) for lesson in lessons for row in range(len(lesson))]
        return sum(sums(split, maps, [question], chosen, clip_norm) for question in alone)

    monkeypatch.setattr(training, "clipped_sum", one_at_a_time)


def _batch_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Average over the tokens of the batch, as a model's own loss does: questions then depend on one another."""
    losses = Lesson.losses

    def averaged(self, split):
        counted = (self.targets >= 0).sum(1)
        return losses(self, split) * counted * len(self) / counted.sum()

    monkeypatch.setattr(Lesson, "losses", averaged)


@pytest.mark.parametrize("broken", [_unclipped, _per_record, _batch_averaged])
def test_broken_sums_are_noticed(broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """No clipping, record instead of entity, batch-averaged loss: the check fails for each."""
    here = world()
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        check_clipped_sum(here)


@pytest.fixture(scope="module")
def shared() -> World:
    """A world whose adapter tests may overwrite."""
    return world()


SCALES = (0.0, 1e-20, 1e-3, 1.0, 30.0, 1e8, 1e18, 1e30, math.inf, math.nan)
hostile_case = given(
    scale=st.sampled_from(SCALES),
    target=st.sampled_from(["adapter", "hidden", "keys_values"]),
    owner=st.integers(0, ENTITIES - 1),
)
few_examples = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def hostile(shared: World, scale: float, target: str, owner: int) -> World:
    """A world in which one owner's questions, or the adapter, are far from what a model ever sees."""
    tiny.stir(shared.adapter, scale=scale if target == "adapter" else 0.2)
    return replace(shared, lessons=tuple(_poisoned(lesson, owner, target, scale) for lesson in shared.lessons))


@few_examples
@hostile_case
def test_no_entity_counts_with_more_than_the_clipping_norm(
    shared: World, scale: float, target: str, owner: int
) -> None:
    """Whatever a question holds and however large its gradient: infinite, undefined, overflowing or vanishing."""
    counted: list[int] = []
    sums = grid.clipped_sum

    def one_by_one(rows: list[np.ndarray], clip_norm: float) -> grid.GridSum:
        alone = [sums([part[place : place + 1] for part in rows], clip_norm) for place in range(len(rows[0]))]
        counted.extend(sum(int(value) ** 2 for value in each) for each in alone)
        return sum(alone)

    here = hostile(shared, scale, target, owner)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "clipped_sum", one_by_one)
        assert bool(here.clipped().isfinite().all())
    assert len(counted) == 4  # the fifth has no question
    assert max(counted) <= grid.UNITS**2


@few_examples
@hostile_case
def test_no_entity_moves_the_sum_further_than_the_clipping_norm(
    shared: World, scale: float, target: str, owner: int
) -> None:
    """With and without an entity, the sums lie no further apart: nobody's gradient depends on who else is there.

    Rounding does, and attention over keys of 10^8 makes much of it: no model has such keys, and they are left out.
    """
    assume(target != "keys_values" or not 30 < scale < math.inf)
    here = hostile(shared, scale, target, owner)
    everyone = here.clipped()
    for entity in {owner, 0}:
        others = here.clipped(tuple(other for other in range(ENTITIES) if other != entity))
        distance = float((everyone - others).norm())
        assert distance <= CLIP


def _poisoned(lesson: Lesson, owner: int, target: str, scale: float) -> Lesson:
    """The lesson with one owner's states multiplied."""
    if target == "adapter":
        return lesson
    states, mine = lesson.states, lesson.owners == owner
    if target == "hidden":
        hidden = torch.where(mine[:, None, None], states.hidden * scale, states.hidden)
        return replace(lesson, states=replace(states, hidden=hidden))
    tokens = torch.repeat_interleave(mine, states.lengths)
    keys_values = torch.where(tokens[:, None, None, None], states.keys_values * scale, states.keys_values)
    return replace(lesson, states=replace(states, keys_values=keys_values))


def test_a_hostile_entity_silences_nobody_else(shared: World) -> None:
    """An undefined gradient adds nothing itself and leaves the others' as they are."""
    tiny.stir(shared.adapter)
    hostile = replace(shared, lessons=tuple(_poisoned(lesson, 0, "hidden", math.nan) for lesson in shared.lessons))
    torch.testing.assert_close(hostile.clipped(), shared.one_by_one((1, 2, 3, 4)), rtol=1e-3, atol=1e-4)


def released(here: World, monkeypatch: pytest.MonkeyPatch, plan: TrainingPlan) -> list[torch.Tensor]:
    """What each step hands to the optimizer, times the public divisor: the clipped sum and its noise."""
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(training, "_step", lambda _o, _p, gradient, _r: seen.append(gradient * plan.expected_entities))
    here.train(plan)
    return seen


def check_noise(here: World, monkeypatch: pytest.MonkeyPatch, plan: TrainingPlan = PLAN) -> None:
    """Fail unless what is added to the clipped sum is normal with noise_multiplier * clip_norm."""
    clean = here.one_by_one(clip=plan.clip_norm)
    noise = torch.cat([total - clean for total in released(here, monkeypatch, plan)]).double().numpy()
    scaled = noise / (plan.noise_multiplier * plan.clip_norm)
    low, high = chi2.ppf([1e-7, 1 - 1e-7], len(scaled))
    assert low < float(np.square(scaled).sum()) < high
    assert kstest(scaled, "norm").pvalue > 1e-7


@pytest.mark.parametrize(("noise", "clip"), [(1.5, CLIP), (0.7, 2.0)])
def test_noise_has_the_planned_scale(noise: float, clip: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaussian, with the noise multiplier times the clipping norm, once per step, over every parameter."""
    check_noise(world(), monkeypatch, replace(PLAN, noise_multiplier=noise, clip_norm=clip, steps=8))


def _halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "GridNoise", lambda multiplier: grid.GridNoise(multiplier / 2))


def _repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """One value for all parameters."""
    draw = grid.DiscreteGaussian.draw
    monkeypatch.setattr(grid.DiscreteGaussian, "draw", lambda self, count: np.repeat(draw(self, 1), count))


@pytest.mark.parametrize("broken", [_halved, _repeated])
def test_broken_noise_is_noticed(broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the noise, and the same noise everywhere: the check fails for each."""
    broken(monkeypatch)
    with pytest.raises(AssertionError):
        check_noise(world(), monkeypatch, replace(PLAN, steps=8))


def test_noise_comes_from_the_system_and_from_no_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings after the same seeds of every library release different values."""
    here, totals = world(), []
    for _ in range(2):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002 - the old global seed is the one that a caller could set
        totals += released(here, monkeypatch, PLAN)
    assert not torch.isclose(totals[0], totals[1], rtol=0, atol=1e-7).any()


def test_an_empty_batch_is_a_step_of_noise_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is drawn: the step releases pure noise and is one of the planned steps all the same."""
    here, plan = world(), replace(PLAN, sample_rate=1e-9, steps=9)
    totals = released(here, monkeypatch, plan)
    assert len(totals) == plan.steps
    values = torch.cat(totals).double().numpy() / (plan.noise_multiplier * plan.clip_norm)
    assert kstest(values, "norm").pvalue > 1e-7
    before = tiny.flat(here.adapter)
    monkeypatch.undo()
    done: list[int] = []
    train_privately(
        here.split,
        here.adapter,
        here.lessons,
        entities=ENTITIES,
        plan=plan,
        rate=0.1,
        progress=lambda step, _total: done.append(step),
    )
    assert done == list(range(1, 10))
    assert (tiny.flat(here.adapter) - before).abs().min() > 0


def test_each_step_draws_each_entity_at_the_planned_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are those of the Poisson sampler, over entities and not over questions."""
    asked: list[tuple[int, float]] = []
    draw = training.PoissonBatches.draw
    monkeypatch.setattr(
        training.PoissonBatches,
        "draw",
        lambda self, count, rate: asked.append((count, rate)) or draw(self, count, rate),
    )
    released(world(), monkeypatch, replace(PLAN, sample_rate=0.25, steps=3))
    assert asked == [(ENTITIES, 0.25)] * 3


def test_the_divisor_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum is divided by the expected number of entities, not by how many were drawn."""
    here, seen = world(), []
    monkeypatch.setattr(training, "_step", lambda _o, _p, gradient, _r: seen.append(gradient))
    here.train(TrainingPlan(Mechanism.UNSAFE_NO_NOISE, 0.0, 1.0, 1, CLIP, 40.0))
    torch.testing.assert_close(seen[0], here.one_by_one() / 40, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"noise_multiplier": 0.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": -1.0},
        {"clip_norm": 0.0},
        {"clip_norm": math.inf},
        {"sample_rate": 0.0},
        {"sample_rate": 1.5},
        {"steps": 0},
        {"expected_entities": 0.0},
        {"expected_entities": math.nan},
        {"mechanism": Mechanism.UNSAFE_NO_NOISE},
    ],
)
def test_a_plan_that_cannot_be_accounted_trains_nothing(change: dict[str, object]) -> None:
    """No noise under a mechanism that promises some, undefined or empty figures: SF141, the adapter as it was."""
    here = world()
    before = tiny.flat(here.adapter)
    with pytest.raises(ConfigurationError) as caught:
        here.train(replace(PLAN, **change))
    assert caught.value.code == "SF141"
    assert torch.equal(tiny.flat(here.adapter), before)


def test_a_layer_that_mixes_questions_is_refused() -> None:
    """Where a map sees all tokens in one row, per-question gradients do not exist: SF132."""
    here = world()
    layer = here.split._stack[-1].mlp
    inner = layer.forward
    layer.forward = lambda x: inner(x.reshape(1, -1, x.shape[-1])).view_as(x)
    with pytest.raises(ConfigurationError) as caught:
        here.clipped()
    assert caught.value.code == "SF132"


def loss(here: World) -> float:
    """Mean loss over all questions."""
    with torch.no_grad():
        return float(torch.cat([lesson.losses(here.split) for lesson in here.lessons]).mean())


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
def test_the_new_adapter_is_the_mean_of_the_last_half_of_the_steps(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded up, so that a single step counts too."""
    here, seen = world(), []
    inner = training._step
    monkeypatch.setattr(training, "_step", lambda *given: (inner(*given), seen.append(tiny.flat(here.adapter))))
    here.train(replace(PLAN, steps=steps))
    torch.testing.assert_close(tiny.flat(here.adapter), torch.stack(seen[steps // 2 :]).mean(0))


def test_private_training_learns_without_noise_and_with_little() -> None:
    """Twenty steps lower the loss, whether the noise is absent or small."""
    for mechanism, noise in ((Mechanism.UNSAFE_NO_NOISE, 0.0), (Mechanism.DP_SGD, 0.01)):
        here = world()
        before = loss(here)
        here.train(TrainingPlan(mechanism, noise, 1.0, 20, 1.0, 4.0), rate=0.05)
        assert loss(here) < 0.8 * before


def test_dropout_of_the_base_model_stays_off() -> None:
    """The base model is trained as it answers: what a configuration says of dropout adds no randomness."""
    here = world()
    here.split._inner.config.attention_dropout = 0.9
    for layer in here.split._stack:
        layer.self_attn.attention_dropout = 0.9
    torch.testing.assert_close(here.clipped(), here.clipped(), rtol=0, atol=0)


def test_labels_are_learnt_and_the_same_labels_give_the_same_adapter() -> None:
    """Plain steps lower the loss; no randomness but the fixed order enters."""
    ends = []
    for _ in range(2):
        here = world()
        before = loss(here)
        train_on_labels(
            here.split, here.adapter, here.lessons, rate=0.02, epochs=10, batch=3, progress=lambda done, total: None
        )
        assert loss(here) < 0.7 * before
        ends.append(tiny.flat(here.adapter))
    assert torch.equal(*ends)
