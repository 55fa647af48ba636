"""Decisions taken from bytes: the same bytes, the same decisions, with or without a fuzzer around."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Draw:
    """Reads one input from its front; what is drawn beyond its end is zero."""

    def __init__(self, data: bytes) -> None:
        """Start at the first byte."""
        self._data, self._place = data, 0

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self._place >= len(self._data)

    def octets(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        taken = self._data[self._place : self._place + size]
        self._place += size
        return taken.ljust(size, b"\0")

    def below(self, bound: int) -> int:
        """An integer of 0 to ``bound`` - 1, from one byte, or more where one is too small."""
        return int.from_bytes(self.octets(((bound - 1).bit_length() + 7) // 8), "big") % bound

    def one_of(self, choices: Sequence[T]) -> T:
        """One of ``choices``; the first where nothing is left."""
        return choices[self.below(len(choices))]

    def some(self, longest: int = 64) -> bytes:
        """A run of bytes whose length is drawn first."""
        return self.octets(self.below(longest + 1))

    def text(self, longest: int = 64) -> str:
        """Text out of drawn bytes."""
        return self.some(longest).decode("utf-8", errors="ignore")
