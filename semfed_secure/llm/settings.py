"""How a local model is adapted: which layers, how large, how fast it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class LocalSettings(BaseModel):
    """How a local model is adapted and how much of it is computed at once.

    Attributes:
        layers: Adapters sit in this many layers, counted from the top; the layers below are computed once per text.
        rank: Rank of each adapter.
        targets: Names of the adapted linear maps of a layer.
        private_rate: Learning rate of private training.
        label_rate: Learning rate of learning from pseudo-labels.
        label_epochs: Passes over the pseudo-labels.
        label_batch: Pseudo-labels per step.
        batch: Texts per forward pass; bounds memory.
        max_tokens: Of a longer question only the last tokens are read; bounds memory.
        threads: Threads of one process; 1 where processes share cores.
        state_cache: Absolute path of a directory that processes of one machine and user share, for the states of
            public prompts only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    layers: Count = 4
    rank: Count = 4
    targets: Annotated[tuple[str, ...], Field(strict=False)] = ("q_proj", "o_proj", "down_proj")
    private_rate: Rate = 0.03
    label_rate: Rate = 0.002
    label_epochs: Count = 8
    label_batch: Count = 64
    batch: Count = 64
    max_tokens: Count = 512
    threads: Count | None = None
    state_cache: Annotated[Path | None, Field(strict=False)] = None

    @field_validator("state_cache")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # A relative one would mean another directory in every process, and none of them shared.
        if path is not None and (not path.is_absolute() or "\0" in str(path)):
            raise ValueError("an absolute path is expected")
        return path
