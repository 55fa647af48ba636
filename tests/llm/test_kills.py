"""A training that is killed leaves nothing; the next one starts over and releases as many noisy sums as were paid for.

What is charged is one whole run, before its first step. Nothing of a killed attempt is kept or seen, so that what is
ever seen of the records is one run, and no step's noise is seen in two outcomes.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import torch

from semfed_secure.llm import local, training
from semfed_secure.llm.model import Record, TrainingPlan
from semfed_secure.units import Mechanism
from tests.llm import tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from semfed_secure.llm.local import LocalModel

STEPS = 4
PLAN = TrainingPlan(Mechanism.DP_SGD, 0.5, 0.5, STEPS, 0.5, 3.0)
RECORDS = tuple(Record(f"patient {number}", f"case {number}:", "lung") for number in range(6))


def killed_at(step: int, model: LocalModel, directory: Path) -> bool:
    """Whether a process that trains into ``directory`` is killed as soon as ``step`` is done."""

    def progress(done: int, total: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            model.fit_private(RECORDS, candidates=("lung",), plan=PLAN, directory=directory, progress=progress)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def check_kills(model: LocalModel, directory: Path) -> None:
    """Fail unless kills at every step leave nothing to go on from, and the last run is a whole one of its own."""
    base = tiny.flat(model._adapter)
    for step in range(1, STEPS + 1):
        assert killed_at(step, model, directory)
        assert list(directory.iterdir()) == []
    released: list[torch.Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        inner = training._step
        patch.setattr(training, "_step", lambda *given: (released.append(tiny.flat(model._adapter)), inner(*given)))
        model.fit_private(
            RECORDS, candidates=("lung",), plan=PLAN, directory=directory, progress=lambda done, total: None
        )
    assert len(released) == PLAN.steps
    assert torch.equal(released[0], base)


def test_a_killed_training_leaves_nothing_and_starts_over(llama: Path, tmp_path: Path) -> None:
    """Killed after each of its steps in turn: no file is left, and the run that ends takes just the planned steps."""
    check_kills(tiny.local(llama), tmp_path)


def _goes_on(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes on from the adapter of the last step, and takes all steps again: more noisy sums than were paid for."""
    inner, kept = training._step, {}

    def keep(*given):
        inner(*given)
        model._adapter.save(kept["directory"])

    def resumed(*given, **named):
        if any(kept["directory"].iterdir()):
            model._adapter.load(kept["directory"])
        training.train_privately(*given, **named)

    fit = model.fit_private
    monkeypatch.setattr(training, "_step", keep)
    monkeypatch.setattr(local, "train_privately", resumed)
    monkeypatch.setattr(
        model, "fit_private", lambda *given, **named: (kept.update(directory=named["directory"]), fit(*given, **named))
    )


def _shows_steps(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes down each released sum: a step that is taken again is then seen with two draws of noise."""
    inner, fit, kept = training._step, model.fit_private, {}

    def show(optimizer, parameters, gradient, rate):
        torch.save(gradient, kept["directory"] / "released.pt")
        inner(optimizer, parameters, gradient, rate)

    monkeypatch.setattr(training, "_step", show)
    monkeypatch.setattr(
        model, "fit_private", lambda *given, **named: (kept.update(directory=named["directory"]), fit(*given, **named))
    )


@pytest.mark.parametrize("broken", [_goes_on, _shows_steps])
def test_noise_drawn_twice_on_resume_is_noticed(
    broken: Callable[..., None], llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going on from a killed attempt with all steps, or showing its sums: the check fails for each."""
    model = tiny.local(llama)
    broken(model, monkeypatch)
    with pytest.raises(AssertionError):
        check_kills(model, tmp_path)
