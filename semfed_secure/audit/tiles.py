"""The log as C2SP tlog-tiles: the bytes of each tile and entry bundle, their names, and an export as static files.

Level 0 holds the hashes of entries, level 1 those of full tiles of level 0, and so on, 256 to a tile. Entry bundles
hold the entries themselves, each after its length in two bytes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.merkle import HASH_BYTES
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.storage import Transaction, log_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TILE_BITS = 8
TILE_WIDTH = 1 << TILE_BITS
MAX_LEVEL = 7
"""The highest level that a log of 2**63 entries has."""
CHECKPOINT_FILE = "checkpoint"
KEY_FILE = "verification-key"
"""Beside the files of the standard, so that an auditor sees whose log it is; the key to trust comes from elsewhere."""

_PATH = re.compile(
    r"tile/(?P<level>entries|[0-7])/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?\Z"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """Name of one tile (``level`` 0 and up) or entry bundle (no level), and how many items it holds."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where the standard puts it."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
        number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{'entries' if self.level is None else self.level}/{number}{partial}"

    @property
    def start(self) -> int:
        """Position of its first item on its level."""
        return self.number * TILE_WIDTH


def parse_tile_path(path: str) -> Tile:
    """Read the standard's name of a tile.

    Raises:
        PeerError: ``SF302`` if it is not one, in its only form.
    """
    found = _PATH.match(path)
    if found is not None:
        level = None if found["level"] == "entries" else int(found["level"])
        tile = Tile(level, int(found["number"].replace("x", "").replace("/", "")), int(found["width"] or TILE_WIDTH))
        if tile.path == path:
            return tile
    raise PeerError("SF302", "a path of C2SP tlog-tiles was expected")


def tiles_of(size: int, level: int | None) -> Iterator[Tile]:
    """The tiles of one level of a log of ``size`` entries (no level: its entry bundles), the last one maybe partial."""
    items = size >> TILE_BITS * (level or 0)
    for number in range(-(-items // TILE_WIDTH)):
        yield Tile(level, number, min(TILE_WIDTH, items - number * TILE_WIDTH))


def read_tile(tx: Transaction, tile: Tile) -> bytes | None:
    """The bytes of a tile from the database; nothing if the log does not reach that far."""
    if tile.level is None:
        rows = log_rows.read_entries(tx, tile.start, tile.start + tile.width)
        bodies = [struct.pack(">H", len(row.body)) + row.body for row in rows]
        return b"".join(bodies) if len(bodies) == tile.width else None
    level = tile.level * TILE_BITS
    hashes = log_rows.read_hash_run(tx, level, tile.start, tile.start + tile.width)
    return b"".join(hashes) if len(hashes) == tile.width else None


def split_bundle(data: bytes) -> list[bytes]:
    """The entries of an entry bundle.

    Raises:
        ValueError: it ends in the middle of one.
    """
    entries: list[bytes] = []
    place = 0
    while place < len(data):
        stop = place + 2 + int.from_bytes(data[place : place + 2], "big")
        if place + 2 > len(data) or stop > len(data):
            raise ValueError("an entry bundle ends with a whole entry")
        entries.append(data[place + 2 : stop])
        place = stop
    return entries


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile.

    Raises:
        ValueError: it ends in the middle of one.
    """
    if len(data) % HASH_BYTES:
        raise ValueError("a tile is a row of hashes")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def export_tiles(tx: Transaction, *, checkpoint: str, verification_key: str, directory: Path) -> int:
    """Write the log of ``checkpoint`` as static files into a new or empty directory; return the number of entries.

    Guarantee: the files are those of C2SP tlog-tiles, so that outside tools and any web server can use them as they
    are, and `verify_log` accepts the directory exactly if it accepts the database.

    Raises:
        ConfigurationError: ``SF102`` if the directory holds something already or cannot be written.
        IntegrityError: ``SF504`` if the database holds less than the checkpoint covers.
    """
    size = parse_checkpoint(parse_note(checkpoint).text).size
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ConfigurationError("SF102", f"an empty directory was expected: {directory}")
        for tile in (tile for level in (None, *range(MAX_LEVEL + 1)) for tile in tiles_of(size, level)):
            data = read_tile(tx, tile)
            if data is None:
                raise IntegrityError("SF504", f"the log lacks entries of {tile.path}", tile=tile.path)
            path = directory / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (directory / KEY_FILE).write_text(verification_key + "\n", encoding="ascii")
        # Last, so that a directory with a checkpoint is a whole one.
        (directory / CHECKPOINT_FILE).write_text(checkpoint, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError("SF102", f"{directory} cannot be written: {error.strerror}") from error
    return size
