"""The sentence embedder that opens the semantic space: pinned weights, local files, unit vectors."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.llm.files import directory_digest
from semfed_secure.llm.loading import find_model, missing_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from semfed_secure.ids import Digest

_BATCH = 64


class SentenceEmbedder:
    """Maps texts to unit vectors; equal texts are embedded once and get equal vectors."""

    def __init__(self, model: Any, *, directory: Path, weights_digest: Digest) -> None:
        """Wrap a sentence-transformers model that was loaded from ``directory``."""
        self._model, self._directory = model, directory
        self.name = directory.name
        self.weights_digest = weights_digest
        self.dimension = int(model.get_embedding_dimension())

    def __reduce__(self) -> tuple[Callable[..., SentenceEmbedder], tuple[str, Digest]]:
        """To another process goes only where the weights lie, and what their digest must be."""
        return _load_again, (str(self._directory), self.weights_digest)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One unit vector per text, float32 ``(texts, dimension)``."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return np.zeros((0, self.dimension), np.float32)
        with _one_thread():
            vectors = self._model.encode(
                distinct, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        place = {text: number for number, text in enumerate(distinct)}
        found: NDArray[np.float32] = np.asarray(vectors, np.float32)[[place[text] for text in texts]]
        return found


@dataclass(frozen=True, slots=True)
class EmbedderDescription:
    """What a manifest pins of an embedder."""

    name: str
    weights_digest: Digest
    dimension: int


def describe_embedder(source: str) -> EmbedderDescription:
    """Name, digest and dimension of an embedder, read from its files; it is loaded only if they do not say.

    Raises:
        ConfigurationError: as `load_embedder`.
    """
    directory = find_model(source)
    dimension = _pooled_dimension(directory)
    if dimension is None:
        loaded = load_embedder(source)
        return EmbedderDescription(loaded.name, loaded.weights_digest, loaded.dimension)
    return EmbedderDescription(directory.name, directory_digest(directory), dimension)


def _pooled_dimension(directory: Path) -> int | None:
    """The width of a plain encoder with one way of pooling; None for anything else."""
    try:
        modules = json.loads((directory / "modules.json").read_bytes())
        kinds = [module["type"].rpartition(".")[2] for module in modules]
        if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
            return None
        pooling = json.loads((directory / modules[1]["path"] / "config.json").read_bytes())
        ways = sum(value is True for key, value in pooling.items() if key.startswith("pooling_mode_"))
        return int(pooling["word_embedding_dimension"]) if ways == 1 else None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def load_embedder(source: str) -> SentenceEmbedder:
    """Load an embedder from a directory or a hub name; safetensors only, never remote code.

    Raises:
        ConfigurationError: SF131 it cannot be loaded; SF103 the extra ``[llm]`` is not installed.
    """
    directory = find_model(source)
    try:
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise missing_extra(error) from error
    try:
        digest = directory_digest(directory)
        model = SentenceTransformer(
            str(directory),
            device="cpu",
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ConfigurationError("SF131", f"cannot load the embedder {source}: {error}") from error
    return SentenceEmbedder(model, directory=directory, weights_digest=digest)


@lru_cache(maxsize=1)
def _load_again(directory: str, digest: Digest) -> SentenceEmbedder:
    embedder = load_embedder(directory)
    if embedder.weights_digest != digest:
        raise IntegrityError("SF521", "the weights of the embedder changed while a round was formed")
    return embedder


@contextmanager
def _one_thread() -> Iterator[None]:
    """How many threads work on a sum may change its last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
