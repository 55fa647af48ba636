"""Databases to test on: an SQLite file, and a PostgreSQL cluster of our own where its binaries are installed."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def postgresql_binaries() -> Path | None:
    """Where the newest PostgreSQL of this machine has its binaries, if there is one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_cluster(binaries: Path, *, fsync: str = "off") -> Iterator[str]:
    """URL of a PostgreSQL cluster that runs on loopback as long as the block; it waits for no disk unless told to."""
    # PostgreSQL refuses to run as root, so root runs it as the user that its package made.
    user = "postgres" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="semfed-pg-"))
    if user is not None:
        shutil.chown(home, user)
    data, port = home / "data", _free_port()
    options = f"-c fsync={fsync} -c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home}"

    def run(*command: str | Path) -> None:
        # Output goes to a file: the server inherits it, and a pipe would stay open as long as it runs.
        with (Path(tempfile.gettempdir()) / f"{home.name}.out").open("ab") as out:
            subprocess.run(
                [str(part) for part in command],
                check=True,
                timeout=120,
                user=user,
                stdout=out,
                stderr=out,
                cwd=home,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            )

    run(binaries / "initdb", "-D", data, "-U", "semfed", "-A", "trust", "-E", "UTF8", "--no-sync")
    run(binaries / "pg_ctl", "-D", data, "-l", home / "log", "-w", "-o", options, "start")
    try:
        yield f"postgresql://semfed@127.0.0.1:{port}"
    finally:
        run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(home)
        (Path(tempfile.gettempdir()) / f"{home.name}.out").unlink()


def postgresql_urls(cluster: str) -> Iterator[str]:
    """One new, empty database of a cluster after the other."""
    import psycopg

    while True:
        name = f"test_{secrets.token_hex(8)}"
        with psycopg.connect(f"{cluster}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        yield f"{cluster}/{name}"


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[str]:
    """URL of a PostgreSQL cluster that runs on loopback for this session."""
    binaries = postgresql_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed under /usr/lib/postgresql")
    pytest.importorskip("psycopg", reason="the extra semfed-secure[postgres] is not installed")
    with running_cluster(binaries) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_cluster: str) -> str:
    """URL of a new, empty PostgreSQL database."""
    return next(postgresql_urls(postgresql_cluster))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new, empty database of each kind that this machine can run."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'site.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
