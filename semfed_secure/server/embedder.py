"""What the server asks of a sentence embedder; the votes path needs none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from semfed_secure.ids import Digest


class Embedder(Protocol):
    """Maps texts to directions; the manifest pins which one by ``weights_digest``."""

    @property
    def name(self) -> str:
        """What it is called in manifests."""
        ...

    @property
    def weights_digest(self) -> Digest:
        """SHA-256 over its weights."""
        ...

    @property
    def dimension(self) -> int:
        """Length of its vectors."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row per text, ``(len(texts), dimension)``."""
        ...
