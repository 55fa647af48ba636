"""What can be done to an exported log; the standard library alone, so that outside verifiers can be held to it too."""

from __future__ import annotations

import shutil
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def flip(path: Path, place: int) -> None:
    """Flip one bit of one byte."""
    raw = bytearray(path.read_bytes())
    raw[place % len(raw)] ^= 1
    path.write_bytes(raw)


def bundle(export: Path) -> Path:
    """The first bundle of entries, which is full."""
    return export / "tile" / "entries" / "000"


def items(path: Path) -> list[bytes]:
    """The entries of a bundle, each with its length."""
    data, found = path.read_bytes(), []
    while data:
        stop = 2 + int.from_bytes(data[:2], "big")
        found.append(data[:stop])
        data = data[stop:]
    return found


def with_items(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """Change the entries of the first bundle."""

    def corrupt(export: Path) -> None:
        bundle(export).write_bytes(b"".join(change(items(bundle(export)))))

    return corrupt


def last(export: Path, level: str) -> Path:
    """The partial tile at the end of a level."""
    return next(iter(sorted((export / "tile" / level).glob("*.p/*"))))


def exchange(one: Path, other: Path) -> None:
    """Swap two files."""
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def rewrite(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a checkpoint."""
    path.write_text("\n".join(change(path.read_text(encoding="utf-8").split("\n"))), encoding="utf-8")


def swapped(entries: list[bytes]) -> list[bytes]:
    """Entries 40 and 41 in each other's place."""
    return [*entries[:40], entries[41], entries[40], *entries[42:]]


def other_root(lines: list[str]) -> list[str]:
    """The checkpoint with the root of another tree, under the old signature."""
    return [*lines[:2], "A" * 43 + "=", *lines[3:]]


CORRUPTIONS: Mapping[str, Callable[[Path], None]] = MappingProxyType({
    "entry flipped": lambda export: flip(bundle(export), 60),
    "entry length flipped": lambda export: flip(bundle(export), 1),
    "entry dropped": with_items(lambda entries: [*entries[:40], *entries[41:]]),
    "entries swapped": with_items(swapped),
    "entry repeated": with_items(lambda entries: [*entries[:40], entries[39], *entries[41:]]),
    "entry inserted twice": with_items(lambda entries: [*entries[:40], entries[39], *entries[40:]]),
    "entries cut": lambda export: last(export, "entries").write_bytes(last(export, "entries").read_bytes()[:-1]),
    "end cut off": lambda export: last(export, "entries").write_bytes(b"".join(items(last(export, "entries"))[:-1])),
    "bundle dropped": lambda export: bundle(export).unlink(),
    "bundles swapped": lambda export: exchange(bundle(export), bundle(export).with_name("001")),
    "bundle repeated": lambda export: bundle(export).with_name("001").write_bytes(bundle(export).read_bytes()),
    "tile flipped": lambda export: flip(export / "tile" / "0" / "000", 8000),
    "upper tile flipped": lambda export: flip(last(export, "1"), 40),
    "tile cut": lambda export: last(export, "0").write_bytes(last(export, "0").read_bytes()[:-32]),
    "tile dropped": lambda export: (export / "tile" / "0" / "000").unlink(),
    "tiles swapped": lambda export: exchange(export / "tile" / "0" / "000", export / "tile" / "0" / "001"),
    "checkpoint root exchanged": lambda export: rewrite(export / "checkpoint", other_root),
    "checkpoint size flipped": lambda export: rewrite(
        export / "checkpoint", lambda lines: [lines[0], str(int(lines[1]) - 1), *lines[2:]]
    ),
    "checkpoint signature flipped": lambda export: rewrite(
        export / "checkpoint", lambda lines: [*lines[:4], lines[4][:-8] + "AAAA" + lines[4][-4:], *lines[5:]]
    ),
    "checkpoint cut": lambda export: rewrite(export / "checkpoint", lambda lines: lines[:4]),
    "checkpoint dropped": lambda export: (export / "checkpoint").unlink(),
})  # fmt: skip
"""By name. The export holds two full bundles and a part of a third at least."""


def corrupted(export: Path, name: str, place: Path) -> Path:
    """A copy of an export to which this was done."""
    copy = place / name.replace(" ", "-")
    shutil.copytree(export, copy)
    CORRUPTIONS[name](copy)
    return copy
