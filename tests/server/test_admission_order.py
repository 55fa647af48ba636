"""Admission as a list: each defect fails at its own number, and of two the lower one is told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.server.defects import DEFECTS, Defect, with_defects
from tests.server.judging import TEXT, VOTES, judge, refused

IN_TEXTS_ALONE = 15
NEVER_OF_TEXTS = 9
"""What is opened is what stands: a second contribution fails at step 4 there."""


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=lambda defect: f"step-{defect.step:02d}-{defect.name}")
def test_each_defect_fails_at_its_own_step(defect: Defect) -> None:
    """Everything else about the contribution is honest, so nothing but this step can refuse it."""
    context = TEXT if defect.step == IN_TEXTS_ALONE else VOTES
    assert refused(*with_defects([defect], context)) == f"SF3{defect.step:02d}"
    assert judge(*with_defects([], context))


@pytest.mark.parametrize("first", sorted(DEFECTS), ids=lambda step: f"step-{step:02d}")
def test_of_two_defects_the_lower_step_is_told(first: int) -> None:
    """Whatever else is wrong further down, nobody learns of it: no step is done before those above it."""
    for second in range(first + 1, IN_TEXTS_ALONE):
        pair = DEFECTS[first], DEFECTS[second]
        assert refused(*with_defects(pair, VOTES)) == f"SF3{first:02d}", pair
    if first not in {NEVER_OF_TEXTS, IN_TEXTS_ALONE}:
        assert refused(*with_defects((DEFECTS[first], DEFECTS[IN_TEXTS_ALONE]), TEXT)) == f"SF3{first:02d}"


def test_with_every_defect_at_once_the_first_is_told_and_then_the_next() -> None:
    """Mended from the top, step by step, the same contribution fails at each number in turn."""
    for first in range(1, IN_TEXTS_ALONE):
        left = [DEFECTS[step] for step in range(first, IN_TEXTS_ALONE)]
        assert refused(*with_defects(left, VOTES)) == f"SF3{first:02d}"


def test_every_step_has_a_test_that_bears_its_number() -> None:
    """Fifteen steps, fifteen defects, and tests named after each."""
    assert sorted(DEFECTS) == list(range(1, 16))
    here = Path(__file__).parent
    tests = "".join((here / f"test_admission_{part}.py").read_text() for part in ("sender", "content"))
    for step in DEFECTS:
        assert f"\ndef test_step_{step:02d}_" in tests
    names = [defect.name for defect in DEFECTS.values()]
    assert all(left != right for left, right in itertools.combinations(names, 2))
