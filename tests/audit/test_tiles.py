"""Exported tiles: the files of the C2SP standard, as good as the database, and as hard to change unseen."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit import tiles
from semfed_secure.audit.merkle import Frontier, leaf_hash, node_hash
from semfed_secure.audit.tiles import Tile, export_tiles, parse_tile_path, read_tile, tiles_of
from semfed_secure.audit.verify import verify_log
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.storage import log_guard
from tests.audit.samples import Site, sample

if TYPE_CHECKING:
    from pathlib import Path


def export(site: Site, directory: Path) -> int:
    """Export the whole log as it stands."""
    checkpoint = site.log.checkpoint()
    with site.database.snapshot() as tx:
        return export_tiles(tx, checkpoint=checkpoint, verification_key=site.vkey, directory=directory)


def codes_of(path: Path) -> set[str]:
    """What a changed byte of a file of an export is told as: length bytes of a bundle are neither entry nor hash."""
    if "entries" in path.parts:
        return {"SF501", "SF518"}
    return {"SF513"} if "tile" in path.parts else {"SF503"}


def files_below(directory: Path) -> list[Path]:
    """Every file of an export, in a fixed order."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(0, 999), "tile/0/999"),
        (Tile(1, 1000, 17), "tile/1/x001/000.p/17"),
        (Tile(None, 1234067), "tile/entries/x001/x234/067"),  # the example of the specification
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    """Numbers are cut into groups of three, all but the last marked with an x; partial tiles name their width."""
    assert tile.path == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/0/1000",
        "tile/8/000",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/../../etc/passwd",
        "tile/data/000",
        "tile/0/000\n",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    """A tile has one name; anything else reaches no file and no row."""
    with pytest.raises(PeerError) as caught:
        parse_tile_path(path)
    assert caught.value.code == "SF302"


def test_tiles_of_the_specifications_example() -> None:
    """A log of 70,000 entries has the tiles that the specification counts."""
    widths = {level: [tile.width for tile in tiles_of(70_000, level)] for level in (None, 0, 1, 2, 3)}
    assert widths[0] == widths[None] == [256] * 273 + [112]
    assert widths[1] == [256, 17]
    assert widths[2] == [1]
    assert widths[3] == []


def test_a_tile_hash_is_the_tree_hash_of_the_tile_below(site: Site) -> None:
    """Level 1 holds the RFC 6962 hashes of full tiles of level 0, which hold the hashes of the entries."""
    site.log.append_all([sample(number) for number in range(520)])
    with site.database.snapshot() as tx:
        bundle = tiles.split_bundle(read_tile(tx, Tile(None, 1)) or b"")
        leaves = tiles.split_hashes(read_tile(tx, Tile(0, 1)) or b"")
        upper = tiles.split_hashes(read_tile(tx, Tile(1, 0, 2)) or b"")
        assert read_tile(tx, Tile(0, 2, 9)) is None
        assert read_tile(tx, Tile(None, 2, 9)) is None
    assert [leaf_hash(entry) for entry in bundle] == leaves
    level = leaves
    while len(level) > 1:
        level = [node_hash(*level[place : place + 2]) for place in range(0, len(level), 2)]
    assert upper[1] == level[0]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300])
def test_an_export_verifies_as_its_database_does(site: Site, tmp_path: Path, size: int) -> None:
    """Both give the same verdict about the same log."""
    if size:
        site.log.append_all([sample(number) for number in range(size)])
    assert export(site, tmp_path / "export") == size
    verdict, original = (verify_log(place, key=site.vkey) for place in (tmp_path / "export", site.path))
    assert (verdict.size, verdict.root, verdict.writers) == (original.size, original.root, original.writers)
    names = [str(path.relative_to(tmp_path / "export")) for path in files_below(tmp_path / "export")]
    wanted = [tile.path for level in (None, 0, 1) for tile in tiles_of(size, level)]
    assert names == sorted(["checkpoint", "verification-key", *wanted])


