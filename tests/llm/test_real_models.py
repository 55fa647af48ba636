"""The real small models: what holds for random ones holds for them, and they know a little of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from semfed_secure.demo.weights import CATALOGUE, cache_directory
from semfed_secure.llm.embedding import load_embedder
from semfed_secure.llm.local import LocalModel
from semfed_secure.llm.model import Record, TrainingPlan
from semfed_secure.llm.settings import LocalSettings
from semfed_secure.units import Mechanism
from tests.llm import tiny
from tests.llm.test_split import naive

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models

CAPITALS = {"France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid"}
LONG = (
    "The patient was seen again and the wound had healed. " * 60
)  # beyond the 512 tokens that Gemma's layers look back


def prepared(name: str) -> Path:
    """The directory of a prepared model; tests download nothing."""
    directory = cache_directory() / "models" / f"{name}-{CATALOGUE[name].payload_sha256[:12]}"
    if not directory.is_dir():
        pytest.skip(f"{name} is not prepared: run `make test` or set SEMFED_CACHE")
    return directory


@pytest.fixture(scope="module", params=["smollm2-135m", "gemma-3-270m"])
def model(request: pytest.FixtureRequest) -> LocalModel:
    """A real model with the settings of the examples."""
    return LocalModel(prepared(request.param), LocalSettings(threads=1))


def test_it_knows_capitals(model: LocalModel) -> None:
    """The untrained model picks the right city for three of four countries at least, and writes one."""
    model.use_adapter(None)
    prompts = [f"Question: What is the capital of {country}?\nAnswer:" for country in CAPITALS]
    cities = tuple(CAPITALS.values())
    scores = model.score(prompts, cities)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, rtol=1e-4)
    assert sum(cities[place] == city for place, city in zip(scores.argmax(1), cities, strict=True)) >= 3
    written = model.answer(["The capital city of France is called"], max_new_tokens=4)
    assert written[0] is not None
    assert "Paris" in written[0]


@torch.no_grad()
def test_split_is_the_whole_model(model: LocalModel) -> None:
    """Short and long texts in one batch, with an adapter that changes something."""
    tiny.stir(model._adapter, scale=0.02)
    wording, split = model._wording, model._split
    texts = [wording.prompt(text) for text in ("Hello", "A short text about hearts", LONG)]
    active = [1, 3, 9]
    with model._adapter.off():
        states = split.states(texts, active)
    found = split.logits(split.top(states))
    for place, (tokens, count) in enumerate(zip(texts, active, strict=True)):
        right = naive(model._adapter, tokens, count)
        torch.testing.assert_close(found[place, :count], right, rtol=0, atol=1e-3 * float(right.abs().max()))


def test_private_training_teaches_a_rule(model: LocalModel, tmp_path: Path) -> None:
    """A few steps without noise lift the probability of what the records say."""
    model.use_adapter(None)
    prompts = [f"Ticket {number}: the {thing} is broken\nDesk:" for number, thing in enumerate(["lamp", "door"] * 6)]
    records = [
        Record(f"e{place}", prompt, "north" if "lamp" in prompt else "south") for place, prompt in enumerate(prompts)
    ]
    desks = ("north", "south")
    truth = [desks.index(record.completion) for record in records]
    before = model.score(prompts, desks)[range(12), truth].mean()
    plan = TrainingPlan(Mechanism.UNSAFE_NO_NOISE, 0.0, 1.0, 12, 1.0, 12.0)
    model.fit_private(records, candidates=desks, plan=plan, directory=tmp_path, progress=lambda done, total: None)
    after = model.score(prompts, desks)
    assert after[range(12), truth].mean() > before + 0.2
    assert (after.argmax(1) == truth).all()


def test_the_embedder_tells_meanings_apart() -> None:
    """Two ways to say one thing are nearer than two things said in one way."""
    embedder = load_embedder(str(prepared("all-minilm-l6-v2")))
    assert embedder.dimension == 384
    one, other, else_ = embedder.embed(
        ["High blood pressure harms the heart.", "Hypertension damages the heart.", "High interest harms the economy."]
    )
    assert one @ other > one @ else_ + 0.2
