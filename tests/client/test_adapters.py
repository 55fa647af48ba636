"""Adapters: whole or not at all, digested over every byte, switched in a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from semfed_secure.client.adapters import Adapter, AdapterStore, activate, active_adapter
from semfed_secure.errors import IntegrityError
from semfed_secure.llm.files import directory_digest
from semfed_secure.storage import Database
from semfed_secure.storage.pin_rows import replace_pin
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    """An empty store."""
    return AdapterStore(tmp_path / "adapters")


def written(store: AdapterStore, name: str = "one") -> Adapter:
    """An adapter of two files."""
    with store.writing(name) as directory:
        (directory / "weights").write_bytes(b"weights")
        (directory / "deep").mkdir()
        (directory / "deep" / "config").write_bytes(b"config")
    return Adapter(name, store.digest(name), Mechanism.DP_SGD, ("train:1",))


def test_an_interrupted_write_leaves_nothing(store: AdapterStore, tmp_path: Path) -> None:
    """Half an adapter never stands under its name."""

    def interrupted() -> None:
        with store.writing("one") as directory:
            (directory / "weights").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_leftover_of_a_crash_is_replaced(store: AdapterStore, tmp_path: Path) -> None:
    """The next attempt of the same name starts from an empty directory."""
    stale = tmp_path / "adapters" / ".new-one"
    stale.mkdir(parents=True)
    (stale / "junk").write_bytes(b"junk")
    directory = store.verify(written(store))
    assert sorted(path.name for path in directory.rglob("*") if path.is_file()) == ["config", "weights"]


@pytest.mark.parametrize("damage", ["flip", "remove", "add", "rename", "link"])
def test_any_change_is_noticed(store: AdapterStore, damage: str) -> None:
    """One changed, removed, added, renamed or replaced file: SF521."""
    adapter = written(store)
    directory = store.verify(adapter)
    weights = directory / "weights"
    match damage:
        case "flip":
            weights.write_bytes(b"Weights")
        case "remove":
            weights.unlink()
        case "add":
            (directory / "extra").write_bytes(b"")
        case "rename":
            weights.rename(directory / "weights2")
        case "link":
            weights.rename(directory.parent / "elsewhere")
            weights.symlink_to(directory.parent / "elsewhere")
    with pytest.raises(IntegrityError) as caught:
        store.verify(adapter)
    assert caught.value.code == "SF521"


def test_a_missing_adapter_is_noticed(store: AdapterStore) -> None:
    """A directory that is gone is SF521 as well."""
    adapter = written(store)
    store.remove("one")
    with pytest.raises(IntegrityError):
        store.verify(adapter)


def test_the_digest_does_not_depend_on_the_place(store: AdapterStore, tmp_path: Path) -> None:
    """The same files elsewhere have the same digest."""
    adapter = written(store)
    moved = store.verify(adapter).rename(tmp_path / "moved")
    assert directory_digest(moved) == adapter.digest


def test_the_active_adapter_changes_with_its_transaction(store: AdapterStore, tmp_path: Path) -> None:
    """A rolled-back transaction leaves the old adapter active."""
    database = Database.open(tmp_path / "site.db", kind="client")
    first, second = written(store, "one"), written(store, "two")
    with database.transaction() as tx:
        assert active_adapter(tx) is None
        activate(tx, first)

    def rolled_back() -> None:
        with database.transaction() as tx:
            activate(tx, second)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        rolled_back()
    with database.snapshot() as tx:
        assert active_adapter(tx) == first
    database.close()


def test_a_damaged_pin_is_an_integrity_error(tmp_path: Path) -> None:
    """SF531, not a traceback."""
    database = Database.open(tmp_path / "site.db", kind="client")
    with database.transaction() as tx:
        replace_pin(tx, "active-adapter", expected=None, value=b'{"name": 1}')
    with database.snapshot() as tx, pytest.raises(IntegrityError) as caught:
        active_adapter(tx)
    assert caught.value.code == "SF531"
    database.close()
