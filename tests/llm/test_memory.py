"""Private training of many entities takes no more memory than that of few: each gradient lives for a moment."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from semfed_secure.llm import clipping
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.lessons import closed_lesson
from semfed_secure.llm.model import TrainingPlan
from semfed_secure.llm.questions import Wording
from semfed_secure.llm.split import SplitModel
from semfed_secure.llm.training import train_privately
from semfed_secure.units import Mechanism
from tests.llm import tiny

if TYPE_CHECKING:
    from semfed_secure.llm.reading import Reading
    from semfed_secure.llm.split import States

FEW, MANY = 64, 1024
ROOM = 64 << 20
"""Bytes by which the training of many may go above that of few; all their gradients at once take three times that."""
SETTINGS = tiny.SETTINGS.model_copy(update={"rank": 128})  # an adapter of 53 248 numbers
PLAN = TrainingPlan(Mechanism.DP_SGD, 1.0, 1.0, 1, 0.5, float(FEW))


def peak(entities: int) -> int:
    """Bytes that one step of private training adds to a process that has read the questions of so many entities."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(_added(entities)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        added = answer.read()
    os.waitpid(child, 0)
    return int(added)


def _added(entities: int) -> int:
    model = tiny.causal("llama")
    split, adapter = SplitModel(model, layers=SETTINGS.layers), LoraAdapter(model, SETTINGS)
    tiny.stir(adapter)

    def read(asked: Reading) -> States:
        with adapter.off():
            return split.states(asked.tokens, asked.active)

    rows = [(f"case {number}", ("card", "heart")[number % 2], number) for number in range(entities)]
    lessons = closed_lesson(Wording(tiny.tokenizer(), most=512), rows, ("card", "heart"), read)
    before = _most()
    train_privately(split, adapter, lessons, entities=entities, plan=PLAN, rate=0.1, progress=lambda done, total: None)
    return _most() - before


def _most() -> int:
    """The most memory that this process had at any time, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.fixture(scope="module")
def few() -> int:
    """What few entities take."""
    return peak(FEW)


def check_memory(few: int) -> None:
    """Fail if many entities take more room than few."""
    many = peak(MANY)
    assert many <= few + ROOM, (few, many)


def test_memory_does_not_grow_with_the_number_of_entities(few: int) -> None:
    """Sixteen times as many entities in a batch: the same peak, within a third of what their gradients take."""
    check_memory(few)


def test_all_gradients_at_once_are_noticed(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every entity's gradient kept until the last, the check fails."""
    monkeypatch.setattr(clipping, "_ROWS", 1 << 40)
    with pytest.raises(AssertionError):
        check_memory(few)
