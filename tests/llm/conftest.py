"""Tiny models, written once a run; one thread, since tests share cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.split import SplitModel
from tests.llm import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny Llama."""
    return tiny.write_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(params=sorted(tiny.FAMILIES))
def pair(request: pytest.FixtureRequest) -> tuple[SplitModel, LoraAdapter]:
    """A split model of each family and its adapter, which changes something."""
    model = tiny.causal(request.param)
    adapter = LoraAdapter(model, tiny.SETTINGS)
    tiny.stir(adapter)
    return SplitModel(model, layers=tiny.SETTINGS.layers), adapter
