"""A federation for each test, and sites of it that are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.client.world import HISTOGRAM, UNSAFE, Words, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.client.session import Client


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A federation without rounds."""
    made = World(tmp_path, embedder=Words())
    yield made
    made.federation.close()


@pytest.fixture
def unsafe(world: World) -> Iterator[Client]:
    """A site without noise, which pays for every release by itself."""
    with world.client(mechanism=UNSAFE) as client:
        yield client


@pytest.fixture
def histogram(world: World) -> Iterator[Client]:
    """A site whose records vote."""
    with world.client(mechanism=HISTOGRAM) as client:
        yield client
