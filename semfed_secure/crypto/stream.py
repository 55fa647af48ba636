"""A ChaCha20 keystream as random 64-bit words: the source of noise, never of convenience.

There is no seed and no state to set: a stream draws its 256-bit key from the operating system, and again in a forked
child, so that no two processes ever add the same noise. A fixed key is for test vectors only, and its constructor
says so.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from semfed_secure.crypto.private import Undisclosed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext
    from numpy.typing import NDArray

KEY_BYTES = 32
_WORD_BYTES = 8
_WORDS_PER_KEY = 1 << 32
"""A new key each 32 GiB: the 32-bit block counter of RFC 8439 would wrap after 256 GiB."""
_CHUNK_WORDS = 1 << 20
"""Zeros handed to the cipher at a time: 8 MiB bound what a large request holds besides its result."""


_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - a process has one number of forks behind it
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


def _this_process() -> tuple[int, int]:
    """Differs between a process and any descendant: process ids alone are used again."""
    return os.getpid(), _forks


class ChaChaStream(Undisclosed):
    """Unpredictable 64-bit words, from the ChaCha20 keystream (RFC 8439, nonce and first block zero).

    Words are uniform and independent to anyone without the key; no word is given twice, in this process or in one
    forked from it; a copy would give words twice and cannot be made. One stream belongs to one thread.
    """

    __slots__ = ("_cipher", "_fixed", "_process", "_words_left")

    def __init__(self, *, fixed_key_for_test_vectors: bytes | None = None) -> None:
        """A new key from the operating system, unless a fixed one is asked for by its loud name."""
        self._fixed = fixed_key_for_test_vectors is not None
        self._start(
            secrets.token_bytes(KEY_BYTES) if fixed_key_for_test_vectors is None else fixed_key_for_test_vectors
        )

    @classmethod
    def from_system(cls) -> ChaChaStream:
        """A stream under a new key from the operating system."""
        return cls()

    def words(self, n: int) -> NDArray[np.uint64]:
        """The next ``n`` words, shape ``(n,)``, read little-endian from the keystream.

        Raises:
            RuntimeError: A stream with a fixed key was forked or has given all its words.
        """
        out = np.empty(n, dtype="<u8")
        for start in range(0, n, _CHUNK_WORDS):
            count = min(_CHUNK_WORDS, n - start)
            self._refresh(count)
            keystream = self._cipher.update(bytes(count * _WORD_BYTES))
            out[start : start + count] = np.frombuffer(keystream, dtype="<u8")
        return out.astype(np.uint64, copy=False)

    def _refresh(self, count: int) -> None:
        """Take a new key in a child process, or when this one has given its share."""
        if self._process == _this_process() and self._words_left >= count:
            self._words_left -= count
            return
        if self._fixed:
            raise RuntimeError("a stream with a fixed key is neither forked nor refilled")
        self._start(secrets.token_bytes(KEY_BYTES))
        self._words_left -= count

    def _start(self, key: bytes) -> None:
        self._cipher: CipherContext = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._process = _this_process()
        self._words_left = _WORDS_PER_KEY
