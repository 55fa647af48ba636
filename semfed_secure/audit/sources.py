"""Where a log to be verified lies: a database, or a directory of exported tiles."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from semfed_secure.audit import tiles
from semfed_secure.audit.events import Entry, parse_entry
from semfed_secure.audit.findings import changed, damaged_file, foreign, missing_file
from semfed_secure.audit.merkle import Place, leaf_hash, subtree
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.audit.tiles import Tile
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.storage import Database, Transaction, log_rows
from semfed_secure.storage.cosignature_rows import list_cosignatures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from semfed_secure.storage.log_rows import HeadRow


DATABASE_PATTERNS = ("*.db", "*.sqlite")
"""How the database of a state directory may be called."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry as found, with the hash that was stored beside it; its body is empty if its content was removed."""

    position: int
    leaf_hash: bytes
    body: bytes

    @property
    def leaf(self) -> bytes:
        """What the tree holds of it: the hash of its content or, if that was removed, the one that was left."""
        return leaf_hash(self.body) if self.body else self.leaf_hash


@dataclass(frozen=True, slots=True)
class StoredHead:
    """What the log says about itself.

    Attributes:
        verification_key: Whose log it says it is; empty for files that keep to the standard alone.
        checkpoint: Its newest signed checkpoint.
        kept: Further signed checkpoints, by size.
        frontier: The size and subtree hashes that appending goes on from; None for an export, which only is read.
        cosignatures: What witnesses said of checkpoints, by size, as lines of a signed note.
    """

    verification_key: str
    checkpoint: str
    kept: tuple[tuple[int, str], ...]
    frontier: tuple[int, bytes] | None
    cosignatures: tuple[tuple[int, str], ...] = ()


