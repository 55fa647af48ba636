"""What a fuzz target is, and the one rule that every target holds: a coded refusal, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from semfed_secure.errors import CATALOGUE, SemfedError

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent
CORPUS, CRASHES = FOLDER / "corpus", FOLDER / "crashes"


@dataclass(frozen=True, slots=True)
class Target:
    """One way into the product for bytes of a stranger.

    Attributes:
        name: Its folder in the corpus.
        run: Takes the bytes as the product would; raises what the product raises, `AssertionError` where a promise
            about what was accepted does not hold.
        seeds: Valid inputs, made anew each time, so that they follow the wire.
        longest: Inputs of the fuzzer stay below this many bytes.
        words: Pieces that a mutator may insert.
        tree: Whether inputs are CBOR, and worth changing as a tree.
    """

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]] = field(default=list)
    longest: int = 1024
    words: tuple[str, ...] = ()
    tree: bool = False

    def attempt(self, data: bytes) -> str | None:
        """The code with which ``data`` is refused, or None; every other exception is a defect and leaves."""
        try:
            self.run(data)
        except SemfedError as error:
            if error.code not in CATALOGUE:
                raise AssertionError(error.code) from error
            return error.code
        return None

    def attempt_only(self, data: bytes) -> None:
        """The same for a fuzzer, which takes no answer."""
        self.attempt(data)

    def corpus(self) -> list[bytes]:
        """Everything that is replayed: seeds, the corpus, and inputs that once were a defect."""
        folders = (CORPUS / self.name, CRASHES / self.name)
        files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
        return [*self.seeds(), *(path.read_bytes() for path in files)]
