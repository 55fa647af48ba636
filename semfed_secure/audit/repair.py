"""Make again what is computed from the entries of a log, where only that was damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semfed_secure.audit import merkle, tiles
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.fsck import State, examine
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.own import open_writable, owner_of
from semfed_secure.audit.sources import DatabaseSource, TileSource
from semfed_secure.audit.tiles import Tile
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.storage import log_repair, log_rows
from semfed_secure.storage.log_rows import NodeRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.audit.fsck import Part
    from semfed_secure.audit.sources import LogSource
    from semfed_secure.clock import Clock
    from semfed_secure.crypto.log_keys import LogSigningKey, LogVerificationKey
    from semfed_secure.storage import Transaction


WRITER = "semfed audit fsck"


def repair_export(directory: Path, key: LogVerificationKey) -> tuple[Part, ...]:
    """Write the hash tiles of an export anew; how each part was found.

    Guarantee: as `repair_database`.

    Raises:
        IntegrityError: ``SF501`` something is lost.
        ConfigurationError: A file cannot be read or written.
    """
    source = TileSource(directory)
    parts = _repairable(source, key)
    _write_tiles(directory, [stored.leaf for stored in source.entries()])
    return parts


def repair_database(place: str | Path, key: LogSigningKey, *, clock: Clock) -> tuple[Part, ...]:
    """Write every derived part of a log anew, and enter in it that this was done; how each part was found.

    Guarantee: no entry and no signature is touched, and nothing at all is written if one of them is lost.

    Raises:
        IntegrityError: ``SF501`` something is lost; ``SF502`` the log cannot be written, or not by this user;
            ``SF503`` the log is of another key.
        ConfigurationError: There is no database at ``place``.
    """
    with open_writable(place) as database, database.transaction() as tx:
        parts = _repairable(DatabaseSource(tx), key.public)
        with log_repair.unguarded(tx):
            _write_rows(tx)
        event = Event(
            type=EventType.LOG_REPAIRED,
            outcome="success",
            actor=owner_of(key),
            details={"parts": [part.name for part in parts if part.state is State.DERIVED]},
        )
        AuditLog(database, key=key, clock=clock, writer=WRITER, tx=tx).append(event, tx)
        return parts


def _repairable(source: LogSource, key: LogVerificationKey) -> tuple[Part, ...]:
    parts = examine(source, key)
    lost = next((part for part in parts if part.state is State.LOST), None)
    if lost is not None:
        message = f"nothing was repaired, because {lost.name} cannot be: {lost.sentence}"
        raise IntegrityError("SF501", message, part=lost.name)
    return parts


def _write_rows(tx: Transaction) -> None:
    frontier = Frontier()
    nodes: list[NodeRow] = []
    log_repair.drop_nodes(tx)
    for leaf in log_repair.rehash(tx, merkle.leaf_hash):
        nodes += [NodeRow(*place, value) for place, value in frontier.add(leaf)]
        if len(nodes) >= log_rows.FETCH_ROWS:
            log_rows.insert_nodes(tx, nodes)
            nodes = []
    log_rows.insert_nodes(tx, nodes)
    log_repair.set_frontier(tx, frontier.size, frontier.encode())


def _write_tiles(directory: Path, leaves: list[bytes]) -> None:
    try:
        for tile, data in _tiles(leaves):
            path = directory / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError("SF102", f"{directory} cannot be written: {error.strerror}") from error


def _tiles(leaves: list[bytes]) -> Iterator[tuple[Tile, bytes]]:
    hashes = leaves
    for level in range(tiles.MAX_LEVEL + 1):
        for start in range(0, len(hashes), tiles.TILE_WIDTH):
            part = hashes[start : start + tiles.TILE_WIDTH]
            yield Tile(level, start // tiles.TILE_WIDTH, len(part)), b"".join(part)
        full = range(0, len(hashes) - tiles.TILE_WIDTH + 1, tiles.TILE_WIDTH)
        hashes = [merkle.subtree(hashes[start : start + tiles.TILE_WIDTH]) for start in full]
