"""A local language model that answers, chooses, and learns under one LoRA adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from semfed_secure.errors import ConfigurationError
from semfed_secure.llm.adapter import LoraAdapter
from semfed_secure.llm.lessons import Lesson, closed_lesson, open_lesson
from semfed_secure.llm.loading import load_causal_model
from semfed_secure.llm.questions import Wording
from semfed_secure.llm.reading import Reading, StateReader
from semfed_secure.llm.split import SplitModel, verify_split
from semfed_secure.llm.training import train_on_labels, train_privately
from semfed_secure.llm.writing import write_greedily

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from semfed_secure.ids import Digest
    from semfed_secure.llm.model import Progress, Record, TrainingPlan
    from semfed_secure.llm.settings import LocalSettings


class LocalModel:
    """Weights of this machine as a `TrainableModel`.

    Nothing private outlives a call of `fit_private` but the adapter it writes. Scores and answers depend on weights,
    adapter and prompt alone, never on what else is asked in the same call (beyond rounding).
    """

    def __init__(
        self, source: str | Path, settings: LocalSettings, *, admit: Callable[[Digest], None] | None = None
    ) -> None:
        """Load the model at ``source``, once ``admit`` has accepted the digest of its files.

        Raises:
            ConfigurationError: SF131, SF132, SF103.
        """
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        loaded = load_causal_model(source, admit=admit)
        self.weights_digest: Digest = loaded.digest
        self._settings = settings
        self._wording = Wording(loaded.tokenizer, most=settings.max_tokens)
        self._split = verify_split(SplitModel(loaded.model, layers=settings.layers), loaded.model)
        self._adapter = LoraAdapter(loaded.model, settings)
        self._reader = StateReader(
            self._split, self._adapter, digest=loaded.digest, batch=settings.batch, share=settings.state_cache
        )

    def use_adapter(self, directory: Path | None) -> None:
        """Answer, score and learn from this adapter on; ``None`` is the untrained model.

        Raises:
            IntegrityError: SF531 if the adapter does not fit.
        """
        if directory is None:
            self._adapter.reset()
        else:
            self._adapter.load(directory)

    @torch.inference_mode()
    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        """Log-probability of each candidate among the candidates, ``(prompts, candidates)``.

        At each place where candidates part, the model chooses among the tokens that lead on to some of them: every
        row's probabilities sum to one, those that are `alike` counted once.
        """
        scores = torch.zeros(len(prompts), len(candidates))
        for fork in self._wording.forks(candidates) if prompts else ():
            rows = [(*self._wording.prompt(prompt), *fork.shared) for prompt in prompts]
            states = self._reader.public(Reading(tuple(rows), (1 + len(fork.shared),) * len(rows)))
            branches, tokens = torch.tensor(fork.branch), torch.tensor(fork.tokens)
            passing = branches >= 0
            for places in states.runs(torch.arange(len(prompts)), floats=len(tokens)):
                last = self._split.top(states.take(places))[:, -1]
                chosen = self._split.logits(last, tokens).log_softmax(1)
                scores[places[:, None], passing.nonzero().T] += chosen[:, branches[passing]]
        found: NDArray[np.float32] = scores.numpy()
        return found

    def alike(self, candidates: Sequence[str]) -> frozenset[int]:
        """Indexes of candidates that the tokenizer makes the same as another one."""
        return self._wording.alike(candidates)

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str | None]:
        """The most likely continuation of each prompt up to its first line's end; None where it is empty."""
        tokens = [self._wording.prompt(prompt) for prompt in prompts]
        written = write_greedily(
            self._adapter,
            self._split.head,
            tokens,
            wording=self._wording,
            max_new_tokens=max_new_tokens,
            batch=self._settings.batch,
        )
        return [text or None for text in written]

    def fit_private(
        self,
        records: Sequence[Record],
        *,
        candidates: Sequence[str],
        plan: TrainingPlan,
        directory: Path,
        progress: Progress,
    ) -> None:
        """Train with DP-SGD exactly as ``plan`` says, from the adapter in use; write the new one.

        Records whose completion is one of ``candidates`` are closed questions, the others open ones.

        Raises:
            ConfigurationError: SF104 without records; SF141 if the plan is not one that can be accounted.
        """
        if not records:
            raise ConfigurationError("SF104", "private records were expected, found none")
        owners = self._number_entities(records)
        lessons = self._lessons(
            [record.prompt for record in records],
            [record.completion for record in records],
            [owners[record.entity_id] for record in records],
            candidates,
            private=True,
        )
        train_privately(
            self._split,
            self._adapter,
            lessons,
            entities=len(owners),
            plan=plan,
            rate=self._settings.private_rate,
            progress=progress,
        )
        self._adapter.save(directory)

    def fit_labels(
        self,
        prompts: Sequence[str],
        labels: Sequence[str],
        *,
        candidates: Sequence[str],
        directory: Path,
        progress: Progress,
    ) -> None:
        """Train on public prompts with agreed pseudo-labels, from the adapter in use; write the new one."""
        train_on_labels(
            self._split,
            self._adapter,
            self._lessons(prompts, labels, [0] * len(prompts), candidates, private=False),
            rate=self._settings.label_rate,
            epochs=self._settings.label_epochs,
            batch=self._settings.label_batch,
            progress=progress,
        )
        self._adapter.save(directory)

    def _number_entities(self, records: Sequence[Record]) -> dict[str, int]:
        """Entities by number; those with short questions first, so that texts trained together need little padding."""
        ordered = sorted(records, key=lambda record: (len(record.prompt), record.entity_id))
        return {entity: number for number, entity in enumerate(dict.fromkeys(record.entity_id for record in ordered))}

    def _lessons(
        self,
        prompts: Sequence[str],
        answers: Sequence[str],
        owners: Sequence[int],
        candidates: Sequence[str],
        *,
        private: bool,
    ) -> list[Lesson]:
        read = self._reader.private if private else self._reader.public
        rows = list(zip(prompts, answers, owners, strict=True))
        closed = [row for row in rows if row[1] in set(candidates)]
        unsettled = [row for row in rows if row[1] not in set(candidates)]
        lessons = closed_lesson(self._wording, closed, candidates, read) if closed else []
        return lessons + ([open_lesson(self._wording, unsettled, read)] if unsettled else [])
