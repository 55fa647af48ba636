"""Change one place of a CBOR tree and encode it again, so that changes survive strict decoding.

By `cbor2` alone: what is under test is neither needed here, nor slowed down by its instruments.
"""

from __future__ import annotations

from random import Random
from typing import Any

import cbor2

_TAG_98 = b"\xd8\x62"
_PLAIN = (int, float, str, bytes, type(None))
_MOST_ITEMS = 20_000
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 23, 24, 255, 256, 1_000, 20_000, 32_767, 32_768, 65_535, 1_000_000, 1_000_001,
    253_402_300_799_999, 253_402_300_800_000, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -(2**63), -(2**64),
    b"", b"\0", bytes(31), bytes(32), bytes(33), b"\xff" * 64, bytes(300), "", "a", "\0", "\n", "é", "\u202e",
    "0", "1.5", "Infinity", "NaN", "1e9", "sha256:" + "0" * 64, "SF310", "x" * 64, "x" * 300, "votes", "text",
    "embedding", [], {}, [0], [b""], {0: 0}, {"a": "b"},
)  # fmt: skip


def mutate_tree(data: bytes, seed: int) -> bytes | None:
    """``data`` with one to three changes in its tree; None if it is no CBOR that we read."""
    prefix = _TAG_98 if data.startswith(_TAG_98) else b""
    random = Random(seed)
    try:
        tree: Any = cbor2.loads(data[len(prefix) :])
        _check_plain(tree)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            tree = _changed(tree, random, 0)
        return prefix + cbor2.dumps(tree, canonical=True)
    except (ValueError, TypeError, RecursionError, EOFError, cbor2.CBORError):
        return None


def _check_plain(tree: Any) -> None:
    """Refuse trees that `cbor2` encodes in exponential time: containers as keys, and parts shared many times over."""
    waiting, seen = [tree], 0
    while waiting:
        value, seen = waiting.pop(), seen + 1
        if seen > _MOST_ITEMS:
            raise ValueError("more items than any message has")
        if isinstance(value, dict) and all(isinstance(key, int | str) for key in value):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif not isinstance(value, _PLAIN):
            raise ValueError("no tree that this protocol reads")


def _changed(value: Any, random: Random, depth: int) -> Any:
    """``value`` changed here or somewhere below."""
    if isinstance(value, dict | list) and value and random.random() < 0.85:
        return _changed_below(value, random, depth)
    if isinstance(value, bytes) and depth < 8 and random.random() < 0.7:
        nested = mutate_tree(value, random.getrandbits(32))
        if nested is not None:
            return nested
    return _changed_here(value, random)


def _changed_below(value: Any, random: Random, depth: int) -> Any:
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    place = random.choice(list(copy)) if isinstance(copy, dict) else random.randrange(len(copy))
    act = random.random()
    if act < 0.08:
        del copy[place]
    elif act < 0.14:
        other = random.choice(list(copy)) if isinstance(copy, dict) else random.randrange(len(copy))
        copy[place], copy[other] = copy[other], copy[place]
    elif act < 0.20 and isinstance(copy, list):
        copy[place:place] = [copy[place]] * random.choice((1, 1, 2, 20))
    elif act < 0.20 and all(isinstance(key, int) for key in copy):
        copy[random.randrange(24)] = copy[place]
    else:
        copy[place] = _changed(copy[place], random, depth + 1)
    return copy


def _changed_here(value: Any, random: Random) -> Any:
    if random.random() < 0.4:
        return random.choice(_VALUES)
    if isinstance(value, bool) or value is None:
        return random.choice(_VALUES)
    if isinstance(value, int):
        return value + random.choice((-1, 1, -256, 256, random.getrandbits(40)))
    if isinstance(value, str):
        return _spliced(value.encode("utf-8", "replace"), random).decode("utf-8", "ignore")
    return _spliced(value, random) if isinstance(value, bytes) else random.choice(_VALUES)


def _spliced(value: bytes, random: Random) -> bytes:
    start = random.randrange(len(value) + 1)
    stop = min(len(value), start + random.choice((0, 0, 1, 1, 2, 8, 32)))
    return value[:start] + random.randbytes(random.choice((0, 1, 1, 1, 2, 8))) + value[stop:]
