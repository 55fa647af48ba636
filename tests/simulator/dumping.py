"""The option ``--dump DIR`` and the fixture that makes simulated worlds; a plugin, so that any test may use it."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.simulator.world import World

    Simulate = Callable[..., AbstractContextManager[World]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--dump``."""
    parser.addoption(
        "--dump",
        metavar="DIR",
        type=Path,
        default=None,
        help="write simulated worlds below DIR: every message as a file, and transcript.json",
    )


@contextmanager
def simulated(target: Path | None, directory: Path, **founding: Any) -> Iterator[World]:
    """A world in ``directory``, gone when it ends; failing or not, it is written below ``target`` if there is one."""
    from tests.simulator.world import World

    world = World(directory, **founding)
    failed: str | None = None
    try:
        yield world
    except BaseException as error:
        failed = f"{type(error).__name__}: {error}"
        raise
    finally:
        if target is not None:
            world.dump(target / place_of(os.environ["PYTEST_CURRENT_TEST"], world.seed), failed=failed)
        world.close()


@pytest.fixture(scope="session")
def simulate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Simulate:
    """Make worlds for ``with``; each is written where ``--dump`` says."""
    target: Path | None = request.config.getoption("--dump")
    return lambda **founding: simulated(target, tmp_path_factory.mktemp("world"), **founding)


def place_of(test: str, seed: int) -> str:
    """A directory for one world of one test, the same in every run."""
    name = test.rpartition(" ")[0].rpartition("::")[2]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-')}-{seed}"
