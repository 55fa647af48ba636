"""The noise source is ChaCha20, gives no word twice, and cannot be seeded by accident."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest

from semfed_secure.crypto import stream as module
from semfed_secure.crypto.stream import ChaChaStream


def test_the_words_are_the_published_keystream() -> None:
    """RFC 8439 appendix A.1, test vectors 1 and 2: key zero, nonce zero, blocks 0 and 1."""
    block_0 = (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    block_1 = (
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )
    words = ChaChaStream(fixed_key_for_test_vectors=bytes(32)).words(16)
    assert words.dtype == np.uint64
    assert words.astype("<u8").tobytes().hex() == block_0 + block_1


@pytest.mark.parametrize("split", [(100,), (1, 99), (3, 5, 92), (0, 50, 0, 50)])
def test_how_words_are_asked_for_does_not_matter(split) -> None:
    """The stream is one sequence, in whatever portions."""
    whole = ChaChaStream(fixed_key_for_test_vectors=bytes(range(32))).words(100)
    stream = ChaChaStream(fixed_key_for_test_vectors=bytes(range(32)))
    assert np.array_equal(np.concatenate([stream.words(count) for count in split]), whole)


def test_portions_larger_than_a_chunk_continue_the_stream(monkeypatch) -> None:
    """Chunks are an implementation matter."""
    whole = ChaChaStream(fixed_key_for_test_vectors=bytes(32)).words(1_000)
    monkeypatch.setattr(module, "_CHUNK_WORDS", 7)
    assert np.array_equal(ChaChaStream(fixed_key_for_test_vectors=bytes(32)).words(1_000), whole)


def test_there_is_no_way_to_seed_it_by_accident() -> None:
    """No positional argument, no seed, and a fixed key only under its loud name."""
    assert list(inspect.signature(ChaChaStream).parameters) == ["fixed_key_for_test_vectors"]
    with pytest.raises(TypeError):
        ChaChaStream(bytes(32))
    with pytest.raises(ValueError, match="key"):
        ChaChaStream(fixed_key_for_test_vectors=b"short")
    first, second = ChaChaStream.from_system(), ChaChaStream.from_system()
    assert not np.array_equal(first.words(4), second.words(4))


def child_words(stream: ChaChaStream) -> bytes:
    """The next words as a forked child sees them; empty if it was refused."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, stream.words(8).tobytes())
        except RuntimeError:
            os._exit(3)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        words = pipe.read()
    os.waitpid(child, 0)
    return words


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking a process with threads, on purpose
def test_a_forked_child_takes_its_own_key() -> None:
    """Parent and children never give the same words, so no two processes add the same noise."""
    stream = ChaChaStream.from_system()
    stream.words(3)
    sequences = [child_words(stream), child_words(stream), stream.words(8).tobytes()]
    assert [len(words) for words in sequences] == [64, 64, 64]
    assert len(set(sequences)) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_descendant_under_a_used_process_id_takes_its_own_key(monkeypatch) -> None:
    """The system gives process ids out again, so the number of forks counts too."""
    monkeypatch.setattr(os, "getpid", lambda: 4_711)
    stream = ChaChaStream.from_system()
    sequences = [child_words(stream), stream.words(8).tobytes()]
    assert len(set(sequences)) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_stream_with_a_fixed_key_gives_nothing() -> None:
    """It could only repeat itself, so it refuses."""
    assert child_words(ChaChaStream(fixed_key_for_test_vectors=bytes(32))) == b""


def test_a_key_is_replaced_before_its_counter_can_wrap(monkeypatch) -> None:
    """After its share of words a new key follows; a fixed key refuses instead."""
    monkeypatch.setattr(module, "_WORDS_PER_KEY", 8)
    monkeypatch.setattr(module, "_CHUNK_WORDS", 8)
    fixed = ChaChaStream(fixed_key_for_test_vectors=bytes(32))
    fixed.words(8)
    with pytest.raises(RuntimeError, match="fixed key"):
        fixed.words(1)
    words = ChaChaStream.from_system().words(64)
    assert len(set(words.tolist())) == 64