def test_any_changed_byte_of_any_file_is_noticed(site: Site, tmp_path: Path) -> None:
    """Every file of an export counts: bits are flipped at many places of each, and each is refused."""
    site.log.append_all([sample(number) for number in range(300)])
    export(site, tmp_path / "export")
    for path in files_below(tmp_path / "export"):
        whole = path.read_bytes()
        for number in range(12):
            raw = bytearray(whole)
            place = int.from_bytes(hashlib.sha256(f"{path.name} {number}".encode()).digest()[:4]) % len(raw)
            raw[place] ^= 1 << number % 8
            path.write_bytes(raw)
            with pytest.raises(IntegrityError) as caught:
                verify_log(tmp_path / "export", key=site.vkey)
            assert caught.value.code in codes_of(path), (path, place)
        path.write_bytes(whole)
    verify_log(tmp_path / "export", key=site.vkey)


def test_cut_and_missing_files_are_noticed(site: Site, tmp_path: Path) -> None:
    """A file that is gone, shorter, longer or empty is named."""
    site.log.append_all([sample(number) for number in range(300)])
    export(site, tmp_path / "export")
    for path in files_below(tmp_path / "export"):
        whole = path.read_bytes()
        for damaged in (whole[:-1], whole + b"\0", b""):
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError) as caught:
                verify_log(tmp_path / "export", key=site.vkey)
            assert caught.value.code in {"SF518", "SF503"}, path
        path.unlink()
        if path.name == tiles.KEY_FILE:  # a file of ours: those of the standard alone are enough for who has the key
            verify_log(tmp_path / "export", key=site.vkey)
        else:
            with pytest.raises(IntegrityError, match=r"missing from the export") as caught:
                verify_log(tmp_path / "export", key=site.vkey)
            assert caught.value.code == "SF518"
        path.write_bytes(whole)


def test_swapped_tiles_are_noticed(site: Site, tmp_path: Path) -> None:
    """Whole tiles that changed places are in the wrong place."""
    site.log.append_all([sample(number) for number in range(520)])
    export(site, tmp_path / "export")
    for level in ("0", "entries"):
        first, second = (tmp_path / "export" / "tile" / level / name for name in ("000", "001"))
        one, two = first.read_bytes(), second.read_bytes()
        first.write_bytes(two)
        second.write_bytes(one)
    with pytest.raises(IntegrityError, match="wrong place") as caught:
        verify_log(tmp_path / "export", key=site.vkey)
    assert (caught.value.code, caught.value.fields["index"]) == ("SF509", 0)


def test_an_export_needs_an_empty_place(site: Site, tmp_path: Path) -> None:
    """Nothing is overwritten, and a place that cannot be written is told."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for place in ("full", "full/file"):
        with pytest.raises(ConfigurationError) as caught:
            export(site, tmp_path / place)
        assert caught.value.code == "SF102"


def test_an_export_of_a_shortened_log_is_refused(site: Site, tmp_path: Path) -> None:
    """A checkpoint that covers more than the database holds is not exported as if it were whole."""
    site.fill(3)
    longer = site.log.checkpoint()
    site.log.append(sample(3))
    with site.database.snapshot() as tx:
        export_tiles(tx, checkpoint=longer, verification_key=site.vkey, directory=tmp_path / "earlier")
    assert verify_log(tmp_path / "earlier", key=site.vkey).size == 3
    with site.database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.exec_driver_sql("DELETE FROM log_entry WHERE position = 2")
    with site.database.snapshot() as tx, pytest.raises(IntegrityError) as caught:
        export_tiles(tx, checkpoint=longer, verification_key=site.vkey, directory=tmp_path / "cut")
    assert caught.value.code == "SF504"
    assert not (tmp_path / "cut" / "checkpoint").exists()


def test_bundles_end_with_a_whole_entry() -> None:
    """A bundle that was cut is not read as a shorter one."""
    whole = b"\x00\x02ab\x00\x00\x00\x01c"
    assert tiles.split_bundle(whole) == [b"ab", b"", b"c"]
    for cut in (whole[:-1], whole[:-2], b"\x00"):
        with pytest.raises(ValueError, match="whole entry"):
            tiles.split_bundle(cut)


def test_the_frontier_agrees_with_the_tiles(site: Site, tmp_path: Path) -> None:
    """The root can be computed from level 0 alone."""
    site.log.append_all([sample(number) for number in range(257)])
    export(site, tmp_path / "export")
    frontier = Frontier()
    for tile in tiles_of(257, 0):
        for leaf in tiles.split_hashes((tmp_path / "export" / tile.path).read_bytes()):
            frontier.add(leaf)
    assert frontier.root().hex() == verify_log(tmp_path / "export", key=site.vkey).root