class LogSource(Protocol):
    """A stored log, read without trusting it."""

    def checkpoint(self) -> str:
        """Its newest checkpoint, signed or not."""
        ...

    def head(self) -> StoredHead:
        """What the log says about itself."""
        ...

    def entries(self, start: int = 0) -> Iterator[StoredEntry]:
        """Its entries in order of position, from number ``start`` on."""
        ...

    def has_level(self, level: int) -> bool:
        """Whether hashes of complete subtrees of ``2**level`` entries are stored."""
        ...

    def nodes(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Position and hash of the stored subtrees of a level, in order."""
        ...

    def node_count(self) -> int | None:
        """How many hashes are stored on all levels; None where only those of the newest checkpoint are looked at."""
        ...

    def hashes(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The stored hashes of these complete subtrees; those that are not there are left out."""
        ...


class DatabaseSource:
    """A log in a site's or server's database."""

    def __init__(self, tx: Transaction) -> None:
        """Read inside ``tx``, so that one state is seen throughout."""
        self._tx = tx

    def checkpoint(self) -> str:
        """Its newest checkpoint, signed or not."""
        return self._row().checkpoint

    def _row(self) -> HeadRow:
        row = log_rows.read_head(self._tx)
        if row is None:
            raise IntegrityError("SF504", "the database holds no log: not even an empty one was begun")
        return row

    def head(self) -> StoredHead:
        """What the log says about itself."""
        row = self._row()
        kept = tuple((checkpoint.size, checkpoint.note) for checkpoint in log_rows.list_checkpoints(self._tx))
        said = tuple((line.size, line.line) for line in list_cosignatures(self._tx))
        return StoredHead(row.verification_key, row.checkpoint, kept, (row.size, row.frontier), said)

    def entries(self, start: int = 0) -> Iterator[StoredEntry]:
        """Its entries in order of position, from number ``start`` on."""
        for row in log_rows.walk_entries(self._tx, start):
            yield StoredEntry(row.position, _blob(row.leaf_hash), _blob(row.body))

    def has_level(self, level: int) -> bool:
        """Every level above the entries is stored."""
        return level > 0

    def nodes(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Position and hash of the stored subtrees of a level, in order."""
        for row in log_rows.walk_level(self._tx, level):
            yield row.position, row.hash

    def node_count(self) -> int | None:
        """How many hashes are stored on all levels."""
        return log_rows.count_nodes(self._tx)

    def hashes(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The stored hashes of these complete subtrees; those that are not there are left out."""
        return log_rows.read_hashes(self._tx, places)


def _blob(value: object) -> bytes:
    """What an intruder may have stored in a binary column, as bytes; the checks that follow refuse it."""
    return value if isinstance(value, bytes) else repr(value).encode()


class TileSource:
    """A log exported as C2SP tlog-tiles."""

    def __init__(self, directory: Path) -> None:
        """Read the files below ``directory``."""
        self._directory = directory

    def checkpoint(self) -> str:
        """Its newest checkpoint, signed or not."""
        return self.head().checkpoint

    def head(self) -> StoredHead:
        """What the log says about itself."""
        named = (self._directory / tiles.KEY_FILE).exists()
        try:
            key = self._read(tiles.KEY_FILE).decode("ascii") if named else "\n"
            checkpoint = self._read(tiles.CHECKPOINT_FILE).decode()
        except UnicodeDecodeError as error:
            raise IntegrityError("SF503", "the key or the checkpoint of the export is not text any more") from error
        if not key.endswith("\n"):
            raise IntegrityError("SF503", "the key file of the export is not one that this software writes")
        return StoredHead(key.removesuffix("\n"), checkpoint, (), None)

    def entries(self, start: int = 0) -> Iterator[StoredEntry]:
        """Its entries in order of position, from number ``start`` on."""
        for tile in self._tiles(None):
            if tile.start + tile.width <= start:
                continue
            bundle = self._split(tile)
            hashes = self._items(Tile(0, tile.number, tile.width))
            # A bundle with an entry too few or too many: who reads in order meets the first that is out of place.
            for position, (body, leaf) in enumerate(zip(bundle, hashes, strict=False), start=tile.start):
                if position >= start:
                    yield StoredEntry(position, leaf, body)
            if not bundle or len(bundle) > tile.width:
                raise damaged_file(tile.path, tile.width, tile.start)

    def has_level(self, level: int) -> bool:
        """Every eighth level is stored."""
        return level > 0 and level % tiles.TILE_BITS == 0

    def nodes(self, level: int) -> Iterator[tuple[int, bytes]]:
        """Position and hash of the stored subtrees of a level, in order."""
        for tile in self._tiles(level // tiles.TILE_BITS):
            yield from enumerate(self._items(tile), start=tile.start)

    def node_count(self) -> int | None:
        """Not counted: a directory may hold partial tiles of earlier checkpoints."""
        return None

    def hashes(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The hashes of these complete subtrees, from the tiles that hold their parts."""
        found: dict[Place, bytes] = {}
        for level, position in places:
            above, below = divmod(level, tiles.TILE_BITS)
            number, start = divmod(position << below, tiles.TILE_WIDTH)
            tile = next((tile for tile in self._tiles(above) if tile.number == number), None)
            part = [] if tile is None else self._items(tile)[start : start + (1 << below)]
            if len(part) == 1 << below:
                found[level, position] = subtree(part)
        return found

    def _tiles(self, level: int | None) -> Iterator[Tile]:
        try:
            size = parse_checkpoint(parse_note(self.head().checkpoint).text).size
        except PeerError as error:
            raise IntegrityError("SF503", "the checkpoint of the export cannot be read") from error
        return tiles.tiles_of(size, level)

    def _items(self, tile: Tile) -> list[bytes]:
        items = self._split(tile)
        if len(items) != tile.width:
            raise damaged_file(tile.path, tile.width, tile.start << tiles.TILE_BITS * (tile.level or 0))
        return items

    def _split(self, tile: Tile) -> list[bytes]:
        data = self._read(tile.path)
        try:
            return tiles.split_bundle(data) if tile.level is None else tiles.split_hashes(data)
        except ValueError as error:
            index = tile.start << tiles.TILE_BITS * (tile.level or 0)
            raise damaged_file(tile.path, tile.width, index) from error

    def _read(self, name: str) -> bytes:
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError as error:
            raise missing_file(name) from error
        except OSError as error:
            raise ConfigurationError("SF102", f"{name} cannot be read: {error.strerror}") from error


@contextmanager
def open_source(place: str | Path) -> Iterator[LogSource]:
    """Open a log for reading: a state directory, a database file or URL, or a directory of tiles.

    Raises:
        ConfigurationError: ``SF102`` if there is no log at ``place``, or several; ``SF151`` if a database cannot be
            opened.
    """
    if is_export(place):
        yield TileSource(Path(place))
        return
    with database_of(place) as tx:
        yield DatabaseSource(tx)


def is_export(place: str | Path) -> bool:
    """Whether a log is a directory of tiles."""
    path = Path(place)
    return "://" not in str(place) and ((path / tiles.CHECKPOINT_FILE).is_file() or (path / "tile").is_dir())


@contextmanager
def database_of(place: str | Path) -> Iterator[Transaction]:
    """One state of the database at ``place``: a URL, a file, or the only one of a state directory."""
    at = place if "://" in str(place) else database_file(Path(place))
    with Database.open_read_only(at) as database, database.snapshot() as tx:
        yield tx


def read_entries(source: LogSource, *, start: int = 0) -> Iterator[Entry]:
    """The entries from number ``start`` on that have their content, each checked by itself but not against the tree.

    Raises:
        IntegrityError: ``SF501`` if one of them is not ours, or not the one whose fingerprint is stored with it.
    """
    for stored in source.entries(start):
        if not stored.body:
            continue
        try:
            entry = parse_entry(stored.body)
        except IntegrityError as error:
            raise foreign(stored.position) from error
        if leaf_hash(stored.body) != stored.leaf_hash:
            why = "its content does not match the fingerprint stored with it"
            raise changed(stored.position, stored.position, why)
        yield entry


def database_file(place: Path) -> Path:
    """The database at ``place``: the file itself, or the only one of a state directory.

    Raises:
        ConfigurationError: ``SF102`` if there is none, or several.
    """
    if place.is_file():
        return place
    found = sorted(path for pattern in DATABASE_PATTERNS for path in place.glob(pattern))
    if len(found) != 1:
        raise ConfigurationError("SF102", f"one log was expected at {place}, found {len(found)}")
    return found[0]
