"""What a model must be able to do to take part: answer and score, and optionally be trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from semfed_secure.units import Mechanism

Progress = Callable[[int, int], None]
"""Called with ``(done, total)`` training steps; for display only."""


@dataclass(frozen=True, slots=True)
class Record:
    """One private example: what was asked, what the right answer is, and whose it is.

    ``entity_id`` names the person (or account) behind the record; it is the privacy unit and never leaves the
    site. ``completion`` may be empty where the record only carries a question (black-box voting). ``repr`` shows none
    of it.
    """

    entity_id: str = field(repr=False)
    prompt: str = field(repr=False)
    completion: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the accountant was told about a training run; the model must train exactly so.

    Every step takes each **entity** independently with probability ``sample_rate``, clips the sum of that
    entity's gradients to ``clip_norm``, adds Gaussian noise of ``noise_multiplier * clip_norm`` once, and divides
    by the public ``expected_entities``. An empty sample still takes its noise-only step. With
    `Mechanism.UNSAFE_NO_NOISE` the noise multiplier is 0 and nothing is guaranteed.
    """

    mechanism: Mechanism
    noise_multiplier: float
    sample_rate: float
    steps: int
    clip_norm: float
    expected_entities: float


@runtime_checkable
class Model(Protocol):
    """A language model that answers and scores, by whatever means (local weights, a service, a rule).

    The client sends it public prompts only, except under ``record_histogram``, where it also scores the site's
    own records: the model must then run inside the site's boundary.
    """

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """One text per prompt, in order; ``None`` abstains."""
        ...

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """How well each candidate continues each prompt: shape ``(prompts, candidates)``, higher is better.

        A row without a finite entry abstains. Log-likelihoods serve; only the order within a row is used.
        """
        ...


@runtime_checkable
class TokenModel(Model, Protocol):
    """A model that knows which candidates it cannot tell apart: the client never votes for one of them."""

    def alike(self, candidates: Sequence[str]) -> frozenset[int]:
        """Indexes of the candidates that are read as another one; this hangs on the candidates alone."""
        ...


@runtime_checkable
class TrainableModel(Model, Protocol):
    """A model whose adapter the client may train, keep and roll back.

    An adapter is a directory of files that the model writes and reads; the client names it, digests it, and decides
    which one is active. A fit starts from the active adapter and never writes into it.
    """

    def use_adapter(self, directory: Path | None) -> None:
        """Answer and score with this adapter from now on; ``None`` is the untrained model."""
        ...

    def fit_private(
        self,
        records: Sequence[Record],
        *,
        candidates: Sequence[str],
        plan: TrainingPlan,
        directory: Path,
        progress: Progress,
    ) -> None:
        """Train on private records exactly as ``plan`` says; write the new adapter into the empty ``directory``.

        A record whose completion is one of ``candidates`` (those of the round's prompt set) is a choice among them.
        """
        ...

    def fit_labels(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        *,
        candidates: Sequence[str],
        directory: Path,
        progress: Progress,
    ) -> None:
        """Train on public prompts with agreed pseudo-labels; write the new adapter into the empty ``directory``."""
        ...
